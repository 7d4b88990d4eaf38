"""Which steps ran, when, and for how long: the rows of the report's timeline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from yololine.reporting.words import duration
from yololine.telemetry.records import STEPS, StepRecord, StepState
from yololine.telemetry.runs import steps_of

_PAUSE_SECONDS = 300.0
"""A longer stretch in which no step ran is cut short: a run retried the next morning would
otherwise be a page of nothing with slivers at both ends."""
_TICK_SECONDS = (
    *(1, 2, 5, 10, 15, 30),
    *(60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400, 172800),
)
_MOST_TICKS = 6


@dataclass(frozen=True, kw_only=True)
class Row:
    """One step. `start` and `width` are fractions of the time axis.

    `seconds` is None where the step did not run here, or was cut off without a word.
    """

    step: str
    title: str
    state: StepState
    start: float
    width: float
    ran: bool
    seconds: float | None
    reused_from: str
    made_seconds: float | None
    attempt: int


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A place on the time axis and its label."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Timeline:
    """The rows in the order of the line, and the axis they share.

    `working_seconds` is the run's time without its pauses, `paused_seconds` the pauses.
    """

    rows: tuple[Row, ...]
    ticks: tuple[Mark, ...]
    pauses: tuple[Mark, ...]
    working_seconds: float | None
    paused_seconds: float
    saved_seconds: float
    """What the reused results took to make when they were made."""


def is_reused(record: StepRecord, run_id: str) -> bool:
    """Whether the step's result was there already.

    A record of another run stands for a step that the pipeline's cache skipped altogether.
    """
    return record.state is StepState.REUSED or record.run_id != run_id


def ran_in(record: StepRecord, run_id: str) -> bool:
    """Whether the record's times are times of this run.

    They are not where the pipeline's cache skipped the step: its record then is the earlier run's,
    or was written from the result, with the moment it was made as start and end.
    """
    written_from_result = (
        record.state is StepState.REUSED and record.finished_at == record.started_at
    )
    return record.run_id == run_id and not written_from_result


def timeline(
    records: Mapping[str, StepRecord],
    *,
    run_id: str,
    running_at: datetime | None,
    pipeline: str = "",
) -> Timeline:
    """The timeline of a run.

    Args:
        records: By step; one of another run counts as reused.
        run_id: Of this run.
        running_at: The present moment in a run that goes on, None in one that has ended.
        pipeline: Which one it is a run of, where that is known.
    """
    own = {
        step: (record.started_at, record.finished_at or running_at or record.started_at)
        for step, record in records.items()
        if ran_in(record, run_id) and (step != "report_run" or record.finished_at)
    }
    axis = _Axis(sorted(own.values()))
    steps = [
        *steps_of(records, pipeline=pipeline),
        *(step for step in records if step not in STEPS),
    ]
    rows = tuple(
        _row(step, records.get(step), own.get(step), axis, run_id)
        for step in steps
        # The page cannot say of its own writing how it went.
        if step != "report_run" or (step in records and records[step].finished_at)
    )
    return Timeline(
        rows=rows,
        ticks=() if axis.pauses else axis.ticks(),
        pauses=axis.pauses,
        working_seconds=axis.length if own else None,
        paused_seconds=axis.paused_seconds,
        saved_seconds=sum(row.made_seconds or 0.0 for row in rows if row.reused_from),
    )


def _row(
    step: str,
    record: StepRecord | None,
    span: tuple[datetime, datetime] | None,
    axis: _Axis,
    run_id: str,
) -> Row:
    title = STEPS.get(step, step)
    if record is None:
        return Row(
            step=step,
            title=title,
            state=StepState.WAITING,
            start=0.0,
            width=0.0,
            ran=False,
            seconds=None,
            reused_from="",
            made_seconds=None,
            attempt=1,
        )
    reused = is_reused(record, run_id)
    known_end = record.finished_at or record.state is StepState.RUNNING
    made_there = (record.finished_at or record.started_at) - record.started_at
    start = axis.fraction(span[0]) if span else 0.0
    return Row(
        step=step,
        title=title,
        state=StepState.REUSED if reused else record.state,
        start=start,
        width=axis.fraction(span[1]) - start if span else 0.0,
        ran=span is not None,
        seconds=(span[1] - span[0]).total_seconds() if span and known_end else None,
        reused_from=(record.made_in_run or record.run_id) if reused else "",
        made_seconds=record.made_seconds
        if record.made_seconds is not None or span
        else made_there.total_seconds(),
        attempt=record.attempt,
    )


class _Axis:
    """Maps moments to fractions of an axis from which long pauses are cut."""

    def __init__(self, spans: list[tuple[datetime, datetime]]) -> None:
        self._spans: list[tuple[datetime, datetime]] = []
        for begin, end in spans:
            if self._spans and (begin - self._spans[-1][1]).total_seconds() <= _PAUSE_SECONDS:
                self._spans[-1] = (self._spans[-1][0], max(end, self._spans[-1][1]))
            else:
                self._spans.append((begin, end))
        self.length = sum((end - begin).total_seconds() for begin, end in self._spans)
        self._gap = 0.04 * self.length
        self._shown = (self.length + self._gap * max(len(self._spans) - 1, 0)) or 1.0
        self.pauses = tuple(
            Mark(
                at=self.fraction(before[1]) + self._gap / 2 / self._shown,
                label=duration((after[0] - before[1]).total_seconds()),
            )
            for before, after in pairwise(self._spans)
        )
        self.paused_seconds = (
            (self._spans[-1][1] - self._spans[0][0]).total_seconds() - self.length
            if self._spans
            else 0.0
        )

    def fraction(self, moment: datetime) -> float:
        """Where the moment lies, 0 at the start, 1 at the end."""
        passed = 0.0
        for begin, end in self._spans:
            if moment <= end:
                return (passed + max((moment - begin).total_seconds(), 0.0)) / self._shown
            passed += (end - begin).total_seconds() + self._gap
        return 1.0

    def ticks(self) -> tuple[Mark, ...]:
        """Evenly spaced, at round times since the start."""
        days = math.ceil(self.length / _MOST_TICKS / 86400)
        step = next(
            (step for step in _TICK_SECONDS if self.length / step <= _MOST_TICKS), days * 86400
        )
        return tuple(
            Mark(at=passed / self._shown, label=duration(passed) if passed else "0")
            for passed in range(0, int(self.length) + 1, step)
            # A label at the very end would leave the page.
            if passed / self._shown < 0.96
        )
