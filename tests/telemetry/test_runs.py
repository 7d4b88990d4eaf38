from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from yololine.telemetry.records import STEPS, ErrorRecord, StepRecord, StepState
from yololine.telemetry.runs import DEAD_AFTER, RunRecord, RunState, state_of, steps_of

BEGAN = datetime(2025, 5, 3, 2, 0, tzinfo=UTC)
RUN = RunRecord(
    run_id="run",
    pipeline="training",
    store_uri="/store",
    model_name="sheet",
    command="yololine run training",
    logs="/store/runs/run/logs",
    host="here",
    started_at=BEGAN,
)


def _record(
    step: str, state: StepState, seconds: float, until: float | None = None, **known: object
) -> StepRecord:
    at = BEGAN + timedelta(seconds=seconds)
    end = None if until is None else BEGAN + timedelta(seconds=until)
    values = {"seen_at": at, "finished_at": end, "parameters": {}} | known
    return StepRecord.model_validate(
        {"step": step, "run_id": "run", "state": state, "started_at": at} | values
    )


DONE = _record("preflight", StepState.DONE, 0, 2)
TRAINING = _record("train_detector", StepState.RUNNING, 10)
FAILED = _record(
    "train_detector", StepState.FAILED, 10, 60, error=ErrorRecord(kind="NotFinite", message="NaN")
)
STOPPED = _record("train_detector", StepState.TERMINATED, 10, 60)
REGISTERED = _record("register_model", StepState.DONE, 100, 101)
ASKED = _record("preflight", StepState.DONE, 0, 2, parameters={"deploy": True})
PROMOTED = REGISTERED.model_copy(update={"facts": {"promoted": True}})
HELD = REGISTERED.model_copy(update={"facts": {"promoted": False}})
DEPLOYING = _record("deploy_model", StepState.RUNNING, 105)
LIVE = _record("deploy_model", StepState.DONE, 105, 109)
BROKEN = _record(
    "deploy_model", StepState.FAILED, 105, 109, error=ErrorRecord(kind="X", message="no")
)
SAID_FAILED = _record("report_run", StepState.DONE, 70, 71, parameters={"state": "failed"})
SAID_TERMINATED = _record("report_run", StepState.DONE, 70, 71, parameters={"state": "terminated"})
SAID_NOTHING = _record("report_run", StepState.RUNNING, 70)


@pytest.mark.parametrize(
    ("records", "state"),
    [
        ([], RunState.RUNNING),
        ([DONE], RunState.RUNNING),
        ([DONE, TRAINING], RunState.RUNNING),
        ([DONE, FAILED], RunState.FAILED),
        ([DONE, STOPPED], RunState.TERMINATED),
        ([DONE, FAILED, SAID_FAILED], RunState.FAILED),
        # The exit handler knows of a pod that could not be started; no step does.
        ([DONE, SAID_FAILED], RunState.FAILED),
        ([DONE, TRAINING, SAID_TERMINATED], RunState.TERMINATED),
        ([DONE, SAID_NOTHING], RunState.RUNNING),
        # Retried: what was said before is history.
        (
            [DONE, _record("train_detector", StepState.RUNNING, 90), SAID_FAILED],
            RunState.RUNNING,
        ),
        ([DONE, REGISTERED, SAID_FAILED], RunState.SUCCEEDED),
        ([DONE, _record("train_detector", StepState.FAILED, 90, 95), SAID_FAILED], RunState.FAILED),
        ([DONE, REGISTERED], RunState.SUCCEEDED),
        ([DONE, REGISTERED.model_copy(update={"state": StepState.REUSED})], RunState.SUCCEEDED),
        # Where a promoted version goes live, that ends the run.
        ([ASKED, PROMOTED], RunState.RUNNING),
        ([ASKED, HELD], RunState.SUCCEEDED),
        ([ASKED, PROMOTED, DEPLOYING], RunState.RUNNING),
        ([ASKED, PROMOTED, LIVE], RunState.SUCCEEDED),
        ([ASKED, PROMOTED, BROKEN], RunState.FAILED),
        ([DEPLOYING], RunState.RUNNING),
        ([LIVE], RunState.SUCCEEDED),
        ([BROKEN], RunState.FAILED),
    ],
)
def test_how_a_run_stands_is_read_from_its_steps(
    records: list[StepRecord], state: RunState
) -> None:
    at = BEGAN + timedelta(seconds=110)
    assert state_of({record.step: record for record in records}, None, at=at) is state


def test_the_commands_last_word_is_the_last_word() -> None:
    ended = RUN.model_copy(update={"state": RunState.KILLED})
    assert state_of({"train_detector": TRAINING}, ended, at=BEGAN) is RunState.KILLED


@pytest.mark.parametrize("silence", [DEAD_AFTER / 2, DEAD_AFTER * 2])
@pytest.mark.parametrize("run", [None, RUN], ids=["cluster", "command"])
def test_a_step_that_fell_silent_is_dead(silence: timedelta, run: RunRecord | None) -> None:
    beaten = TRAINING.model_copy(update={"seen_at": BEGAN + timedelta(hours=3)})
    state = state_of({"train_detector": beaten}, run, at=BEGAN + timedelta(hours=3) + silence)
    assert state is (RunState.KILLED if silence > DEAD_AFTER else RunState.RUNNING)


@pytest.mark.parametrize(
    ("run", "state"), [(None, RunState.RUNNING), (RUN, RunState.KILLED)], ids=["cluster", "command"]
)
def test_only_a_cluster_waits_for_hours_between_steps(
    run: RunRecord | None, state: RunState
) -> None:
    assert state_of({"preflight": DONE}, run, at=BEGAN + timedelta(hours=5)) is state


@pytest.mark.parametrize(
    ("records", "steps"),
    [
        ([], set(STEPS) - {"deploy_model"}),
        ([DONE, REGISTERED], set(STEPS) - {"deploy_model"}),
        ([ASKED], set(STEPS)),
        # In a pipeline of one's own there may be no preflight.
        ([REGISTERED, LIVE], set(STEPS)),
        ([LIVE], {"deploy_model", "report_run"}),
        ([LIVE, SAID_NOTHING], {"deploy_model", "report_run"}),
    ],
)
def test_a_run_has_the_steps_that_were_asked_for(
    records: list[StepRecord], steps: set[str]
) -> None:
    found = steps_of({record.step: record for record in records})
    assert list(found) == [step for step in STEPS if step in steps]
