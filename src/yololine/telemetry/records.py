"""The record each step writes of itself; reports and the live view are views of it."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from yololine.frozen import Frozen

STEPS: dict[str, str] = {
    "preflight": "Check parameters, source and store",
    "resolve_source": "Read the source's listing",
    "clean_dataset": "Decode, pair and check every file",
    "split_dataset": "Assign images to train, val and test",
    "augment_dataset": "Add augmented copies of train images",
    "prepare_weights": "Start weights",
    "build_test_set": "Lay out the held-out test set",
    "train_detector": "Train",
    "export_detector": "Export to ONNX",
    "evaluate_detector": "Score the exported model",
    "decide_promotion": "Hold the metrics against the rules",
    "register_model": "Register the version",
    "deploy_model": "Put the version live and verify it",
    "report_run": "Write the run report",
}
"""Every step of the training line in the order of the graph, with its title.

The deployment pipeline has the last two."""


class StepState(StrEnum):
    """How far a step has come."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    REUSED = "reused"
    FAILED = "failed"
    TERMINATED = "terminated"


def now() -> datetime:
    """The present moment in UTC, to the millisecond."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class ErrorRecord(Frozen):
    """An error in its own words."""

    kind: str
    message: str
    remedy: str = ""


class EpochProgress(Frozen):
    """One finished training epoch.

    Losses are means over the epoch's batches; `map50` and `map50_95` are fractions of 1 on the
    validation split, NaN-free (None where the trainer gave none).
    """

    epoch: int = Field(ge=1, description="1-based")
    epochs: int = Field(ge=1)
    box_loss: float | None = None
    cls_loss: float | None = None
    dfl_loss: float | None = None
    val_box_loss: float | None = None
    val_cls_loss: float | None = None
    val_dfl_loss: float | None = None
    precision: float | None = None
    recall: float | None = None
    map50: float | None = None
    map50_95: float | None = None
    learning_rate: float | None = None
    seconds: float = 0.0


class Attempt(Frozen):
    """How an earlier attempt at a step ended, in the same run."""

    attempt: int
    state: StepState
    """RUNNING where it was cut off without a word."""
    started_at: datetime
    finished_at: datetime | None = None
    progress: EpochProgress | None = None
    error: ErrorRecord | None = None


class StepRecord(Frozen):
    """What one step of one run did.

    `facts` holds the step's own frozen report, dumped; `exhibits` names small pictures (store
    paths relative to the store's root) with a caption each.
    """

    step: str
    run_id: str
    state: StepState
    attempt: int = 1
    earlier: tuple[Attempt, ...] = ()
    """What became of the attempts before, oldest first."""
    started_at: datetime
    seen_at: datetime | None = None
    """When the step last wrote this record: while it runs, a sign of life."""
    finished_at: datetime | None = None
    key: str = ""
    """Name of the result: sha256 over the inputs' digests and the configuration."""
    digest: str = ""
    """Digest of the result's content, where it has one of its own."""
    inputs: dict[str, str] = Field(default_factory=dict)
    """Input name -> digest or key."""
    upstream: dict[str, str] = Field(default_factory=dict)
    """Step that made an input -> key of its result: how a report finds steps that KFP's cache
    skipped, and which therefore wrote no record in this run."""
    parameters: dict[str, Any] = Field(default_factory=dict)
    facts: dict[str, Any] = Field(default_factory=dict)
    exhibits: dict[str, str] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Sentences a person should read: what changed, what was survived, what to look at."""
    progress: EpochProgress | None = None
    made_in_run: str = ""
    """The run that made the result, where this one reused it."""
    made_seconds: float | None = None
    """How long making the result took, whenever that was."""
    versions: dict[str, str] = Field(default_factory=dict)
    error: ErrorRecord | None = None

    @property
    def seconds(self) -> float:
        """Wall time so far."""
        return ((self.finished_at or now()) - self.started_at).total_seconds()

    @property
    def last_sign(self) -> datetime:
        """The last moment at which the step is known to have been alive."""
        return self.finished_at or self.seen_at or self.started_at

    def as_attempt(self) -> Attempt:
        """What the next attempt remembers of this one."""
        return Attempt(
            attempt=self.attempt,
            state=self.state,
            started_at=self.started_at,
            finished_at=self.finished_at,
            progress=self.progress,
            error=self.error,
        )
