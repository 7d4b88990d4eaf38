from __future__ import annotations

import html
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from yololine.errors import StoreUnavailable, TrainerDied
from yololine.frozen import Frozen
from yololine.steps.perform import Made, perform, running
from yololine.steps.report import report_run, report_run_from_journal
from yololine.storage import Store, open_store
from yololine.telemetry.journal import (
    RUN_ID_VARIABLE,
    read_record,
    read_run,
    write_record,
    write_run_record,
)
from yololine.telemetry.records import EpochProgress, ErrorRecord, StepRecord, StepState, now
from yololine.telemetry.results import line_of
from yololine.telemetry.runs import RunRecord, RunState

RUN = "7c1e4b52-9a53-4f0e-b1f7-5a2f0c9d1e77"


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
    with running(name, store_uri=store.uri, beside=out) as step:
        step.takes(dict(upstream), upstream=upstream)
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

    line = line_of(store, read_run(store, "nightly"))
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
    monkeypatch.setenv(RUN_ID_VARIABLE, RUN)
    _leave(store, RUN, "train_detector", StepState.FAILED, "trainer killed by SIGKILL")
    out = tmp_path / "report"
    report_run(str(out), store_uri=store.uri, model_name="sheet", state="FAILED")
    said = _said(out.read_text())
    assert "Failed at step 8 of 12: Train" in said
    assert "trainer killed by SIGKILL" in said
    assert "Press Retry at this run" in said
    assert f"runs/{RUN}:retry" in said
    assert "sheet" in said


