"""The steps of the dataset, one after the other on a small source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.e2e.faulty import good, picture, write
from yololine import steps
from yololine.storage import Store, open_store
from yololine.telemetry.journal import RUN_ID_VARIABLE, read_record
from yololine.telemetry.records import StepRecord, StepState

RUN = "run-1"


class Line:
    """Steps by their names, with folders for what they hand on."""

    def __init__(self, folder: Path, files: dict[str, Any]) -> None:
        self.source = str(write(folder / "source", files))
        self.store: Store = open_store(str(folder / "store"))
        self._folder = folder

    def out(self, name: str) -> str:
        return str(self._folder / "out" / name)

    def record(self, step: str) -> StepRecord:
        found = read_record(self.store, RUN, step)
        assert found
        return found

    def clean(self, **options: Any) -> None:
        digest = steps.resolve_source(self.source, self.store.uri, self.out("page")).digest
        steps.clean_dataset(
            self.source, digest, self.store.uri, self.out("dataset"), self.out("page"), **options
        )

    def split(self) -> None:
        self.clean()
        steps.split_dataset(
            self.out("dataset"),
            self.store.uri,
            self.out("split"),
            self.out("page"),
            val_fraction=0.2,
            test_fraction=0.2,
            seed=0,
        )

    def build_test_set(self, **rules: Any) -> None:
        steps.build_test_set(
            self.out("split"),
            self.store.uri,
            self.out("test"),
            self.out("page"),
            promotion_rules=rules,
        )


@pytest.fixture(autouse=True)
def _run_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUN_ID_VARIABLE, RUN)


def test_what_was_dropped_is_told_though_the_dataset_is_refused(tmp_path: Path) -> None:
    files = good() | {"images/good_000.jpg": b"", "labels/good_001.txt": "9 0.5 0.5 0.5 0.5\n"}
    line = Line(tmp_path, files)
    with pytest.raises(SystemExit):
        line.clean(max_dropped_fraction=0.1)
    record = line.record("clean_dataset")
    assert record.state is StepState.FAILED
    assert record.error
    assert record.error.message.startswith("2 of 8 pictures were dropped (1 not a readable")
    assert [item["file"] for item in record.facts["dropped_files"]][:2] == [
        "images/good_000.jpg",
        "images/good_001.jpg",
    ]
    assert "dataset_digest" not in record.facts
    assert [line.store.exists(path) for path in record.exhibits.values()] == [True]
    assert not list(line.store.paths("datasets"))
    assert not [p for p in line.store.paths("results") if p.endswith("manifest.json")]
    page = Path(line.out("page")).read_text()
    assert "images/good_001.jpg" in page
    assert "Traceback" not in page


def test_notes_of_cleaning_are_notes_of_the_step(tmp_path: Path) -> None:
    line = Line(tmp_path, good() | {"moving.gif": "GIF89a"})
    line.clean()
    notes = line.record("clean_dataset").notes
    assert "Ignored, as neither picture nor label: 1 .gif." in notes


def test_rules_are_held_against_the_classes_before_anything_is_trained(tmp_path: Path) -> None:
    line = Line(tmp_path, good(10))
    line.split()
    line.build_test_set(**{"ap50_95": 0.1, "per_class.dent.recall": 0.5})
    assert line.record("build_test_set").state is StepState.DONE
    with pytest.raises(SystemExit):
        line.build_test_set(**{"per_class.dents.recall": 0.5, "per_class.rust.ap50": 0.5})
    error = line.record("build_test_set").error
    assert error
    assert "names a class that the model does not have; did you mean 'dent'?" in error.message
    assert "2 faults" in error.message
    line.build_test_set()
    assert line.record("build_test_set").state is StepState.REUSED


def test_a_policy_that_costs_boxes_is_told(tmp_path: Path) -> None:
    line = Line(tmp_path, good(10) | {"extra/x.jpg": picture(1), "extra/x.txt": ""})
    line.split()
    policy = tmp_path / "policy.yaml"
    policy.write_text(
        "transform:\n  __class_fullname__: Crop\n  p: 0.5\n"
        "  x_min: 0\n  y_min: 0\n  x_max: 20\n  y_max: 20\n"
    )
    steps.augment_dataset(
        line.out("split"),
        line.store.uri,
        line.out("augmented"),
        line.out("page"),
        augmentation_policy=str(policy),
        augmentation_copies=4,
        policy_sha256="",
        seed=0,
    )
    [note] = line.record("augment_dataset").notes
    assert "boxes in its copies: what was cut off there is taught as background" in note
