"""Average precision as COCO defines it, per class, with curves."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_coco_eval import COCO, COCOeval_faster

from yololine.errors import EvaluationError
from yololine.frozen import Frozen
from yololine.inference.postprocess import Detections

MAX_DETECTIONS = 300
"""Per picture: COCO's own 100 cuts off where one picture holds more objects than that."""
RECALL_POINTS = 101


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is really in one picture.

    Attributes:
        file_name: The picture's name in the source.
        width: Pixels.
        height: Pixels.
        boxes_xyxy: (n, 4) float32 pixels.
        class_ids: (n,) int32.
    """

    file_name: str
    width: int
    height: int
    boxes_xyxy: np.ndarray
    class_ids: np.ndarray


class ClassMetrics(Frozen):
    """One class; fractions of 1, None where the test split holds no object of it.

    Precision, recall and F1 are those at the score with the best F1 on the precision-recall
    curve at IoU 0.5.
    """

    ap50: float | None
    ap50_95: float | None
    precision: float | None
    recall: float | None
    f1: float | None
    objects: int
    images: int


class Curve(Frozen):
    """Precision over recall at IoU 0.5, 101 points."""

    recall: tuple[float, ...]
    precision: tuple[float, ...]


class Metrics(Frozen):
    """Scores on the test split; fractions of 1."""

    ap50: float
    ap50_95: float
    per_class: dict[str, ClassMetrics]
    pr_curves: dict[str, Curve]


def coco_metrics(
    truths: list[Truth], predictions: list[Detections], class_names: tuple[str, ...]
) -> Metrics:
    """AP50 and AP50-95 by COCO's rules (Lin et al. 2014), with up to 300 detections a picture.

    The means are over the classes that the test split holds.

    Raises:
        EvaluationError: The test split holds no object at all.
    """
    if not any(len(truth.class_ids) for truth in truths):
        raise EvaluationError(
            f"test split of {len(truths)} images",
            rule="holds no object, so nothing can be scored",
            remedy="raise test_fraction or add labelled images",
        )
    with contextlib.redirect_stdout(io.StringIO()):
        ground = COCO(_ground_truth(truths, class_names))
        found = ground.loadRes(_results(predictions)) if _results(predictions) else COCO()
        evaluation = COCOeval_faster(ground, found, "bbox")
        evaluation.params.maxDets = [1, 10, MAX_DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    # (IoU thresholds, recall points, classes, areas, detections): area "all", 300 detections.
    precision = np.asarray(evaluation.eval["precision"])[:, :, :, 0, -1]
    recall_points = np.linspace(0, 1, RECALL_POINTS)
    per_class: dict[str, ClassMetrics] = {}
    curves: dict[str, Curve] = {}
    ap50s, aps = [], []
    for class_id, name in enumerate(class_names):
        objects = sum(int((truth.class_ids == class_id).sum()) for truth in truths)
        images = sum(bool((truth.class_ids == class_id).any()) for truth in truths)
        if not objects:
            per_class[name] = ClassMetrics(
                ap50=None, ap50_95=None, precision=None, recall=None, f1=None, objects=0, images=0
            )
            continue
        at50 = np.clip(precision[0, :, class_id], 0, 1)
        ap50, ap = float(at50.mean()), float(np.clip(precision[:, :, class_id], 0, 1).mean())
        f1 = 2 * at50 * recall_points / np.maximum(at50 + recall_points, 1e-12)
        best = int(f1.argmax())
        per_class[name] = ClassMetrics(
            ap50=round(ap50, 5),
            ap50_95=round(ap, 5),
            precision=round(float(at50[best]), 5),
            recall=round(float(recall_points[best]), 5),
            f1=round(float(f1[best]), 5),
            objects=objects,
            images=images,
        )
        curves[name] = Curve(
            recall=tuple(round(float(r), 2) for r in recall_points),
            precision=tuple(round(float(p), 4) for p in at50),
        )
        ap50s.append(ap50)
        aps.append(ap)
    return Metrics(
        ap50=round(float(np.mean(ap50s)), 5),
        ap50_95=round(float(np.mean(aps)), 5),
        per_class=per_class,
        pr_curves=curves,
    )


def _ground_truth(truths: list[Truth], class_names: tuple[str, ...]) -> dict[str, Any]:
    annotations: list[dict[str, Any]] = []
    for image_id, truth in enumerate(truths, 1):
        for box, class_id in zip(truth.boxes_xyxy.tolist(), truth.class_ids.tolist(), strict=True):
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": class_id + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    return {
        "images": [
            {"id": image_id, "file_name": t.file_name, "width": t.width, "height": t.height}
            for image_id, t in enumerate(truths, 1)
        ],
        "annotations": annotations,
        "categories": [{"id": i, "name": name} for i, name in enumerate(class_names, 1)],
    }


def _results(predictions: list[Detections]) -> list[dict[str, Any]]:
    return [
        {
            "image_id": image_id,
            "category_id": class_id + 1,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "score": score,
        }
        for image_id, found in enumerate(predictions, 1)
        for (x1, y1, x2, y2), score, class_id in zip(
            found.boxes_xyxy.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True
        )
    ]
