from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.inference.models import constant_model
from yololine.errors import EvaluationError
from yololine.inference.engine import OnnxEngine


@pytest.mark.parametrize(
    ("shape", "class_count", "layout"),
    [
        ((1, 6, 84), 2, "raw"),
        ((1, 84, 8400), 80, "raw"),
        ((1, 300, 6), 2, "end2end"),
        ((1, 21, 6), 80, "end2end"),
        # 4 + 2 rows of 6 columns: six detections, for no input has six anchors.
        ((1, 6, 6), 2, "end2end"),
        ((1, 300, 6), 296, "end2end"),
    ],
)
def test_the_layout_is_learnt(
    shape: tuple[int, ...], class_count: int, layout: str, tmp_path: Path
) -> None:
    output = np.random.default_rng(0).random(shape, np.float32)
    model = constant_model(output, tmp_path / "model.onnx")
    engine = OnnxEngine(model, image_size=64, class_count=class_count)
    assert engine.layout == layout
    batch = np.random.default_rng(1).random((2, 3, 64, 64), np.float32)
    assert np.array_equal(engine.run(batch), np.repeat(output, 2, axis=0))


@pytest.mark.parametrize(
    ("shape", "class_count", "words"),
    [
        (
            (1, 6, 84),
            3,
            r"output \(1, 6, 84\): is neither \(n, 7, anchors\) nor \(n, detections, 6\)",
        ),
        ((1, 301, 6), 2, r"output \(1, 301, 6\): is neither"),
        ((1, 84, 6, 1), 80, r"output \(1, 84, 6, 1\): is neither"),
        ((1, 1000), 996, r"output \(1, 1000\): is neither"),
    ],
)
def test_other_outputs_are_refused(
    shape: tuple[int, ...], class_count: int, words: str, tmp_path: Path
) -> None:
    model = constant_model(np.zeros(shape), tmp_path / "model.onnx")
    with pytest.raises(EvaluationError, match=words):
        OnnxEngine(model, image_size=64, class_count=class_count)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no model", bytes(1000), b"\x08\x08"])
def test_garbage_is_refused(content: bytes, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(content)
    with pytest.raises(EvaluationError, match=r"model\.onnx: is no model that ONNX Runtime runs"):
        OnnxEngine(model, image_size=64, class_count=2)


def test_a_model_that_is_cut_short_or_gone_is_refused(tmp_path: Path) -> None:
    model = constant_model(np.zeros((1, 6, 84)), tmp_path / "model.onnx")
    model.write_bytes(model.read_bytes()[:-50])
    with pytest.raises(EvaluationError, match="is no model"):
        OnnxEngine(model, image_size=64, class_count=2)
    with pytest.raises(EvaluationError, match=r"gone\.onnx: is no model"):
        OnnxEngine(tmp_path / "gone.onnx", image_size=64, class_count=2)


def test_another_input_is_refused(tmp_path: Path) -> None:
    model = constant_model(
        np.zeros((1, 6, 84)), tmp_path / "model.onnx", input_shape=("n", 3, 640, 640)
    )
    with pytest.raises(EvaluationError, match=r"runs on a \(1, 3, 64, 64\) batch \(.*640"):
        OnnxEngine(model, image_size=64, class_count=2)
    assert OnnxEngine(model, image_size=640, class_count=2).layout == "raw"
