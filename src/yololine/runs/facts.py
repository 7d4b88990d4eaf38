"""What a step did, in a few words: one line of a table has room for no more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from yololine.telemetry.records import StepRecord, StepState

_RESULTS: dict[str, Callable[[dict[str, Any]], str]] = {
    "resolve_source": lambda facts: f"{facts['files']} files",
    "clean_dataset": lambda facts: (
        f"{facts['images']['kept']} images, {facts['images']['dropped']} dropped"
    ),
    "split_dataset": lambda facts: ", ".join(
        f"{count['images']} {split}" for split, count in facts["counts"].items()
    ),
    "augment_dataset": lambda facts: f"{facts['images']} images",
    "build_test_set": lambda facts: f"{facts['images']} images",
    "train_detector": lambda facts: f"best epoch {facts['best_epoch']} of {facts['epochs']}",
    "evaluate_detector": lambda facts: f"AP50 {facts['ap50']:.3f}",
    "decide_promotion": lambda facts: "promoted" if facts["promoted"] else "not promoted",
    "register_model": lambda facts: f"{facts['name']} {facts['version']}",
    "deploy_model": lambda facts: f"{facts['version']} at {facts['url']}",
}


def result(record: StepRecord) -> str:
    """What came of a step; empty where there is nothing to tell, or not yet."""
    # A record of another version may say it otherwise: then there is nothing to tell.
    with suppress(LookupError, TypeError, ValueError, AttributeError):
        if record.step in _RESULTS:
            return _RESULTS[record.step](record.facts)
    return ""


def fact(record: StepRecord) -> str:
    """The one thing worth knowing of a step; empty where there is none yet."""
    match record.state:
        case StepState.FAILED if record.error:
            message = record.error.message or record.error.kind
            return message.splitlines()[0]
        case StepState.TERMINATED if record.progress:
            return f"after epoch {record.progress.epoch} of {record.progress.epochs}"
        case StepState.DONE | StepState.REUSED:
            told = result(record) or (record.digest or record.key)[:12]
            if record.state is StepState.REUSED and record.made_in_run:
                told = f"{told}, from {record.made_in_run}".removeprefix(", ")
            return told
        case _:
            return ""
