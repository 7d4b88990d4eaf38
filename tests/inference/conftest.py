"""What tests of the inference share."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained yolo11n of two classes for 128 pixels, exported; `weights.pt` lies beside it."""
    from tests.detector.tiny import untrained
    from yololine.detector.ultralytics import export_onnx

    folder = tmp_path_factory.mktemp("model")
    weights = untrained("yolo11n", folder / "weights.pt", class_count=2)
    export_onnx(weights, folder / "model.onnx", image_size=128)
    return folder / "model.onnx"
