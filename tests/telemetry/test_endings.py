from __future__ import annotations

import pytest

from tests.telemetry.test_runs import DONE, FAILED, RUN, STOPPED, TRAINING
from yololine.telemetry.endings import continuation_of, end_of, with_ends
from yololine.telemetry.records import StepRecord, StepState
from yololine.telemetry.runs import RunState

UUID = "7c1e4b52-9a53-4f0e-b1f7-5a2f0c9d1e77"


@pytest.mark.parametrize(
    ("records", "state", "step", "words"),
    [
        ([DONE, FAILED], RunState.FAILED, "train_detector", "NaN"),
        ([DONE, TRAINING], RunState.FAILED, "train_detector", "without a word in the journal"),
        ([DONE, TRAINING], RunState.TERMINATED, "train_detector", "was terminated while"),
        ([DONE, TRAINING], RunState.KILLED, "train_detector", "no sign of life"),
        ([DONE], RunState.FAILED, "", "no step left a word"),
        ([DONE], RunState.TERMINATED, "", "while no step ran"),
        ([DONE], RunState.KILLED, "", "killed while no step ran"),
    ],
)
def test_every_end_has_a_place_and_words(
    records: list[StepRecord], state: RunState, step: str, words: str
) -> None:
    ended = with_ends({record.step: record for record in records}, state)
    assert StepState.RUNNING not in {record.state for record in ended.values()}
    at, error = end_of(ended, state)
    assert (at.step if at else "") == step
    assert error
    assert words in error.message


@pytest.mark.parametrize("state", [RunState.RUNNING, RunState.SUCCEEDED])
def test_a_run_that_did_not_end_early_has_neither(state: RunState) -> None:
    assert end_of({"train_detector": STOPPED}, state) == (None, None)
    assert with_ends({"train_detector": TRAINING}, state) == {"train_detector": TRAINING}


def test_a_run_goes_on_as_it_was_started() -> None:
    assert continuation_of("training-1", RUN).command == RUN.command
    assert continuation_of(UUID, None).command.endswith(f"/runs/{UUID}:retry")
    assert "Retry" in continuation_of(UUID, None).advice
    assert continuation_of("yololine-training-2026", None).command == ""


def test_what_is_called_is_what_the_api_of_kfp_offers() -> None:
    """The path is KFP's to change: its own client says where Retry is."""
    import inspect

    from kfp_server_api import RunServiceApi

    source = inspect.getsource(RunServiceApi.run_service_retry_run_with_http_info)
    assert "'/apis/v2beta1/runs/{run_id}:retry', 'POST'" in source
