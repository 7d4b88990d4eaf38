"""The compiled line on real photographs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.line import MADE, REUSED, Line, run_line

pytestmark = pytest.mark.e2e

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
        "image_size": 224,
        "epochs": 15,
        "gpu_count": "0",
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
