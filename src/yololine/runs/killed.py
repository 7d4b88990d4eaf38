"""What a run that was killed could not do itself: end its processes, its journal, its report."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from yololine.errors import YololineError
from yololine.storage import Store, open_store
from yololine.telemetry.journal import (
    read_run,
    read_run_record,
    write_record,
    write_run_record,
)
from yololine.telemetry.orphans import is_abandoned, kill_run_processes
from yololine.telemetry.records import ErrorRecord, StepState
from yololine.telemetry.runs import RunRecord, RunState

SCRATCH_PREFIX = "yololine-"
LOCK = "lock"
SCRATCH_RECORD = "run.json"
"""The run's record, beside the lock that its command holds."""


def end_killed_runs() -> None:
    """End every run of this user that was killed on this machine and has not been ended since.

    By the lock in its scratch folder, which the kernel dropped. Where the run's store cannot be
    written now, its journal stays as it is, and its steps fall silent.
    """
    for lock in Path(tempfile.gettempdir()).glob(f"{SCRATCH_PREFIX}*/{LOCK}"):
        # Another command may end, or clear up, at this moment.
        with suppress(FileNotFoundError):
            if lock.parent.stat().st_uid == os.getuid() and is_abandoned(lock):
                kill_run_processes(lock)
                with suppress(OSError, ValidationError, YololineError):
                    told = (lock.parent / SCRATCH_RECORD).read_bytes()
                    _end(RunRecord.model_validate_json(told))
                shutil.rmtree(lock.parent, ignore_errors=True)


def _end(begun: RunRecord) -> None:
    store = open_store(begun.store_uri)
    run = read_run_record(store, begun.run_id) or begun
    if run.state is RunState.RUNNING:
        _end_journal(store, run)
    # Plots and pictures: a second to import, and needed only here.
    from yololine import steps

    # A light install has no pages; and nobody's command shall fail of another run's page.
    with suppress(Exception):
        steps.report_run_from_journal(store_uri=store.uri, run_id=run.run_id)


def _end_journal(store: Store, run: RunRecord) -> None:
    last_sign = run.started_at
    for record in read_run(store, run.run_id).values():
        last_sign = max(last_sign, record.last_sign)
        if record.state is StepState.RUNNING:
            error = ErrorRecord(
                kind="Killed",
                message="killed, together with the command that ran it, before it could say a word",
                remedy="run the same command again: it goes on from what is done",
            )
            ended = {
                "state": StepState.TERMINATED,
                "finished_at": record.last_sign,
                "error": error,
            }
            write_record(store, record.model_copy(update=ended))
    ended_run = {"state": RunState.KILLED, "finished_at": last_sign}
    write_run_record(store, run.model_copy(update=ended_run))
