from __future__ import annotations

from typing import Any

import pytest

from yololine.runs.facts import fact
from yololine.telemetry.records import EpochProgress, ErrorRecord, StepRecord, StepState, now


def _record(step: str, state: StepState = StepState.DONE, **known: Any) -> StepRecord:
    return StepRecord(step=step, run_id="run", state=state, started_at=now(), **known)


@pytest.mark.parametrize(
    ("record", "told"),
    [
        (_record("resolve_source", facts={"files": 729}), "729 files"),
        (
            _record("clean_dataset", facts={"images": {"kept": 364, "dropped": 2}}),
            "364 images, 2 dropped",
        ),
        (
            _record(
                "split_dataset", facts={"counts": {"train": {"images": 8}, "val": {"images": 2}}}
            ),
            "8 train, 2 val",
        ),
        (_record("train_detector", facts={"best_epoch": 9, "epochs": 10}), "best epoch 9 of 10"),
        (_record("evaluate_detector", facts={"ap50": 0.56814}), "AP50 0.568"),
        (_record("decide_promotion", facts={"promoted": False}), "not promoted"),
        (
            _record(
                "build_test_set", StepState.REUSED, facts={"images": 54}, made_in_run="training-1"
            ),
            "54 images, from training-1",
        ),
        (_record("export_detector", StepState.REUSED, made_in_run="training-1"), "from training-1"),
        (_record("export_detector", key="0123456789abcdef"), "0123456789ab"),
        (_record("evaluate_detector", facts={"ap50": None}, digest="ab"), "ab"),
        (_record("clean_dataset", facts={"images": 3}), ""),
        (_record("evaluate_detector", StepState.RUNNING, key="ab"), ""),
        (
            _record(
                "train_detector",
                StepState.FAILED,
                error=ErrorRecord(kind="NotFinite", message="epoch 2: loss is NaN\nlower lr0"),
            ),
            "epoch 2: loss is NaN",
        ),
        (
            _record(
                "train_detector",
                StepState.TERMINATED,
                progress=EpochProgress(epoch=3, epochs=9),
                error=ErrorRecord(kind="Terminated", message="stopped"),
            ),
            "after epoch 3 of 9",
        ),
    ],
)
def test_a_step_in_a_few_words(record: StepRecord, told: str) -> None:
    assert fact(record) == told
