"""`yololine show` on real journals: of runs as the steps write them, and of registered versions."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from yololine.errors import RegistryError, UsageError
from yololine.frozen import Frozen
from yololine.registry.versions import crown, register
from yololine.runs.find import find, newest_runs
from yololine.runs.show import ShownRun, ShownVersion, look_up, show
from yololine.steps.perform import Made, perform, running
from yololine.storage import Store, open_store
from yololine.telemetry.journal import RUN_ID_VARIABLE, read_record, write_record
from yololine.telemetry.records import Attempt, EpochProgress, ErrorRecord, StepRecord, StepState

FIRST = "7c1e4b52-9a53-4f0e-b1f7-5a2f0c9d1e77"
SECOND = "7c1e99aa-41c8-4e67-8a1d-0b7c3e5f9a10"
OWN = "training-20250503-020000-c0de"
SCORES = {
    "ap50": 0.764,
    "ap50_95": 0.438,
    "per_class": {
        "划痕": {"ap50": 0.842, "ap50_95": 0.471, "precision": 0.8, "recall": 0.79, "objects": 118},
        "dent": {"ap50": None, "ap50_95": None, "precision": None, "recall": None, "objects": 0},
    },
}
FACTS: dict[str, dict[str, Any]] = {
    "resolve_source": {"files": 2437, "source_uri": "s3://inspection/strip"},
    "clean_dataset": {
        "images": {"kept": 1214, "dropped": 7},
        "boxes": {"kept": 3211, "dropped": 17},
        "objects_per_class": {"划痕": 1184, "dent": 972},
    },
    "split_dataset": {"counts": {"train": {"images": 971}, "test": {"images": 122}}},
    "prepare_weights": {"architecture": "yolo11n", "origin": "from scratch", "sha256": ""},
    "train_detector": {"best_epoch": 47, "epochs": 60},
    "evaluate_detector": SCORES,
    "decide_promotion": {"promoted": False, "reasons": ["ap50 0.764 misses the minimum 0.8"]},
}


class Handed(Frozen):
    """What these steps hand on."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def _run_line(store: Store, run_id: str, *, until: str = "register_model") -> dict[str, str]:
    """Run steps that learn nothing, up to one of them; their results' keys."""
    keys: dict[str, str] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUN_ID_VARIABLE, run_id)
        for step, facts in {"preflight": {}, **FACTS, "register_model": {}}.items():
            if key := _run_step(store, step, facts, keys):
                keys[step] = key
            if step == until:
                break
    return keys


def _run_step(store: Store, step: str, facts: dict[str, Any], keys: dict[str, str]) -> str:
    out = str(Path(store.uri, "out", step))
    parameters = {"model_name": "strip", "data_image": "yololine/data:1"}
    with running(
        step,
        store_uri=store.uri,
        beside=out,
        parameters=parameters if step == "preflight" else {},
        packages=("ultralytics",) if step == "train_detector" else (),
    ) as begun:
        begun.takes(dict(keys), upstream=dict(keys))
        if step in {"preflight", "resolve_source", "register_model"}:
            told = {"name": "strip", "version": "75c9f4012e20"} if step == "register_model" else {}
            begun.update(facts=facts | told, digest="5ca1ab1e" * 8)
            return ""
        made = Made(manifest=lambda _: Handed(), facts=facts)
        return perform(begun, config={}, make=lambda _: made, manifest_out=out).key


def _register(
    store: Store, folder: Path, key: str, *, promoted: bool = True, **lineage: object
) -> None:
    files = {}
    for name in ("model.onnx", "lineage.json", "report.html"):
        files[name] = folder / name
        files[name].write_text(json.dumps(lineage))
    made = register(
        store,
        name="strip",
        key=key,
        promoted=promoted,
        files=files,
        class_names=("划痕", "dent"),
        image_size=640,
        metrics=SCORES,
    )
    if promoted:
        crown(store, made)


def _printed(store: Store, what: str, *, width: int | None = None) -> str:
    file = io.StringIO()
    show(
        look_up(store, what),
        Console(file=file, width=width, force_terminal=width is not None, color_system=None),
    )
    return file.getvalue()


def _has(told: str, begin: str) -> bool:
    """Whether a line begins so, whatever the widths of its columns and the step's seconds."""
    lines = (re.sub(r" \d\.\d s ", " ", " ".join(line.split())) for line in told.splitlines())
    return any(line.startswith(" ".join(begin.split())) for line in lines)


def test_a_run_is_told_with_all_that_made_it(store: Store) -> None:
    keys = _run_line(store, FIRST)
    told = _printed(store, FIRST)
    for line in (
        f"run        {FIRST} succeeded after ",
        "model      strip",
        "✓  clean_dataset      done  1214 images, 7 dropped",
        "data       1214 images kept, 7 dropped; 3211 objects kept, 17 dropped",
        "classes    1184 划痕, 972 dent",
        "split      971 train, 122 test",
        "           划痕   0.842    0.471      0.800   0.790      -      118",
        "           dent       -        -          -       -      -        0",
        "           mean   0.764    0.438",
        "verdict    not promoted",
        "           ap50 0.764 misses the minimum 0.8",
        "version    strip@75c9f4012e20",
        "source     s3://inspection/strip ",
        f"dataset    {keys['clean_dataset']}",
        f"split by   {keys['split_dataset']}",
        "weights    yolo11n, from scratch",
        f"training   {keys['train_detector']}",
        f"trained in {FIRST}",
        "software   ultralytics 8.",
        "images     yololine/data:1",
        f"report     {store.uri}/runs/{FIRST}/report.html",
    ):
        assert _has(told, line), line
    assert "\x1b" not in told
    assert not any(line.endswith(" ") for line in told.splitlines())
    assert "go on" not in told


