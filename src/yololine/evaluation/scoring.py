"""Run an exported detector over test pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from yololine.dataset.schema import Row
from yololine.errors import EvaluationError
from yololine.evaluation.metrics import MAX_DETECTIONS, Truth
from yololine.frozen import Frozen
from yololine.inference.detector import LOWEST_SCORE, Detector
from yololine.inference.engine import load_engine
from yololine.inference.postprocess import Detections
from yololine.inference.precision import Precision


class EngineFacts(Frozen):
    """What ran the model."""

    name: str
    device: str
    precision: Precision
    version: str


@dataclass(frozen=True, kw_only=True)
class Scored:
    """What a model found in the test pictures.

    Attributes:
        truths: What is really in each picture.
        found: What was found in it, in the same order.
        milliseconds: Median time from a prepared picture to its detections, with all cores.
        engine: What ran the model.
    """

    truths: list[Truth]
    found: list[Detections]
    milliseconds: float
    engine: EngineFacts


def score_rows(
    rows: Iterable[Row],
    model: Path,
    *,
    image_size: int,
    class_names: Sequence[str],
    progress: Callable[[int], None] | None = None,
) -> Scored:
    """Truth and detections of each test picture, by the code and the engine that serve.

    Raises:
        EvaluationError: There is no picture, or the model cannot be run.
    """
    engine = load_engine(
        model,
        image_size=image_size,
        class_count=len(class_names),
        streams=1,
        precision="auto",
    )
    detector = Detector(engine, class_names)
    truths: list[Truth] = []
    found: list[Detections] = []
    milliseconds: list[float] = []
    for row in rows:
        prepared = detector.prepare(row.image_bytes)
        started = time.perf_counter()
        found += detector.detect([prepared], min_score=LOWEST_SCORE, max_detections=MAX_DETECTIONS)
        milliseconds.append((time.perf_counter() - started) * 1000)
        truths.append(
            Truth(
                file_name=row.file_name,
                width=row.width,
                height=row.height,
                boxes_xyxy=xyxy(row.boxes_xywh),
                class_ids=row.categories,
            )
        )
        if progress:
            progress(len(truths))
    if not truths:
        raise EvaluationError(
            "test set", rule="holds no picture", remedy="split with a test_fraction above 0"
        )
    return Scored(
        truths=truths,
        found=found,
        milliseconds=float(np.median(milliseconds)),
        engine=EngineFacts(
            name=engine.name,
            device=engine.device,
            precision=engine.precision,
            version=engine.version,
        ),
    )


def xyxy(boxes_xywh: np.ndarray) -> np.ndarray:
    """Corner form (n, 4) of boxes given by corner and size."""
    boxes = np.asarray(boxes_xywh, np.float32).reshape(-1, 4)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
