"""Published results of steps, and the line of records that leads back through them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import Field, ValidationError

from yololine.errors import NotFound
from yololine.frozen import Frozen
from yololine.storage.base import FileRef, Store
from yololine.telemetry.records import STEPS, StepRecord, StepState


class Result(Frozen):
    """A published result of a step, as its manifest.json holds it."""

    step: str
    key: str
    digest: str = ""
    manifest: dict[str, Any]
    """What the step hands on."""
    facts: dict[str, Any] = Field(default_factory=dict)
    files: dict[str, FileRef] = Field(default_factory=dict)
    exhibits: dict[str, FileRef] = Field(default_factory=dict)
    inputs: dict[str, str] = Field(default_factory=dict)
    upstream: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    made_in_run: str
    made_at: datetime
    made_seconds: float
    versions: dict[str, str] = Field(default_factory=dict)


def result_folder(step: str, key: str) -> str:
    """Where a result lies, below the store's root."""
    return f"results/{step}/{key}"


def read_result(store: Store, step: str, key: str) -> Result | None:
    """The manifest of a result, None where there is none; its files are not looked at."""
    try:
        data = store.read_bytes(result_folder(step, key) + "/manifest.json")
        return Result.model_validate_json(data)
    except (NotFound, ValidationError):
        return None


def record_of_result(result: Result, run_id: str) -> StepRecord:
    """The record that a step would have written in a run in which KFP's cache skipped it."""
    return StepRecord(
        step=result.step,
        run_id=run_id,
        state=StepState.REUSED,
        started_at=result.made_at,
        finished_at=result.made_at,
        key=result.key,
        digest=result.digest,
        inputs=result.inputs,
        upstream=result.upstream,
        facts=result.facts,
        exhibits={name: ref.path for name, ref in result.exhibits.items()},
        notes=result.notes,
        made_in_run=result.made_in_run,
        made_seconds=result.made_seconds,
        versions=result.versions,
    )


def line_of(store: Store, own: Mapping[str, StepRecord]) -> dict[str, StepRecord]:
    """Every step's record of a run in the line's order, those that KFP's cache skipped included.

    Args:
        store: Holds the results.
        own: What the run executed.
    """
    line = dict(own)
    for record in own.values():
        line |= behind(store, record, own) | dict(own)
    return {step: line[step] for step in STEPS if step in line}


def behind(
    store: Store, record: StepRecord, own: Mapping[str, StepRecord]
) -> dict[str, StepRecord]:
    """The records of all that a record's result was made of, itself included.

    A step that this run executed is told by its own record; one that KFP's cache skipped by its
    result, which the steps behind it name by its key.

    Args:
        store: Holds the results.
        record: Where to start.
        own: What the run executed.
    """
    found: dict[str, StepRecord] = {record.step: record}
    pending = [record]
    while pending:
        for name, key in pending.pop().upstream.items():
            if name in found:
                continue
            result = None if name in own and own[name].key == key else read_result(store, name, key)
            upstream = record_of_result(result, record.run_id) if result else own.get(name)
            if upstream:
                found[name] = upstream
                pending.append(upstream)
    return {step: found[step] for step in STEPS if step in found}
