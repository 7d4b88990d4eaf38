"""The run journal: a record per step under `runs/<run id>/steps/`, replaced as the step goes on.

A run that a command started also has `runs/<run id>/run.json`: what the command says of it.
"""

from __future__ import annotations

from pydantic import ValidationError

from yololine.errors import NotFound, RunError
from yololine.storage.base import Store
from yololine.telemetry.records import STEPS, StepRecord
from yololine.telemetry.runs import RunRecord

RUN_ID_VARIABLE = "YOLOLINE_RUN_ID"
"""Tells a step its run: on a cluster from the pod's label, here from the supervisor.

As an input the run's id would be part of KFP's cache key, and nothing would ever be found there.
"""


def write_record(store: Store, record: StepRecord) -> None:
    """Create or replace the step's record of this run."""
    store.write_bytes(_path(record.run_id, record.step), record.model_dump_json(indent=1).encode())


def read_record(store: Store, run_id: str, step: str) -> StepRecord | None:
    """The step's record of a run, None where it wrote none."""
    try:
        return StepRecord.model_validate_json(store.read_bytes(_path(run_id, step)))
    except NotFound:
        return None
    except ValidationError as error:
        raise RunError(
            _path(run_id, step),
            rule="is no step record of this version of yololine",
            remedy="read it with the version that wrote it",
        ) from error


def read_run(store: Store, run_id: str) -> dict[str, StepRecord]:
    """Every record of a run, by step, in the order of the line."""
    records = ((step, read_record(store, run_id, step)) for step in STEPS)
    return {step: record for step, record in records if record is not None}


def write_run_record(store: Store, run: RunRecord) -> None:
    """Create or replace what the command says of its run."""
    store.write_bytes(_run_path(run.run_id), run.model_dump_json(indent=1).encode())


def read_run_record(store: Store, run_id: str) -> RunRecord | None:
    """What the command says of its run, None where no command started it."""
    try:
        return RunRecord.model_validate_json(store.read_bytes(_run_path(run_id)))
    except (NotFound, ValidationError):
        return None


def run_ids(store: Store) -> list[str]:
    """Every run with a journal, in no telling order: the ids of a cluster's runs have none."""
    paths = (path.split("/") for path in store.paths("runs"))
    return sorted({parts[1] for parts in paths if parts[2:3] == ["steps"]})


def report_path(run_id: str) -> str:
    """Where a run's report lies in the store."""
    return f"runs/{run_id}/report.html"


def _path(run_id: str, step: str) -> str:
    return f"runs/{run_id}/steps/{step}.json"


def _run_path(run_id: str) -> str:
    return f"runs/{run_id}/run.json"
