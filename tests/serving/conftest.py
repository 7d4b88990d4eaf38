from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.serving.models import bright_model, register_model
from tests.serving.running import Running

LIMITS = {
    "--max-image-bytes": "100000",
    "--max-body-bytes": "400000",
    "--max-pixels": "1000000",
    "--max-batch-images": "4",
    "--queue-length": "8",
}


@pytest.fixture(scope="session")
def version_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registered version, tests/serving/models.py says what it finds."""
    folder = tmp_path_factory.mktemp("serving")
    version = register_model(folder / "store", bright_model(folder / "model.onnx"))
    return folder / "store" / version.folder


@pytest.fixture(scope="session")
def slow_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, and an inference takes some tenths of a second."""
    folder = tmp_path_factory.mktemp("slow")
    model = bright_model(folder / "model.onnx", matrices=4, side=1024)
    version = register_model(folder / "store", model)
    return folder / "store" / version.folder


@pytest.fixture(scope="session")
def predictor(version_folder: Path) -> Iterator[Running]:
    """A predictor that all tests of a worker share, with small limits."""
    options = [text for pair in LIMITS.items() for text in pair]
    with Running(version_folder, *options) as running:
        yield running.ready()
        assert running.process.poll() is None, running.log
    # Whatever was sent to it, its log is what a collector of logs reads.
    told = [json.loads(line) for line in running.lines]
    # What senders do wrong is no error of the server's: those two pictures bring it down to one.
    faults = [one for one in told if one["level"] == "ERROR"]
    assert {one.get("request_id") for one in faults} <= {"http-fault", "grpc-fault"}, faults
