"""The compiled line on real photographs."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MinioServer
from tests.e2e.line import MADE, REUSED, Line, run_line
from yololine.registry.versions import read_version
from yololine.storage import open_store

pytestmark = pytest.mark.e2e

FULL = os.environ.get("YOLOLINE_FULL") == "true"
"""Whether to train as long as docs/performance.md says, and to do it on MinIO, too."""
LONG: dict[str, Any] = {"image_size": 224, "epochs": 15}
ENOUGH: dict[str, Any] = {"image_size": 192, "epochs": 8, "min_map50": 0.4}
"""White and red cells are found, in two minutes less."""
QUICK: dict[str, Any] = {"image_size": 96, "epochs": 1, "min_map50": 0.0}

PARTS = (
    "Steps",
    "Decision",
    "Test results",
    "Confusion matrix",
    "Training",
    "Registered version",
    "Source",
    "Cleaning",
    "Split",
    "Augmentation",
    "Digests and versions",
    "Parameters",
)


@pytest.fixture(scope="module")
def parameters(bccd: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {
        "source_uri": str(bccd),
        "store_uri": str(tmp_path_factory.mktemp("bccd") / "store"),
        "model_name": "blood-cells",
        "architecture": "yolo11n",
        "gpu_count": "0",
        **(LONG if FULL else ENOUGH),
    }


@pytest.fixture(scope="module")
def line(parameters: dict[str, Any]) -> Line:
    return run_line(**parameters)


def test_the_line_ends_well(line: Line) -> None:
    assert line.exit_code == 0, line.output
    assert line.states() == MADE


def test_the_two_boxes_without_extent_are_reported(line: Line) -> None:
    facts = line.records["clean_dataset"].facts
    assert {Path(fault["file"]).stem for fault in facts["box_faults"]} == {
        "BloodImage_00338",
        "BloodImage_00343",
    }
    for name in ("BloodImage_00338", "BloodImage_00343"):
        assert name in line.report


def test_white_cells_are_found(line: Line) -> None:
    white = line.records["evaluate_detector"].facts["per_class"]["WBC"]
    assert white["ap50"] >= 0.85


def test_the_report_has_its_parts(line: Line) -> None:
    for part in PARTS:
        assert part in line.report
    assert line.report.count("data:image/jpeg;base64,") >= 10
    assert len(line.report.encode()) < 5_000_000


def test_the_same_run_again_trains_nothing(line: Line, parameters: dict[str, Any]) -> None:
    again = run_line(**parameters)
    assert again.exit_code == 0, again.output
    assert again.states("train_detector", "export_detector", "register_model") == REUSED
    assert again.version == line.version
    assert again.records["clean_dataset"].digest == line.records["clean_dataset"].digest


@pytest.fixture(scope="module")
def compared(parameters: dict[str, Any], request: pytest.FixtureRequest) -> Line:
    """The run on a folder that the one on MinIO is held against."""
    if FULL:
        full: Line = request.getfixturevalue("line")
        return full
    return run_line(**parameters | QUICK)


@pytest.mark.server
def test_minio_gives_what_a_folder_gives(
    compared: Line,
    parameters: dict[str, Any],
    minio_server: MinioServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The same digests, the same version, the same metrics: only the place differs."""
    assert compared.exit_code == 0, compared.output
    bucket = minio_server.make_bucket()
    raw = minio_server.upload(Path(parameters["source_uri"]), bucket, "raw")
    for name, value in minio_server.environ.items():
        monkeypatch.setenv(name, value)
    uris = {"source_uri": raw, "store_uri": f"s3://{bucket}/line"}
    there = run_line(cwd=tmp_path, **parameters | ({} if FULL else QUICK) | uris)
    assert there.exit_code == 0, there.output
    assert there.states() == MADE
    assert {step: (record.digest, record.key) for step, record in there.records.items()} == {
        step: (record.digest, record.key) for step, record in compared.records.items()
    }
    assert there.version == compared.version
    assert _metrics(there) == _metrics(compared)


def _metrics(line: Line) -> Any:
    store = open_store(line.store_uri)
    version = read_version(store, "blood-cells", line.version)
    assert version
    return json.loads(store.read_bytes(f"{version.folder}/metrics.json"))
