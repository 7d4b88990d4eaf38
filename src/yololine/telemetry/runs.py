"""What a run is and how it stands, by what its steps and its command have written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from yololine.frozen import Frozen
from yololine.telemetry.records import STEPS, StepRecord, StepState

BEAT_SECONDS = 20.0
"""How often a running step renews its record."""
DEAD_AFTER = timedelta(seconds=120)
"""Silence after which a step that says it runs does not: a few beats, a patient retry of the store,
and the clocks of two machines apart."""
REGISTRATION = "register_model"
DEPLOYMENT = "deploy_model"
EXIT_HANDLER = "report_run"
DEPLOYMENT_PIPELINE = "deployment"


class RunState(StrEnum):
    """How a run stands."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TERMINATED = "terminated"
    KILLED = "killed"
    """Its processes are gone and said nothing: kill -9, a crash, a machine or pod that was lost."""


class RunRecord(Frozen):
    """What the command that started a run says of it; a run on a cluster has no such record."""

    run_id: str
    pipeline: str
    store_uri: str
    model_name: str
    command: str
    """What starts it, and goes on where it ended."""
    logs: str
    """Folder of its logs, on `host`."""
    host: str
    started_at: datetime
    state: RunState = RunState.RUNNING
    finished_at: datetime | None = None


def model_name_of(records: Mapping[str, StepRecord], run: RunRecord | None) -> str:
    """The model that a run trains: as its steps were told, else as its command was."""
    told = (record.parameters.get("model_name") for record in records.values())
    return next((str(name) for name in told if name), run.model_name if run else "")


def pipeline_of(records: Mapping[str, StepRecord], run: RunRecord | None) -> str:
    """Which pipeline a run is of, as its command or its exit handler knows; empty where neither."""
    if run:
        return run.pipeline
    handler = records.get(EXIT_HANDLER)
    return str(handler.parameters.get("pipeline", "")) if handler else ""


def steps_of(records: Mapping[str, StepRecord], *, pipeline: str = "") -> tuple[str, ...]:
    """The steps that a run has, in the order of the line.

    Deployment is one where it was asked for, or was done all the same; of a run that only deploys
    it is the first.

    Args:
        records: What steps have written; in a run that lost its first pod, none has.
        pipeline: As `pipeline_of` has it.
    """
    if pipeline == DEPLOYMENT_PIPELINE or {DEPLOYMENT} == set(records) - {EXIT_HANDLER}:
        return (DEPLOYMENT, EXIT_HANDLER)
    deploys = DEPLOYMENT in records or _asked_to_deploy(records)
    return tuple(step for step in STEPS if deploys or step != DEPLOYMENT)


def last_step(records: Mapping[str, StepRecord]) -> str:
    """The step that ends a run well, before its report: what is not promoted is not deployed."""
    if DEPLOYMENT in records:
        return DEPLOYMENT
    registered = records.get(REGISTRATION)
    promoted = registered is not None and registered.facts.get("promoted") is True
    return DEPLOYMENT if promoted and _asked_to_deploy(records) else REGISTRATION


def _asked_to_deploy(records: Mapping[str, StepRecord]) -> bool:
    asked = records.get("preflight")
    return asked is not None and asked.parameters.get("deploy") is True


def state_of(records: Mapping[str, StepRecord], run: RunRecord | None, *, at: datetime) -> RunState:
    """How a run stands at a moment.

    Args:
        records: The steps' own records of this run, by step.
        run: What the run's command says, where there was one.
        at: The present moment.
    """
    if run and run.state is not RunState.RUNNING:
        return run.state
    steps = [record for step, record in records.items() if step != EXIT_HANDLER]
    handler = records.get(EXIT_HANDLER)
    # KFP's Retry does not run the exit handler again: then steps have spoken after it.
    if handler and all(handler.started_at >= record.last_sign for record in steps):
        told = str(handler.parameters.get("state", ""))
        if told in set(RunState):
            return RunState(told)
    states = {record.state for record in steps}
    for ended, state in (
        (StepState.FAILED, RunState.FAILED),
        (StepState.TERMINATED, RunState.TERMINATED),
    ):
        if ended in states:
            return state
    last = records.get(last_step(records))
    if last and last.state in {StepState.DONE, StepState.REUSED}:
        return RunState.SUCCEEDED
    # A command's steps follow each other at once; a cluster's may wait for hours for a node.
    live = steps if run else [r for r in steps if r.state is StepState.RUNNING]
    signs = [record.last_sign for record in live] + ([run.started_at] if run else [])
    if signs and at - max(signs) > DEAD_AFTER:
        return RunState.KILLED
    return RunState.RUNNING
