"""What is done for runs that were killed, by the scratch folders that they left."""

from __future__ import annotations

from pathlib import Path

import pytest

from yololine.runs.killed import LOCK, SCRATCH_PREFIX, SCRATCH_RECORD, end_killed_runs
from yololine.storage import Store, open_store
from yololine.telemetry.journal import (
    read_record,
    read_run_record,
    write_record,
    write_run_record,
)
from yololine.telemetry.orphans import held_run_lock
from yololine.telemetry.records import StepRecord, StepState, now
from yololine.telemetry.runs import RunRecord, RunState


@pytest.fixture(autouse=True)
def tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of this test's own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


def _begun(store_uri: str) -> RunRecord:
    return RunRecord(
        run_id="training-1",
        pipeline="training",
        store_uri=store_uri,
        model_name="sheet",
        command="yololine run training",
        logs="logs",
        host="here",
        started_at=now(),
    )


def _scratch(tmp: Path, told: str) -> Path:
    """What a killed command leaves: a lock that nobody holds, and its record beside it."""
    folder = tmp / f"{SCRATCH_PREFIX}abc"
    folder.mkdir()
    (folder / LOCK).touch()
    if told:
        (folder / SCRATCH_RECORD).write_text(told)
    return folder


def _training(store: Store) -> None:
    write_record(
        store,
        StepRecord(
            step="train_detector",
            run_id="training-1",
            state=StepState.RUNNING,
            started_at=now(),
            seen_at=now(),
        ),
    )


def test_its_journal_ends_where_it_was_seen_last(tmp: Path, store: Store) -> None:
    run = _begun(store.uri)
    _training(store)
    write_run_record(store, run)
    folder = _scratch(tmp, run.model_dump_json())
    end_killed_runs()
    assert not folder.exists()
    record, ended = (
        read_record(store, "training-1", "train_detector"),
        read_run_record(store, "training-1"),
    )
    assert record
    assert record.state is StepState.TERMINATED
    assert record.finished_at == record.seen_at
    assert ended
    assert (ended.state, ended.finished_at) == (RunState.KILLED, record.finished_at)
    page = store.read_bytes("runs/training-1/report.html").decode()
    assert "Killed at step 8 of 12" in page


def test_one_that_had_come_to_its_end_keeps_it(tmp: Path, store: Store) -> None:
    run = _begun(store.uri)
    done = run.model_copy(update={"state": RunState.SUCCEEDED, "finished_at": now()})
    write_run_record(store, done)
    _scratch(tmp, run.model_dump_json())
    end_killed_runs()
    assert read_run_record(store, "training-1") == done
    assert b"Succeeded" in store.read_bytes("runs/training-1/report.html")


def test_one_that_lives_is_left_alone(tmp: Path, store: Store) -> None:
    run = _begun(store.uri)
    _training(store)
    folder = _scratch(tmp, run.model_dump_json())
    with held_run_lock(folder / LOCK):
        end_killed_runs()
        assert folder.exists()
    record = read_record(store, "training-1", "train_detector")
    assert record
    assert record.state is StepState.RUNNING


@pytest.mark.parametrize("told", ["", "{}", "no JSON"], ids=["none", "empty", "torn"])
def test_a_folder_without_a_record_goes_all_the_same(tmp: Path, told: str) -> None:
    folder = _scratch(tmp, told)
    end_killed_runs()
    assert not folder.exists()


def test_a_store_that_is_gone_is_nobodys_trouble(tmp: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    folder = _scratch(tmp, _begun(str(blocked)).model_dump_json())
    end_killed_runs()
    assert not folder.exists()
