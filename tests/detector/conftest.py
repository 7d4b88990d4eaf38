"""What tests of the detector share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.detector.tiny import untrained, write_images


@pytest.fixture(scope="session")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures to train on and four to validate, of 64 x 64 pixels."""
    return write_images(tmp_path_factory.mktemp("images"))


@pytest.fixture(scope="session")
def yolo11n(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained yolo11n of two classes."""
    return untrained("yolo11n", tmp_path_factory.mktemp("weights") / "yolo11n.pt")
