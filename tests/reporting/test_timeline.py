from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from yololine.reporting.timeline import is_reused, ran_in, timeline
from yololine.telemetry.records import STEPS, StepRecord, StepState

START = datetime(2025, 5, 3, 2, 0, tzinfo=UTC)


def record(step: str, begin: float, end: float | None, **changes: Any) -> StepRecord:
    values: dict[str, Any] = {
        "step": step,
        "run_id": "this",
        "state": StepState.DONE,
        "started_at": START + timedelta(seconds=begin),
        "finished_at": None if end is None else START + timedelta(seconds=end),
    }
    return StepRecord(**{**values, **changes})


def of(*records: StepRecord, running_at: datetime | None = None) -> Any:
    return timeline({r.step: r for r in records}, run_id="this", running_at=running_at)


def test_rows_follow_the_line_and_the_page_leaves_itself_out() -> None:
    line = of(record("train_detector", 0, 10), record("report_run", 11, None))
    # Nobody asked for a deployment.
    left_out = {"deploy_model", "report_run"}
    assert [row.step for row in line.rows] == [step for step in STEPS if step not in left_out]
    assert {row.state for row in line.rows if row.step != "train_detector"} == {StepState.WAITING}
    assert line.working_seconds == 10


def test_bars_lie_where_the_steps_ran() -> None:
    line = of(record("preflight", 0, 10), record("clean_dataset", 25, 100))
    rows = {row.step: row for row in line.rows}
    assert (rows["preflight"].start, rows["preflight"].width) == pytest.approx((0, 0.1))
    assert (rows["clean_dataset"].start, rows["clean_dataset"].width) == pytest.approx((0.25, 0.75))
    assert line.working_seconds == 100
    assert [(tick.at, tick.label) for tick in line.ticks][:2] == [(0, "0"), (0.3, "30\xa0s")]


def test_a_night_between_two_attempts_is_cut_out() -> None:
    line = of(record("preflight", 0, 100), record("clean_dataset", 40_100, 40_200))
    rows = {row.step: row for row in line.rows}
    assert line.working_seconds == 200
    assert line.paused_seconds == 40_000
    assert [pause.label for pause in line.pauses] == ["11\xa0h\xa06\xa0min"]
    assert line.ticks == ()
    assert 0.5 < rows["clean_dataset"].start < 0.6
    assert rows["clean_dataset"].start + rows["clean_dataset"].width == pytest.approx(1)


def test_steps_beside_each_other_are_no_pause() -> None:
    line = of(record("augment_dataset", 0, 4000), record("build_test_set", 0, 10))
    assert line.pauses == ()
    assert line.working_seconds == 4000


@pytest.mark.parametrize(
    ("changes", "reused", "ran"),
    [
        ({}, False, True),
        ({"state": StepState.REUSED}, True, True),
        ({"state": StepState.REUSED, "finished_at": START}, True, False),
        ({"run_id": "another"}, True, False),
    ],
    ids=["made", "found again", "written from the result", "another run's"],
)
def test_what_counts_as_reused(changes: dict[str, Any], reused: bool, ran: bool) -> None:
    told = record("train_detector", 0, 10, **changes)
    assert (is_reused(told, "this"), ran_in(told, "this")) == (reused, ran)


def test_what_was_saved_is_what_the_results_had_taken() -> None:
    line = of(
        record("preflight", 0, 5),
        record("clean_dataset", 6, 7, state=StepState.REUSED, made_in_run="a", made_seconds=60.0),
        record("train_detector", -900, -300, run_id="b"),
    )
    rows = {row.step: row for row in line.rows}
    assert line.saved_seconds == 660
    assert rows["clean_dataset"].reused_from == "a"
    assert rows["train_detector"].reused_from == "b"
    assert not rows["train_detector"].ran
    assert line.working_seconds == 7


def test_a_running_step_grows_with_the_clock_and_a_cut_off_one_has_no_length() -> None:
    going = record("train_detector", 0, None, state=StepState.RUNNING)
    row = {r.step: r for r in of(going, running_at=START + timedelta(seconds=30)).rows}
    assert row["train_detector"].seconds == 30
    ended = record("train_detector", 0, None, state=StepState.TERMINATED)
    row = {r.step: r for r in of(ended).rows}
    assert row["train_detector"].ran
    assert row["train_detector"].seconds is None


@pytest.mark.parametrize("days", [1, 13, 570])
def test_a_long_time_has_few_ticks(days: int) -> None:
    ticks = of(record("train_detector", 0, days * 86400)).ticks
    assert 3 <= len(ticks) <= 7


def test_no_record_at_all() -> None:
    line = of()
    assert line.working_seconds is None
    assert len(line.rows) == len(STEPS) - 2
