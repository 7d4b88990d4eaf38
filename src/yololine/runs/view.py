"""A run while it runs: a live table in a terminal, plain lines anywhere else."""

# ruff: noqa: D102 (what a method promises stands once, in View)

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from yololine.runs.facts import fact, result
from yololine.runs.outcome import Run, RunOutcome
from yololine.telemetry.records import STEPS, EpochProgress, StepRecord, StepState, now
from yololine.telemetry.runs import RunState

Records = Mapping[str, StepRecord]

_ENDED = {StepState.DONE, StepState.REUSED, StepState.FAILED, StepState.TERMINATED}
STEP_LOOK = {
    StepState.WAITING: ("·", "dim"),
    StepState.RUNNING: ("●", "cyan"),
    StepState.DONE: ("✓", "green"),
    StepState.REUSED: ("↻", "blue"),
    StepState.FAILED: ("✗", "bold red"),
    StepState.TERMINATED: ("■", "yellow"),
}
RUN_LOOK = {
    RunState.RUNNING: "bold cyan",
    RunState.SUCCEEDED: "bold green",
    RunState.FAILED: "bold red",
    RunState.TERMINATED: "bold yellow",
    RunState.KILLED: "bold red",
}


class View(ABC):
    """Told what happens, in this order: begin, show many times, end.

    Any of them may raise OSError once the terminal is gone.
    """

    def __init__(self, console: Console) -> None:
        self.console = console

    @abstractmethod
    def begin(self, run: Run) -> None:
        """The run is about to start."""

    @abstractmethod
    def show(self, records: Records) -> None:
        """The records as they are now; called several times a second."""

    @abstractmethod
    def say(self, sentence: str) -> None:
        """Something to know meanwhile."""

    def end(self, outcome: RunOutcome) -> None:
        """The run is over."""
        self.console.print(summary(outcome), soft_wrap=True)

    @abstractmethod
    def close(self) -> None:
        """Give the terminal back; may be called at any time, and more than once."""


def choose_view(console: Console) -> View:
    """The live view where the output is a terminal that can move its cursor and print symbols."""
    able = console.is_terminal and not console.is_dumb_terminal
    return (LiveView if able and console.encoding.startswith("utf") else PlainView)(console)


