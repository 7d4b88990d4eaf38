from __future__ import annotations

import io
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from yololine.runs.outcome import Run, RunOutcome, RunState
from yololine.runs.view import LiveView, PlainView, View, choose_view, duration, summary
from yololine.telemetry.records import (
    STEPS,
    EpochProgress,
    ErrorRecord,
    StepRecord,
    StepState,
    now,
)

RUN = Run(
    run_id="training-1",
    pipeline="training",
    steps=tuple(STEPS),
    store_uri="/store",
    folder=Path("/store/runs/training-1"),
    command="yololine run training",
)
TRAINING = EpochProgress(
    epoch=3, epochs=10, box_loss=1.25, cls_loss=0.5, dfl_loss=1.0, map50=0.5123, seconds=60.0
)


def _record(step: str, state: StepState, **known: Any) -> StepRecord:
    started_at = now() - timedelta(seconds=83)
    ended = state not in {StepState.RUNNING, StepState.WAITING}
    return StepRecord(
        step=step,
        run_id="training-1",
        state=state,
        started_at=started_at,
        finished_at=started_at + timedelta(seconds=2) if ended else None,
        **known,
    )


def _outcome(state: RunState, **records: StepRecord) -> RunOutcome:
    return RunOutcome(
        run=RUN,
        state=state,
        exit_code=0,
        seconds=3723,
        records=records,
        failure=None,
        report="/store/runs/training-1/report.html",
    )


def _console(*, width: int = 100, height: int = 40, terminal: bool = True) -> Console:
    return Console(
        file=io.TextIOWrapper(io.BytesIO(), encoding="utf-8"),
        force_terminal=terminal,
        width=width,
        height=height,
        color_system=None,
        _environ={"TERM": "xterm"},
    )


def _shown(view: View) -> str:
    view.console.file.flush()
    data: bytes = view.console.file.buffer.getvalue()  # type: ignore[attr-defined]
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", data.decode())