def test_steps_that_were_not_run_are_told_by_their_results(store: Store) -> None:
    keys = _run_line(store, FIRST)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUN_ID_VARIABLE, SECOND)
        # KFP's cache skips everything but the last step.
        _run_step(store, "register_model", {}, keys)
    told = _printed(store, SECOND)
    assert _has(told, f"↻ train_detector reused best epoch 47 of 60, from {FIRST}, took")
    assert _has(told, "mean 0.764")


def test_a_failure_is_told_with_what_goes_on(store: Store) -> None:
    _run_line(store, FIRST, until="train_detector")
    trained = read_record(store, FIRST, "train_detector")
    assert trained
    words = ErrorRecord(kind="TrainerDied", message="trainer died; wait", remedy="wait")
    earlier = Attempt(attempt=1, state=StepState.FAILED, started_at=trained.started_at, error=words)
    error = ErrorRecord(kind="NotFinite", message="epoch 12: loss is NaN", remedy="lower lr0")
    progress = EpochProgress(epoch=11, epochs=60)
    write_record(
        store,
        trained.model_copy(
            update={
                "state": StepState.FAILED,
                "error": error,
                "progress": progress,
                "attempt": 2,
                "earlier": (earlier,),
            }
        ),
    )
    told = _printed(store, FIRST)
    for line in (
        f"run        {FIRST} failed after ",
        "✗  train_detector   failed  epoch 12: loss is NaN",
        "earlier    train_detector, attempt 1 failed: trainer died; wait",
        "error      train_detector: epoch 12: loss is NaN",
        "remedy     lower lr0",
        "kept       training after epoch 11 of 60",
        "go on      Press Retry",
        f"  curl -X POST http://localhost:8888/apis/v2beta1/runs/{FIRST}:retry",
    ):
        assert _has(told, line), line
    found = look_up(store, FIRST)
    assert isinstance(found, ShownRun)
    assert (found.failed_step, found.error) == ("train_detector", error)


def test_a_silent_step_is_told_as_dead(store: Store) -> None:
    _run_line(store, FIRST, until="train_detector")
    trained = read_record(store, FIRST, "train_detector")
    assert trained
    silent = {
        "state": StepState.RUNNING,
        "finished_at": None,
        "seen_at": trained.started_at - timedelta(hours=1),
    }
    write_record(store, trained.model_copy(update=silent))
    told = _printed(store, FIRST)
    assert f"{FIRST} killed" in told
    assert _has(told, "■ train_detector terminated")
    assert "no sign of life since" in told


def test_a_version_is_told_with_its_lineage(store: Store, tmp_path: Path) -> None:
    keys = _run_line(store, FIRST)
    steps = {step: {"key": key} for step, key in keys.items()}
    _register(store, tmp_path, "ab" * 32, steps=steps, source_uri="s3://inspection/strip")
    _register(store, tmp_path, "cd" * 32, promoted=False)
    for what in ("strip@" + "ab" * 6, "strip/" + "ab" * 6, "strip@aba"):
        told = _printed(store, what)
        for line in (
            f"version    strip@{'ab' * 6} champion",
            f"where      {store.uri}/models/strip/{'ab' * 6}",
            "input      640 px, 2 classes",
            "split      971 train, 122 test",
            "           mean   0.764    0.438",
            "source     s3://inspection/strip",
            f"dataset    {keys['clean_dataset']}",
            "weights    yolo11n, from scratch",
            f"trained in {FIRST}",
            "file       model.onnx ",
            f"report     {store.uri}/models/strip/{'ab' * 6}/report.html",
        ):
            assert _has(told, line), line
        assert "others" not in told
    named = _printed(store, "strip")
    assert f"strip@{'ab' * 6} champion" in named
    assert f"others     {'cd' * 6}" in named
    assert f"strip@{'cd' * 6} not promoted" in _printed(store, "strip@cd")


def test_a_version_whose_results_are_gone_is_told_all_the_same(
    store: Store, tmp_path: Path
) -> None:
    _register(store, tmp_path, "ab" * 32, promoted=False)
    Path(store.uri, "models", "strip", "ab" * 6, "lineage.json").unlink()
    found = look_up(store, "strip")
    assert isinstance(found, ShownVersion)
    assert (found.lineage, found.champion) == ({}, False)
    assert _has(_printed(store, "strip"), "mean 0.764")
    Path(store.uri, "models", "strip", "ab" * 6, "manifest.json").write_text("{}")
    with pytest.raises(RegistryError, match="damaged"):
        look_up(store, "strip@ab")


