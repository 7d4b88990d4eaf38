from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.inference.models import constant_model
from yololine.dataset.schema import Row
from yololine.errors import EvaluationError
from yololine.evaluation.metrics import coco_metrics
from yololine.evaluation.scoring import score_rows, xyxy
from yololine.inference.detector import Detector
from yololine.inference.engine import load_engine


def _row(name: str, width: int, height: int, *boxes_xywh: tuple[float, ...]) -> Row:
    file = io.BytesIO()
    Image.new("RGB", (width, height), (90, 90, 90)).save(file, "PNG")
    return Row(
        image_id=name,
        file_name=f"{name}.png",
        image_bytes=file.getvalue(),
        width=width,
        height=height,
        boxes_xywh=np.array(boxes_xywh, np.float32).reshape(-1, 4),
        categories=np.zeros(len(boxes_xywh), np.int32),
        group=name,
        sha256="",
        perceptual_hash="",
        suffix=".png",
    )


def test_pictures_are_scored_in_their_own_pixels(tmp_path: Path) -> None:
    """The model says the same box of its input each time: 16..48 of 64, in both directions."""
    output = np.zeros((1, 5, 84), np.float32)
    output[0, :, 7] = (32, 32, 32, 32, 0.9)
    output[0, :, 8] = (32, 32, 32, 30, 0.6)  # suppressed by the one before
    output[0, :, 9] = (10, 32, 8, 8, 0.0005)  # below what counts
    model = constant_model(output, tmp_path / "model.onnx", input_shape=("n", 3, 64, 64))
    rows = [
        _row("square", 128, 128, (32, 32, 64, 64)),
        _row("wide", 128, 64, (32, 0, 64, 64)),
        _row("empty", 64, 64),
    ]
    progress: list[int] = []
    scored = score_rows(
        rows, model, image_size=64, class_names=("crack",), progress=progress.append
    )
    assert [one.file_name for one in scored.truths] == ["square.png", "wide.png", "empty.png"]
    assert progress == [1, 2, 3]
    assert scored.milliseconds > 0
    assert [one.boxes_xyxy.round(3).tolist() for one in scored.found] == [
        [[32, 32, 96, 96]],
        [[32, 0, 96, 64]],
        [[16, 16, 48, 48]],
    ]
    metrics = coco_metrics(scored.truths, scored.found, ("crack",))
    assert metrics.per_class["crack"].objects == 2
    # The third is as sure, and wrong: as equals come in the order of the pictures, it comes last.
    assert metrics.ap50_95 == 1


def test_end2end_models_are_scored_too(tmp_path: Path) -> None:
    output = np.array([[[16, 16, 48, 48, 0.9, 0], [0, 0, 9, 9, 0, 0]]], np.float32)
    model = constant_model(output, tmp_path / "model.onnx")
    row = _row("a", 128, 128, (32, 32, 64, 64))
    scored = score_rows([row], model, image_size=64, class_names=("crack",))
    assert scored.found[0].boxes_xyxy.tolist() == [[32, 32, 96, 96]]
    assert coco_metrics(scored.truths, scored.found, ("crack",)).ap50 == 1


def test_what_is_scored_is_what_the_predictor_answers(tmp_path: Path) -> None:
    """By one engine and one code; only weaker detections are scored too."""
    from tests.detector.tiny import untrained
    from yololine.detector.ultralytics import export_onnx

    model = tmp_path / "model.onnx"
    export_onnx(untrained("yolo11n", tmp_path / "a.pt", class_count=1), model, image_size=64)
    rows = [_row("square", 128, 128), _row("wide", 100, 30)]
    scored = score_rows(rows, model, image_size=64, class_names=("crack",))
    engine = load_engine(model, image_size=64, class_count=1, precision=scored.engine.precision)
    assert scored.engine.model_dump() == {
        "name": engine.name,
        "device": engine.device,
        "precision": engine.precision,
        "version": engine.version,
    }
    detector = Detector(engine, ("crack",))
    for row, found in zip(rows, scored.found, strict=True):
        (answered,) = detector.detect([detector.prepare(row.image_bytes)], min_score=0.3)
        shown = found.above(0.3)
        assert len(shown.scores) > 0
        assert np.allclose(answered.scores, shown.scores, atol=1e-4)
        assert np.allclose(answered.boxes_xyxy, shown.boxes_xyxy, atol=0.01)


def test_a_test_set_without_pictures_is_refused(tmp_path: Path) -> None:
    model = constant_model(np.zeros((1, 5, 84)), tmp_path / "model.onnx")
    with pytest.raises(EvaluationError, match="test set: holds no picture"):
        score_rows([], model, image_size=64, class_names=("crack",))


def test_boxes_by_corner_and_size_become_two_corners() -> None:
    assert xyxy(np.array([[1, 2, 3, 4]])).tolist() == [[1, 2, 4, 6]]
    assert xyxy(np.zeros((0, 4))).shape == (0, 4)
