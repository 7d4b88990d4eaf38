"""The journal of a run that is under way, read from the outside and completed where a step died."""

from __future__ import annotations

import signal
import threading
from contextlib import suppress

from yololine.errors import YololineError
from yololine.runs.logs import RunLogs
from yololine.runs.outcome import Failure, Run
from yololine.storage.base import Store
from yololine.storage.local import LocalStore
from yololine.telemetry.journal import read_record, write_record
from yololine.telemetry.records import ErrorRecord, StepRecord, StepState, now

_FOLDER_PAUSE_SECONDS = 0.25
_S3_PAUSE_SECONDS = 1.0
_FINAL = {StepState.DONE, StepState.REUSED}


class FollowedJournal:
    """The records of a run by step, in the order of the line.

    They are read in a thread of their own: a store that does not answer is asked patiently, and
    the terminal and Ctrl-C must not wait for that.
    """

    def __init__(self, store: Store, run: Run, logs: RunLogs) -> None:
        self._store, self._run, self._logs = store, run, logs
        self._records: dict[str, StepRecord] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="journal", daemon=True)
        self._thread.start()

    @property
    def records(self) -> dict[str, StepRecord]:
        """As last read."""
        return {step: self._records[step] for step in self._run.steps if step in self._records}

    def complete(self, stopped_by: signal.Signals | None) -> list[str]:
        """Read for the last time, and end every record whose process could not.

        Returns:
            What went wrong with that, in sentences.
        """
        self._over.set()
        self._thread.join()
        try:
            self._read()
            # The step that was being started when the run was told to stop did not run at all.
            begun = {self._logs.step} if self._logs.step and not stopped_by else set()
            for step in sorted(begun | self._logs.failed | set(self._records)):
                self._complete(step, stopped_by=stopped_by)
        except YololineError as error:
            return [f"the run's records are not complete: {error}"]
        return []

    def failure(self) -> Failure:
        """What the run failed of: the first step that did, or what was said last."""
        for step, record in self.records.items():
            if record.state is StepState.FAILED and record.error:
                return Failure(step=step, error=record.error, log=self._logs.path(step))
        error = ErrorRecord(kind="RunError", message=self._logs.last_line() or "it said nothing")
        return Failure(step="", error=error, log=self._logs.path())

    def _follow(self) -> None:
        local = isinstance(self._store, LocalStore)
        while not self._over.wait(_FOLDER_PAUSE_SECONDS if local else _S3_PAUSE_SECONDS):
            with suppress(YololineError):
                self._read()
                # Right away, so that the exit handler's report has it too.
                for step in sorted(self._logs.failed):
                    self._complete(step, stopped_by=None)

    def _read(self) -> None:
        for step in self._run.steps:
            known = self._records.get(step)
            if known is None or known.state not in _FINAL:
                record = read_record(self._store, self._run.run_id, step)
                if record:
                    self._records[step] = record

    def _complete(self, step: str, *, stopped_by: signal.Signals | None) -> None:
        record = self._records.get(step)
        if record and record.state is not StepState.RUNNING:
            return
        if record is None:
            started_at = self._logs.begun.get(step, now())
            record = StepRecord(
                step=step,
                run_id=self._run.run_id,
                state=StepState.RUNNING,
                started_at=started_at,
            )
        if stopped_by:
            state = StepState.TERMINATED
            error = ErrorRecord(
                kind="Terminated",
                message=f"stopped by {stopped_by.name}",
                remedy="run the same command again: it goes on from what is done",
            )
        else:
            state = StepState.FAILED
            last_line = self._logs.last_line(step)
            error = ErrorRecord(
                kind="RunError",
                message="its process ended without a word in the journal"
                + (f"; its last line: {last_line}" if last_line else ""),
                remedy=f"read {self._logs.path(step)}",
            )
        record = record.model_copy(update={"state": state, "finished_at": now(), "error": error})
        write_record(self._store, record)
        self._records[step] = record
