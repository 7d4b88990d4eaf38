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
    model = constant_model(output, tmp_path / "model.onnx")
    rows = [
        _row("square", 128, 128, (32, 32, 64, 64)),
        _row("wide", 128, 64, (32, 0, 64, 64)),
        _row("empty", 64, 64),
    ]
    progress: list[int] = []
    truths, found, milliseconds = score_rows(
        rows, model, image_size=64, class_count=1, progress=progress.append
    )
    assert [one.file_name for one in truths] == ["square.png", "wide.png", "empty.png"]
    assert progress == [1, 2, 3]
    assert milliseconds > 0
    assert [one.boxes_xyxy.round(3).tolist() for one in found] == [
        [[32, 32, 96, 96]],
        [[32, 0, 96, 64]],
        [[16, 16, 48, 48]],
    ]
    scores = coco_metrics(truths, found, ("crack",))
    assert scores.per_class["crack"].objects == 2
    # The third is as sure, and wrong: as equals come in the order of the pictures, it comes last.
    assert scores.ap50_95 == 1


def test_end2end_models_are_scored_too(tmp_path: Path) -> None:
    output = np.array([[[16, 16, 48, 48, 0.9, 0], [0, 0, 9, 9, 0, 0]]], np.float32)
    model = constant_model(output, tmp_path / "model.onnx")
    row = _row("a", 128, 128, (32, 32, 64, 64))
    truths, found, _ = score_rows([row], model, image_size=64, class_count=1)
    assert found[0].boxes_xyxy.tolist() == [[32, 32, 96, 96]]
    assert coco_metrics(truths, found, ("crack",)).ap50 == 1


def test_a_test_set_without_pictures_is_refused(tmp_path: Path) -> None:
    model = constant_model(np.zeros((1, 5, 84)), tmp_path / "model.onnx")
    with pytest.raises(EvaluationError, match="test set: holds no picture"):
        score_rows([], model, image_size=64, class_count=1)


def test_boxes_by_corner_and_size_become_two_corners() -> None:
    assert xyxy(np.array([[1, 2, 3, 4]])).tolist() == [[1, 2, 4, 6]]
    assert xyxy(np.zeros((0, 4))).shape == (0, 4)
