from __future__ import annotations

from pathlib import Path

import pytest

from yololine.frozen import Frozen
from yololine.steps.perform import Made, perform, running
from yololine.steps.report import line_of, report_run, report_run_from_journal
from yololine.storage import Store, open_store
from yololine.telemetry.journal import RUN_ID_VARIABLE, write_record
from yololine.telemetry.records import ErrorRecord, StepRecord, StepState, now


class Handed(Frozen):
    """What the steps of these tests hand on."""

    key: str = ""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def _make(
    store: Store,
    tmp_path: Path,
    name: str,
    upstream: dict[str, str],
) -> str:
    out = str(tmp_path / name)
    with running(
        name, store_uri=store.uri, beside=out, inputs=dict(upstream), upstream=upstream
    ) as step:
        return perform(
            step,
            config={},
            make=lambda _: Made(manifest=lambda _: Handed(), facts={"made": name}),
            manifest_out=out,
        ).key


def test_steps_that_kfps_cache_skipped_are_told_by_their_results(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A nightly run on unchanged data executes little, and its report shows the whole line."""
    monkeypatch.setenv(RUN_ID_VARIABLE, "first")
    cleaned = _make(store, tmp_path, "clean_dataset", {})
    split = _make(store, tmp_path, "split_dataset", {"clean_dataset": cleaned})
    trained = _make(store, tmp_path, "train_detector", {"split_dataset": split})
    monkeypatch.setenv(RUN_ID_VARIABLE, "nightly")
    _make(store, tmp_path, "export_detector", {"train_detector": trained})

    line = line_of(store, "nightly")
    assert list(line) == ["clean_dataset", "split_dataset", "train_detector", "export_detector"]
    assert line["export_detector"].state is StepState.DONE
    for name in ("clean_dataset", "split_dataset", "train_detector"):
        assert line[name].state is StepState.REUSED
        assert line[name].made_in_run == "first"
        assert line[name].facts == {"made": name}


def _leave(store: Store, run_id: str, step: str, state: StepState, words: str = "") -> None:
    write_record(
        store,
        StepRecord(
            step=step,
            run_id=run_id,
            state=state,
            started_at=now(),
            error=ErrorRecord(kind="TrainingError", message=words) if words else None,
        ),
    )


@pytest.mark.parametrize(
    ("state", "word"),
    [("COMPLETE", "Succeeded"), ("SUCCEEDED", "Succeeded"), ("FAILED", "Failed"),
     ("RUNNING", "Terminated")],
)  # fmt: skip
def test_every_end_has_its_word(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, state: str, word: str
) -> None:
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-1")
    _leave(store, "run-1", "train_detector", StepState.RUNNING)
    out = tmp_path / "report"
    report_run(str(out), store_uri=store.uri, model_name="sheet", state=state)
    page = out.read_text()
    assert word in page
    assert store.read_bytes("runs/run-1/report.html").decode() == page


def test_a_failures_own_words_are_in_the_report(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-1")
    _leave(store, "run-1", "train_detector", StepState.FAILED, "trainer killed by SIGKILL")
    out = tmp_path / "report"
    report_run(str(out), store_uri=store.uri, model_name="sheet", state="FAILED")
    assert "trainer killed by SIGKILL" in out.read_text()
    assert "Retry this run" in out.read_text()


def test_a_store_that_is_gone_still_leaves_a_page(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    out = tmp_path / "x" / "y" / "report"
    report_run(str(out), store_uri=str(blocked), model_name="sheet", state="FAILED")
    assert str(blocked) in out.read_text()


def test_a_report_needs_no_exit_handler(store: Store) -> None:
    _leave(store, "run-1", "train_detector", StepState.RUNNING)
    path = report_run_from_journal(
        store_uri=store.uri,
        run_id="run-1",
        model_name="sheet",
        state="terminated",
        hint="yololine run training --epochs 5",
    )
    page = Path(path).read_text()
    assert "Terminated" in page
    assert "yololine run training --epochs 5" in page