def test_a_store_that_is_gone_still_leaves_a_page(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    out = tmp_path / "x" / "y" / "report"
    report_run(str(out), store_uri=str(blocked), model_name="sheet", state="FAILED")
    assert str(blocked) in out.read_text()


def test_a_pod_that_never_started_is_told_without_a_step(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUN_ID_VARIABLE, RUN)
    _leave(store, RUN, "clean_dataset", StepState.DONE)
    out = tmp_path / "report"
    report_run(str(out), store_uri=store.uri, model_name="sheet", state="FAILED")
    said = _said(out.read_text())
    assert "no step left a word" in said
    assert "an image that cannot be pulled" in said


def test_a_report_needs_no_exit_handler(store: Store) -> None:
    _leave(store, "run-1", "train_detector", StepState.RUNNING)
    write_run_record(
        store,
        RunRecord(
            run_id="run-1",
            pipeline="training",
            store_uri=store.uri,
            model_name="sheet",
            command="yololine run training --epochs 5",
            logs="logs",
            host="here",
            started_at=now(),
            state=RunState.TERMINATED,
            finished_at=now(),
        ),
    )
    path = report_run_from_journal(store_uri=store.uri, run_id="run-1")
    said = _said(Path(path).read_text())
    assert "Terminated at step 8 of 12: Train" in said
    assert "the run was terminated while this step ran" in said
    assert "yololine run training --epochs 5" in said


class Cluster:
    """The line's steps as KFP runs them: one run id, an exit handler once, then Retry."""

    def __init__(self, store: Store, folder: Path) -> None:
        """No step has run."""
        self.store = store
        self.folder = folder

    def step(self, name: str, *, mishap: Callable[[], None] | None = None) -> None:
        """Run one to its end, or to that of its mishap."""
        out = str(self.folder / name)

        def make(_: Path) -> Made:
            if mishap:
                mishap()
            return Made(manifest=lambda _: Handed())

        with running(name, store_uri=self.store.uri, beside=out) as step:
            step.takes({"given": name}, upstream={})
            if name == "train_detector":
                step.progress(EpochProgress(epoch=12, epochs=15))
            perform(step, config={}, make=make, manifest_out=out)

    def handler(self, state: str) -> None:
        """The exit handler; KFP's Retry does not run it again."""
        out = str(self.folder / "report")
        report_run(out, store_uri=self.store.uri, model_name="sheet", state=state)

    @property
    def written(self) -> bool:
        """Whether there is a report."""
        return self.store.exists(f"runs/{RUN}/report.html")

    @property
    def said(self) -> str:
        """What the report that a person opens now says."""
        return _said(self.store.read_bytes(f"runs/{RUN}/report.html").decode())


@pytest.fixture
def cluster(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv(RUN_ID_VARIABLE, RUN)
    return Cluster(store, tmp_path)


def _die() -> None:
    raise TrainerDied("trainer", rule="ended with exit code 3", remedy="read its lines")


def _fail() -> None:
    raise ZeroDivisionError("oh dear")


def _be_told_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_a_run_without_trouble_is_reported_by_its_exit_handler(cluster: Cluster) -> None:
    cluster.step("clean_dataset")
    assert not cluster.written
    cluster.step("register_model")
    assert "Succeeded" in cluster.said
    cluster.handler("COMPLETE")
    assert "Succeeded" in cluster.said


def test_a_failure_is_reported_at_once(cluster: Cluster) -> None:
    cluster.step("clean_dataset")
    with pytest.raises(SystemExit):
        cluster.step("train_detector", mishap=_die)
    for _ in range(2):
        assert "Failed at step 8 of 12: Train" in cluster.said
        assert "trainer: ended with exit code 3" in cluster.said
        assert "Training is kept after epoch 12 of 15." in cluster.said
        assert "Cleaning" in cluster.said.split("What is kept")[1].split("Steps")[0]
        cluster.handler("FAILED")


def test_a_retry_that_succeeds_is_a_success_with_a_history(cluster: Cluster) -> None:
    with pytest.raises(SystemExit):
        cluster.step("train_detector", mishap=_die)
    cluster.handler("FAILED")
    assert "Failed at step 8" in cluster.said
    cluster.step("train_detector")
    assert "Running" in cluster.said
    assert "yololine show" in cluster.said
    cluster.step("register_model")
    assert "Succeeded" in cluster.said
    assert "What happened" not in cluster.said
    assert "Training, attempt 1 Failed, begun" in cluster.said
    assert "after epoch 12 of 15" in cluster.said
    assert "trainer: ended with exit code 3" in cluster.said


def test_a_retry_says_that_it_is_under_way(cluster: Cluster) -> None:
    with pytest.raises(SystemExit):
        cluster.step("train_detector", mishap=_die)
    cluster.handler("FAILED")
    seen: list[str] = []
    cluster.step("train_detector", mishap=lambda: seen.append(cluster.said))
    assert "Running" in seen[0]
    assert "Failed at step" not in seen[0]


def test_a_retry_that_fails_later_tells_the_newer_failure(cluster: Cluster) -> None:
    with pytest.raises(SystemExit):
        cluster.step("train_detector", mishap=_die)
    cluster.handler("FAILED")
    cluster.step("train_detector")
    with pytest.raises(ZeroDivisionError):
        cluster.step("evaluate_detector", mishap=_fail)
    assert "Failed at step 10 of 12: Score the exported model" in cluster.said
    assert "ZeroDivisionError: oh dear" in cluster.said
    assert "Failed at step 8" not in cluster.said
    assert "attempt 1 Failed" in cluster.said


def test_a_retry_that_fails_again_keeps_both_errors(cluster: Cluster) -> None:
    with pytest.raises(SystemExit):
        cluster.step("train_detector", mishap=_die)
    cluster.handler("FAILED")
    with pytest.raises(ZeroDivisionError):
        cluster.step("train_detector", mishap=_fail)
    panel = cluster.said.split("What is kept")[0]
    assert "ZeroDivisionError: oh dear" in panel
    assert "trainer: ended with exit code 3" in cluster.said.split("Earlier attempts")[-1]


def test_a_step_that_went_on_beside_a_failing_one_is_told_when_it_is_done(
    cluster: Cluster,
) -> None:
    def fail_beside() -> None:
        with pytest.raises(SystemExit):
            cluster.step("augment_dataset", mishap=_die)
        assert "Failed at step 5" in cluster.said

    cluster.step("build_test_set", mishap=fail_beside)
    assert "Failed at step 5" in cluster.said
    assert "Test set" in cluster.said.split("What is kept")[1].split("Steps")[0]


def test_a_run_that_is_terminated_says_so_before_and_after_the_exit_handler(
    cluster: Cluster,
) -> None:
    with pytest.raises(SystemExit) as ended:
        cluster.step("train_detector", mishap=_be_told_to_stop)
    assert ended.value.code == 143
    for _ in range(2):
        assert "Terminated at step 8 of 12: Train" in cluster.said
        assert "was told to stop (SIGTERM)" in cluster.said
        assert "Training is kept after epoch 12 of 15." in cluster.said
        assert ":retry" in cluster.said
        cluster.handler("RUNNING")  # a backend's word for it


def test_a_pod_that_was_lost_and_repeated_leaves_a_history(cluster: Cluster) -> None:
    _leave(cluster.store, RUN, "train_detector", StepState.RUNNING)
    cluster.step("train_detector")
    cluster.step("register_model")
    assert "Training, attempt 1 Cut off without a word, begun" in cluster.said


def test_a_page_costs_no_step_and_hides_no_error(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: object) -> None:
        raise StoreUnavailable("runs", rule="cannot be written", remedy="wait")

    monkeypatch.setattr("yololine.steps.report.renew_report", refuse)
    with pytest.raises(SystemExit):
        cluster.step("train_detector", mishap=_die)
    cluster.step("register_model")
    told = capsys.readouterr().out
    assert "error: train_detector: trainer: ended with exit code 3" in told
    assert "the run report is as it was: runs: cannot be written" in told
    record = read_record(cluster.store, RUN, "train_detector")
    assert record
    assert record.error
    assert record.error.kind == "TrainerDied"


def test_steps_from_the_cache_are_shown_in_a_failure_too(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(RUN_ID_VARIABLE, "2f6d0a9b-41c8-4e67-8a1d-0b7c3e5f9a10")
    cleaned = _make(store, tmp_path, "clean_dataset", {})
    trained = _make(store, tmp_path, "train_detector", {"clean_dataset": cleaned})
    monkeypatch.setenv(RUN_ID_VARIABLE, RUN)

    def export() -> None:
        out = str(tmp_path / "out")
        with running("export_detector", store_uri=store.uri, beside=out) as step:
            step.takes({"trained": trained}, upstream={"train_detector": trained})
            _die()

    with pytest.raises(SystemExit):
        export()
    said = _said(store.read_bytes(f"runs/{RUN}/report.html").decode())
    assert "Failed at step 9 of 12: Export to ONNX" in said
    assert said.count("Reused from run 2f6d0a9b") == 2
    assert "Training" in said.split("What is kept")[1].split("Steps")[0]


def _said(page: str) -> str:
    """The page's words, with one plain space for every gap."""
    body = page.split("<body>")[1].split("<script>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.mark.parametrize(
    ("path", "trains"),
    [
        (f"/minio/b/v2/artifacts/yololine-deployment/{RUN}/report-run/7/report", False),
        (f"/minio/b/v2/artifacts/yololine-training/{RUN}/report-run/7/report", True),
        (f"/minio/b/v2/artifacts/their-own/{RUN}/report-run/7/report", True),
        ("/home/me/yololine-deployment-2026-11-24-08-00-00-123456/report-run/report", False),
    ],
)
def test_a_run_that_lost_its_first_pod_lists_the_steps_of_its_pipeline(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, trains: bool
) -> None:
    monkeypatch.setenv(RUN_ID_VARIABLE, "")
    out = tmp_path / path.lstrip("/")
    report_run(str(out), store_uri=store.uri, model_name="sheet", state="FAILED")
    page = out.read_text(encoding="utf-8")
    assert "no step left a word" in page
    assert "Put the version live and verify it" in page or trains
    assert ("Decode, pair and check every file" in page) is trains
