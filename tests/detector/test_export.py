from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.detector.tiny import picture, untrained
from yololine.detector import export, ultralytics
from yololine.detector.config import ONNX_OPSET
from yololine.errors import EvaluationError
from yololine.inference.engine import load_engine
from yololine.inference.preprocess import prepare
from yololine.storage import sha256_file

SIZE = 64
ANCHORS = 8 * 8 + 4 * 4 + 2 * 2


@pytest.fixture
def pictures() -> list[np.ndarray]:
    random = np.random.default_rng(0)
    return [picture(random, 64, 50), picture(random, 90, 300), picture(random)]


@pytest.mark.parametrize("architecture", ["yolo11n", "yolov8n", "yolov10n", "yolo26n"])
def test_the_export_is_the_detector(
    architecture: str, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    """Also those that could do without suppression: their one-to-many head is what is exported."""
    weights, onnx_file = untrained(architecture, tmp_path / "a.pt"), tmp_path / "a.onnx"
    done = export.export_onnx(
        weights, onnx_file, image_size=SIZE, class_count=2, images_rgb=pictures
    )
    assert done.output_layout == "raw"
    assert done.output_shape == (6, ANCHORS)
    assert done.images_compared == 3
    assert done.max_abs_difference < 1e-3
    assert done.onnx_sha256 == sha256_file(onnx_file)
    assert done.size_bytes == onnx_file.stat().st_size
    model = onnx.load(onnx_file)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", ONNX_OPSET)]
    assert [(i.name, i.type.tensor_type.elem_type) for i in model.graph.input] == [("images", 1)]
    onnx.checker.check_model(model)


def test_equal_weights_make_equal_bytes_that_tell_of_no_place(
    pictures: list[np.ndarray], tmp_path: Path
) -> None:
    digests = set()
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        weights = untrained("yolo11n", folder / "weights.pt")
        onnx_file = folder / "model.onnx"
        export.export_onnx(
            weights, onnx_file, image_size=SIZE, class_count=2, images_rgb=pictures[:1]
        )
        digests.add(sha256_file(onnx_file))
        assert {file.name for file in folder.iterdir()} == {"weights.pt", "model.onnx"}
        content = onnx_file.read_bytes()
        assert b"/somewhere/data.yaml" not in content
        assert str(tmp_path).encode() not in content
    assert len(digests) == 1


def test_any_batch_and_any_size_go_through(yolo11n: Path, tmp_path: Path) -> None:
    onnx_file = tmp_path / "a.onnx"
    ultralytics.export_onnx(yolo11n, onnx_file, image_size=SIZE)
    engine = load_engine(onnx_file, image_size=SIZE, class_count=2)
    batch = np.stack([prepare(picture(np.random.default_rng(0)), SIZE).pixels] * 3)
    together = engine.run(batch)
    assert together.shape == (3, 6, ANCHORS)
    assert np.allclose(together[2], engine.run(batch[:1])[0], atol=1e-4)
    assert load_engine(onnx_file, image_size=96, class_count=2).layout == "raw"


def test_an_export_that_differs_is_refused(
    pictures: list[np.ndarray], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights that are another detector's, as if the export had been of the wrong file."""
    weights, other = untrained("yolo11n", tmp_path / "a.pt"), tmp_path / "b.pt"
    model = torch.load(weights, weights_only=False)["model"]
    for scores in model.model[-1].cv3:
        scores[2].bias.data += 3
    torch.save({"model": model}, other)
    true_outputs = ultralytics.torch_outputs
    monkeypatch.setattr(ultralytics, "torch_outputs", lambda _, batch: true_outputs(other, batch))
    with pytest.raises(
        EvaluationError, match=r"ONNX differs from PyTorch by .* pixels, 0\.\d+ in score: at most"
    ):
        export.export_onnx(
            weights, tmp_path / "a.onnx", image_size=SIZE, class_count=2, images_rgb=pictures
        )


def test_an_export_for_other_classes_is_refused(
    yolo11n: Path, pictures: list[np.ndarray], tmp_path: Path
) -> None:
    with pytest.raises(
        EvaluationError, match=r"output \(1, 6, 84\): is neither \(n, 9, anchors\) nor"
    ):
        export.export_onnx(
            yolo11n, tmp_path / "a.onnx", image_size=SIZE, class_count=5, images_rgb=pictures
        )