@pytest.mark.parametrize(
    ("what", "meant"),
    [
        ("latest", SECOND),
        (FIRST, FIRST),
        (FIRST[:8], FIRST),
        ("7c1e9", SECOND),
        (OWN, OWN),
        ("training-2025", OWN),
    ],
)
def test_a_run_is_found_by_the_start_of_its_id(store: Store, what: str, meant: str) -> None:
    for run_id in (OWN, FIRST, SECOND):
        _run_line(store, run_id, until="preflight")
    assert find(store, what).run_id == meant
    assert newest_runs(store, [OWN, FIRST, SECOND], 9) == [SECOND, FIRST, OWN]


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("7c1e", f"7c1e: is the start of 2: {FIRST}, {SECOND}; write more of it"),
        ("trainning-20250503", f"did you mean {OWN}?"),
        ("strap", "did you mean strip?"),
        ("strip@0", f"there are: {'ab' * 6}"),
        ("zz", f"newest runs:\n  {SECOND}  running\n  {FIRST}  running\n  {OWN}  running\nmodels:"),
        ("", "is no run and no model"),
        ("..", "is no run and no model"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(
    store: Store, tmp_path: Path, what: str, told: str
) -> None:
    for run_id in (OWN, FIRST, SECOND):
        _run_line(store, run_id, until="preflight")
    _register(store, tmp_path, "ab" * 32)
    with pytest.raises(UsageError) as refused:
        find(store, what)
    assert told in str(refused.value)


@pytest.mark.parametrize("what", ["latest", "strip"])
def test_an_empty_store_says_what_to_do(store: Store, what: str) -> None:
    with pytest.raises(UsageError, match="holds no run and no model; name the store with --store"):
        find(store, what)


@pytest.mark.parametrize("width", [60, 100])
def test_in_a_terminal_no_row_of_a_table_is_broken(store: Store, width: int) -> None:
    _run_line(store, FIRST)
    told = _printed(store, FIRST, width=width)
    rows = [line for line in told.splitlines() if line.startswith("✓")]
    assert len(rows) == len(FACTS) + 2
    assert all(len(row) <= width for row in rows)


def _command(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if name != "YOLOLINE_STORE"}
    return subprocess.run(
        [sys.executable, "-m", "yololine", "show", *argv],
        cwd=cwd,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where `yololine show` finds a run in the store that it takes by itself."""
    store = open_store(str(tmp_path / "yololine-store"))
    _run_line(store, OWN)
    return tmp_path


def test_the_command_tells_the_newest_run(folder: Path) -> None:
    done = _command(cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"run        {OWN} succeeded" in done.stdout


def test_the_command_tells_programs_all_of_it(folder: Path) -> None:
    done = _command("latest", "--json", cwd=folder)
    told = json.loads(done.stdout)
    assert (told["kind"], told["state"], told["run_id"]) == ("run", "succeeded", OWN)
    assert told["steps"]["evaluate_detector"]["facts"]["ap50"] == 0.764
    StepRecord.model_validate(told["steps"]["train_detector"])


def test_the_command_refuses_in_words(folder: Path) -> None:
    done = _command("--store-uri", "elsewhere", cwd=folder)
    assert done.returncode == 2
    assert done.stderr.startswith("error: latest: is not there: ")
    assert "Traceback" not in done.stderr
    assert not (folder / "elsewhere").exists()


def test_showing_needs_neither_pipelines_nor_pages(folder: Path) -> None:
    """It works where only the light package is installed."""
    program = f"""
import sys
heavy = {{"kfp", "numpy", "PIL", "jinja2", "torch", "pyarrow"}}
for name in heavy:
    sys.modules[name] = None
sys.argv[1:] = ["show", {OWN!r}]
from yololine.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout


def test_a_model_tells_what_is_live_where(store: Store, tmp_path: Path) -> None:
    from yololine.registry.deployments import Deployed, keep_deployed

    _register(store, tmp_path, "a" * 64)
    _register(store, tmp_path, "b" * 64)
    at = datetime(2025, 5, 3, 2, 0, tzinfo=UTC)
    live = Deployed(
        name="strip",
        namespace="vision",
        service="strip",
        version="a" * 12,
        url="http://strip.vision",
        at=at,
    )
    keep_deployed(store, live)
    trouble = {
        "version": "",
        "url": "",
        "at": None,
        "trouble": "does not come up",
        "trouble_at": at,
    }
    keep_deployed(store, live.model_copy(update={"service": "lab", **trouble}))
    told = _printed(store, "strip")
    assert f"live       strip in vision: version {'a' * 12}, since 2025-05-0" in told
    assert "http://strip.vision" in told
    assert "trouble    lab in vision, 2025-05-0" in told
    assert "does not come up" in told
    assert "live " in _printed(store, f"strip@{'a' * 12}")
    assert "live " not in _printed(store, f"strip@{'b' * 12}")
    shown = look_up(store, "strip")
    assert isinstance(shown, ShownVersion)
    assert [one.service for one in shown.deployed] == ["lab", "strip"]