class LiveView(View):
    """A table of all steps that is drawn anew in place, the training's progress below it."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._live = Live(console=console, auto_refresh=False)
        self._clock = EpochClock()
        self._records: Records = {}
        self._said = ""

    def begin(self, run: Run) -> None:
        self._run = run
        self._spinners = {step: Spinner("dots", style="cyan") for step in run.steps}
        self.console.print(_header(run), soft_wrap=True)
        self._live.start()

    def show(self, records: Records) -> None:
        self._records = records
        self._draw(records)

    def say(self, sentence: str) -> None:
        self._said = sentence
        self._draw(self._records)

    def end(self, outcome: RunOutcome) -> None:
        self._said = ""
        self._draw(outcome.records, ended=True)
        self.close()
        super().end(outcome)

    def close(self) -> None:
        self._live.stop()

    def _draw(self, records: Records, *, ended: bool = False) -> None:
        below: list[RenderableType] = []
        for record in records.values():
            if record.progress and record.state is StepState.RUNNING:
                below.append(_training(record.progress, self._clock.left_seconds(record)))
        if self._said:
            below.append(Padding(Text(self._said, "yellow"), (1, 0, 0, 3)))
        # The cursor rests on an empty line, where the terminal may write its ^C.
        below.append(Text())
        # What does not fit is cut at the bottom, so rows make way for the progress; not at the end,
        # when what is printed may scroll.
        room = self.console.height - 3 * len(below)
        steps = self._run.steps if ended else _fitting(self._run.steps, records, max(room, 1))
        self._live.update(Group(self._table(steps, records, ended=ended), *below), refresh=True)

    def _table(self, steps: tuple[str, ...], records: Records, *, ended: bool) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, min_width=1)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, justify="right", min_width=7)
        table.add_column()  # the one that gives way where the terminal is narrow
        for step in steps:
            record = records.get(step)
            state = record.state if record else StepState.WAITING
            symbol, style = STEP_LOOK[state]
            running = state is StepState.RUNNING
            table.add_row(
                self._spinners[step] if running else Text(symbol, style),
                Text(step, "bold" if running else "dim" if not record else ""),
                Text("not run" if ended and not record else state, style),
                duration(record.seconds) if record else "",
                Text(
                    (record and fact(record)) or STEPS[step],
                    "" if record else "dim",
                    no_wrap=True,
                    overflow="ellipsis",
                ),
            )
        return table


class PlainView(View):
    """One line when a step starts or ends, and one for each epoch."""

    def begin(self, run: Run) -> None:
        self._shown: dict[str, StepState] = {}
        self._clock = EpochClock()
        self._epochs: dict[str, int] = {}
        for line in _header(run).plain.splitlines():
            self._line(line)

    def show(self, records: Records) -> None:
        for step, record in records.items():
            before = self._shown.get(step)
            self._shown[step] = record.state
            if before is None and record.state is StepState.RUNNING:
                self._line(f"{step} running")
            if record.progress and record.progress.epoch > self._epochs.get(step, 0):
                self._epochs[step] = record.progress.epoch
                self._line(f"{step} {_epoch(record.progress, self._clock.left_seconds(record))}")
            if record.state in _ENDED and record.state is not before:
                told = fact(record)
                self._line(
                    f"{step} {record.state} in {duration(record.seconds)}"
                    + (f": {told}" if told else "")
                )

    def say(self, sentence: str) -> None:
        self._line(sentence)

    def end(self, outcome: RunOutcome) -> None:
        self.show(outcome.records)
        self.console.print()
        super().end(outcome)

    def close(self) -> None:
        pass

    def _line(self, text: str) -> None:
        # Not wrapped: where there is no terminal, a line is what a log viewer makes of it.
        self.console.print(
            f"{now().astimezone():%H:%M:%S} {text}", markup=False, highlight=False, soft_wrap=True
        )


class EpochClock:
    """How long training takes yet, by the last epoch's length."""

    def __init__(self) -> None:
        self._epoch = 0
        self._since = time.monotonic()

    def left_seconds(self, record: StepRecord) -> float:
        """Seconds to the last epoch's end."""
        progress = record.progress
        if progress is None:
            return 0.0
        if progress.epoch != self._epoch:
            self._epoch, self._since = progress.epoch, time.monotonic()
        left = (progress.epochs - progress.epoch) * progress.seconds
        return max(left - (time.monotonic() - self._since), 0.0)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `1:23`, `1:02:03`."""
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def summary(outcome: RunOutcome) -> Text:
    """What to know at the end; why a run failed is the caller's to say."""
    rows = [("run", f"{outcome.run.run_id} {outcome.state} in {duration(outcome.seconds)}")]
    rows += [
        ("note", f"{step}: {note}")
        for step, record in outcome.records.items()
        for note in record.notes
    ]
    rows += [("note", note) for note in outcome.notes]
    if promotion := outcome.records.get("decide_promotion"):
        reasons = [str(reason) for reason in promotion.facts.get("reasons") or ()]
        if promotion.facts.get("promoted") is False:
            rows += [("note", f"not promoted: {reason}") for reason in reasons]
    model = outcome.records.get("register_model")
    if model and (registered := result(model)):
        judged = (
            result(outcome.records[step])
            for step in ("evaluate_detector", "decide_promotion")
            if step in outcome.records
        )
        rows.append(("model", ", ".join(filter(None, (registered, *judged)))))
        rows.append(("", str(model.facts.get("uri", ""))))
    if (live := outcome.records.get("deploy_model")) and (told := result(live)):
        rows.append(("live", told))
    rows.append(("report", outcome.report))
    rows.append(("logs", str(outcome.run.logs)))
    text = Text()
    for name, value in rows:
        if value:
            text.append(f"{name:7} ", "dim")
            text.append(f"{value}\n", RUN_LOOK[outcome.state] if name == "run" else "")
    text.rstrip()
    return text


def _header(run: Run) -> Text:
    text = Text()
    for name, told in (("run", run.run_id), ("store", run.store_uri), ("logs", str(run.logs))):
        text.append(f"{name:7} ", "dim").append(f"{told}\n", "bold" if name == "run" else "")
    return text


def _training(progress: EpochProgress, left_seconds: float) -> RenderableType:
    bar = Table.grid(padding=(0, 1))
    bar.add_row(
        Text(f"epoch {progress.epoch}/{progress.epochs}", "cyan"),
        ProgressBar(total=progress.epochs, completed=progress.epoch, width=30),
        Text(f"{duration(left_seconds)} left" if progress.epoch < progress.epochs else ""),
    )
    scores = Text(_scores(progress), no_wrap=True, overflow="ellipsis")
    return Padding(Group(bar, scores), (1, 0, 0, 3))


def _epoch(progress: EpochProgress, left_seconds: float) -> str:
    parts = [f"epoch {progress.epoch}/{progress.epochs} in {duration(progress.seconds)}"]
    if scores := _scores(progress):
        parts.append(scores)
    if progress.epoch < progress.epochs:
        parts.append(f"{duration(left_seconds)} left")
    return ", ".join(parts)


def _scores(progress: EpochProgress) -> str:
    losses = {"box": progress.box_loss, "cls": progress.cls_loss, "dfl": progress.dfl_loss}
    told = [f"{name} {value:.3f}" for name, value in losses.items() if value is not None]
    parts = ["loss " + " ".join(told)] if told else []
    if progress.map50 is not None:
        parts.append(f"mAP50 {progress.map50:.3f}")
    if progress.map50_95 is not None:
        parts.append(f"mAP50-95 {progress.map50_95:.3f}")
    return "  ".join(parts)


def _fitting(steps: tuple[str, ...], records: Records, rows: int) -> tuple[str, ...]:
    """As many steps as fit: the last waiting ones go first, then the oldest ended ones."""
    kept = list(steps)
    while len(kept) > rows and kept[-1] not in records:
        kept.pop()
    return tuple(kept[-rows:])
