"""A run as the person who started it sees it: what it is, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from yololine.telemetry.records import ErrorRecord, StepRecord
from yololine.telemetry.runs import RunState


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that is about to begin; `steps` are in the order of the line."""

    run_id: str
    pipeline: str
    steps: tuple[str, ...]
    store_uri: str
    folder: Path
    """Where logs and artifacts lie on this machine."""
    command: str
    """What starts it, and goes on where it ended."""

    @property
    def logs(self) -> Path:
        """The folder of `run.log` and of one log per step."""
        return self.folder / "logs"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What ended a run: the step (empty: none had begun), its own words, and where to read on."""

    step: str
    error: ErrorRecord
    log: Path


@dataclass(frozen=True, kw_only=True)
class RunOutcome:
    """How a run ended.

    `report` is its path or URI, empty where it could not be written; `exit_code` is 0, 1, or
    128 + the signal that stopped the run.
    """

    run: Run
    state: RunState
    exit_code: int
    seconds: float
    records: dict[str, StepRecord]
    failure: Failure | None
    report: str
    notes: tuple[str, ...] = field(default=())
    """What else went wrong, in sentences."""