def _last_frame(view: View, records: dict[str, StepRecord]) -> list[str]:
    view.begin(RUN)
    before = len(_shown(view))
    view.show(records)
    frame = _shown(view)[before:].replace("\r", "\n").split("\n")
    view.close()
    return [line.rstrip() for line in frame if line.strip()]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1:00"),
        (83, "1:23"),
        (3599.6, "1:00:00"),
        (3723, "1:02:03"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_terminal_shows_every_step_and_the_training_below() -> None:
    records = {
        "resolve_source": _record("resolve_source", StepState.DONE, facts={"files": 12}),
        "clean_dataset": _record("clean_dataset", StepState.REUSED, made_in_run="training-0"),
        "train_detector": _record("train_detector", StepState.RUNNING, progress=TRAINING),
    }
    frame = "\n".join(_last_frame(LiveView(_console()), records))
    assert re.search(r"^✓ +resolve_source +done +2\.0 s +12 files$", frame, re.MULTILINE)
    assert re.search(r"^↻ +clean_dataset +reused +2\.0 s +from training-0$", frame, re.MULTILINE)
    assert re.search(r"^\S +train_detector +running +1:23 +Train$", frame, re.MULTILINE)
    assert re.search(r"^· +export_detector +waiting +Export to ONNX$", frame, re.MULTILINE)
    assert re.search(r"^ +epoch 3/10 ━+ +[67]:\d\d left$", frame, re.MULTILINE)
    assert re.search(
        r"^ +loss box 1\.250 cls 0\.500 dfl 1\.000  mAP50 0\.512$", frame, re.MULTILINE
    )


@pytest.mark.parametrize("height", [8, 10, 15, 24])
def test_a_low_terminal_keeps_what_runs_and_the_training(height: int) -> None:
    ended = {
        step: _record(step, StepState.DONE)
        for step in list(STEPS)[: list(STEPS).index("train_detector")]
    }
    training = {"train_detector": _record("train_detector", StepState.RUNNING, progress=TRAINING)}
    frame = _last_frame(LiveView(_console(height=height)), ended | training)
    assert len(frame) <= height
    assert any("train_detector" in line for line in frame)
    assert "mAP50 0.512" in frame[-1]


def test_a_narrow_terminal_cuts_facts_and_nothing_else() -> None:
    failed = _record(
        "train_detector",
        StepState.FAILED,
        error=ErrorRecord(kind="NotFinite", message="loss " * 50),
    )
    frame = _last_frame(LiveView(_console(width=60)), {"train_detector": failed})
    row = next(line for line in frame if "train_detector" in line)
    assert re.match(r"✗  train_detector     failed     2\.0 s  loss loss .*…$", row)
    assert len(row) <= 60


def test_without_a_terminal_each_change_is_a_line() -> None:
    view = PlainView(_console(terminal=False))
    view.begin(RUN)
    running = _record("train_detector", StepState.RUNNING)
    view.show({})
    view.show({"train_detector": running})
    view.show({"train_detector": running})
    progress = TRAINING.model_copy(update={"dfl_loss": None, "map50": None})
    trained = running.model_copy(update={"progress": progress})
    view.show({"train_detector": trained})
    view.show({"train_detector": trained})
    view.say("Stopping.")
    view.end(
        _outcome(
            RunState.TERMINATED,
            train_detector=trained.model_copy(
                update={
                    "state": StepState.TERMINATED,
                    "finished_at": running.started_at + timedelta(seconds=90),
                }
            ),
        )
    )
    lines = [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in _shown(view).splitlines()]
    assert lines == [
        "run     training-1",
        "store   /store",
        "logs    /store/runs/training-1/logs",
        "train_detector running",
        "train_detector epoch 3/10 in 1:00, loss box 1.250 cls 0.500, 7:00 left",
        "Stopping.",
        "train_detector terminated in 1:30: after epoch 3 of 10",
        "",
        "run     training-1 terminated in 1:02:03",
        "report  /store/runs/training-1/report.html",
        "logs    /store/runs/training-1/logs",
    ]


@pytest.mark.parametrize(
    ("terminal", "environ", "encoding", "chosen"),
    [
        (True, {"TERM": "xterm"}, "utf-8", LiveView),
        (True, {"TERM": "dumb"}, "utf-8", PlainView),
        (True, {"TERM": "xterm"}, "ascii", PlainView),
        (False, {"TERM": "xterm"}, "utf-8", PlainView),
    ],
)
def test_the_view_is_chosen_by_what_the_output_can_do(
    terminal: bool, environ: dict[str, str], encoding: str, chosen: type[View]
) -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    console = Console(file=file, force_terminal=terminal, _environ=environ)
    assert type(choose_view(console)) is chosen


def test_the_summary_names_model_score_and_decision() -> None:
    text = summary(
        _outcome(
            RunState.SUCCEEDED,
            clean_dataset=_record("clean_dataset", StepState.DONE, notes=("2 images look alike",)),
            evaluate_detector=_record("evaluate_detector", StepState.DONE, facts={"ap50": 0.4321}),
            decide_promotion=_record(
                "decide_promotion",
                StepState.DONE,
                facts={"promoted": False, "reasons": ["ap50 0.432 is below 0.5"]},
            ),
            register_model=_record(
                "register_model",
                StepState.DONE,
                facts={"name": "steel", "version": "3f9a", "uri": "/store/models/steel/3f9a"},
            ),
        )
    ).plain
    assert text.splitlines() == [
        "run     training-1 succeeded in 1:02:03",
        "note    clean_dataset: 2 images look alike",
        "note    not promoted: ap50 0.432 is below 0.5",
        "model   steel 3f9a, AP50 0.432, not promoted",
        "        /store/models/steel/3f9a",
        "report  /store/runs/training-1/report.html",
        "logs    /store/runs/training-1/logs",
    ]
