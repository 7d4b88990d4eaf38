from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yololine.errors import DatasetError
from yololine.frozen import Frozen
from yololine.steps.perform import (
    Made,
    find_result,
    perform,
    read_manifest,
    run_id_of,
    running,
)
from yololine.storage import FileRef, Store, open_store
from yololine.telemetry.journal import RUN_ID_VARIABLE, read_record
from yololine.telemetry.records import StepRecord, StepState
from yololine.telemetry.results import Result

STEP = "split_dataset"
RUN = "8f14e45f-ceea-467f-a1f8-0d1c2e3a4b5c"
TASK = "0cc175b9-c0f1-46b6-a831-c399e2697726"


class Note(Frozen):
    """What the step of these tests hands on."""

    key: str = ""
    file: FileRef


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path / "store"))


@pytest.fixture(autouse=True)
def run_id(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-1")
    return "run-1"


def _write(text: str, calls: list[str]) -> Callable[[Path], Made]:
    def make(scratch: Path) -> Made:
        calls.append(text)
        file = scratch / "note.txt"
        file.write_text(text)
        return Made(
            manifest=lambda files: Note(file=files["note.txt"]),
            digest="d",
            facts={"text": text},
            files={"note.txt": file},
            exhibits={"a picture": b"\xff\xd8"},
        )

    return make


def _run(
    store: Store, tmp_path: Path, calls: list[str], text: str = "hello", **config: Any
) -> Result:
    out = tmp_path / "outputs" / "manifest"
    with running(STEP, store_uri=store.uri, beside=str(out)) as step:
        step.takes({"a": "1"}, upstream={})
        return perform(
            step,
            config=config,
            make=_write(text, calls),
            manifest_out=str(out),
            page_out=str(tmp_path / "outputs" / "page"),
        )


def _record(store: Store, run_id: str = "run-1") -> StepRecord:
    record = read_record(store, run_id, STEP)
    assert record
    return record


def test_a_result_is_made_once(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    first = _run(store, tmp_path, calls)
    assert _record(store).state is StepState.DONE
    monkeypatch.setenv(RUN_ID_VARIABLE, "run-2")
    assert _run(store, tmp_path, calls) == first
    again = _record(store, "run-2")
    assert calls == ["hello"]
    assert (again.state, again.made_in_run) == (StepState.REUSED, "run-1")
    assert again.facts == {"text": "hello"}
    assert again.exhibits == _record(store).exhibits
    assert read_manifest(str(tmp_path / "outputs" / "manifest"), Note).key == first.key
    assert "<html" in (tmp_path / "outputs" / "page").read_text()


def test_another_configuration_is_made(store: Store, tmp_path: Path) -> None:
    calls: list[str] = []
    _run(store, tmp_path, calls, seed=1)
    _run(store, tmp_path, calls, seed=2)
    assert len(calls) == 2
    assert _record(store).attempt == 2


@pytest.mark.parametrize("damage", ["flipped", "short", "gone", "no manifest", "torn manifest"])
def test_a_result_that_does_not_verify_is_made_again(
    store: Store, tmp_path: Path, damage: str
) -> None:
    calls: list[str] = []
    result = _run(store, tmp_path, calls)
    file = Path(store.uri, result.files["note.txt"].path)
    manifest = file.with_name("manifest.json")
    if damage == "flipped":
        file.write_text("jello")
    elif damage == "short":
        file.write_text("hell")
    elif damage == "gone":
        file.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    else:
        manifest.write_bytes(manifest.read_bytes()[:100])
    assert find_result(store, STEP, result.key) is None
    _run(store, tmp_path, calls)
    assert calls == ["hello", "hello"]
    assert find_result(store, STEP, result.key)


def test_a_refusal_is_words_in_record_and_log(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(SystemExit) as ended,
        running(STEP, store_uri=store.uri, beside=str(tmp_path / "out"), parameters={"seed": 7}),
    ):
        raise DatasetError("3 images", rule="are too few", remedy="give more")
    assert ended.value.code == 1
    record = _record(store)
    assert record.state is StepState.FAILED
    assert record.parameters == {"seed": 7}
    assert record.error
    assert record.error.message == "3 images: are too few; give more"
    assert record.error.message in capsys.readouterr().out


def test_a_full_disk_is_told_in_words(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (
        pytest.raises(SystemExit),
        running(STEP, store_uri=store.uri, beside=str(tmp_path / "out")),
        open("/dev/full", "wb", buffering=0) as disk,  # noqa: PTH123 - a device, not a path
    ):
        disk.write(b"x")
    error = _record(store).error
    assert error
    assert error.kind == "StoreRefused"
    assert "the disk for temporary files is full; free space there, or set TMPDIR" in error.message
    assert error.message in capsys.readouterr().out


def test_an_error_of_our_own_keeps_its_traceback(store: Store, tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        running(STEP, store_uri=store.uri, beside=str(tmp_path / "out")),
    ):
        raise ZeroDivisionError("oh")
    record = _record(store)
    assert record.state is StepState.FAILED
    assert record.error
    assert record.error.message == "ZeroDivisionError: oh"


def test_a_failed_make_publishes_nothing(store: Store, tmp_path: Path) -> None:
    def make(scratch: Path) -> Made:
        (scratch / "half").write_text("half")
        raise DatasetError("it", rule="broke", remedy="mend it")

    with (
        pytest.raises(SystemExit),
        running(STEP, store_uri=store.uri, beside=str(tmp_path / "out")) as step,
    ):
        perform(step, config={}, make=make, manifest_out=str(tmp_path / "out"))
    assert not list(store.paths("results"))
    assert not (tmp_path / "out").exists()


def test_sigterm_is_recorded_as_such(store: Store, tmp_path: Path) -> None:
    with (
        pytest.raises(SystemExit) as ended,
        running(STEP, store_uri=store.uri, beside=str(tmp_path / "out")),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 143
    assert _record(store).state is StepState.TERMINATED


def test_a_manifest_of_another_kind_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "manifest"
    file.write_text('{"kind": "other"}')
    with pytest.raises(DatasetError, match="is no Note of this version"):
        read_manifest(str(file), Note)


@pytest.mark.parametrize(
    ("path", "run_id"),
    [
        (
            f"/minio/mlpipeline/v2/artifacts/yololine-training/{RUN}/preflight/{TASK}/report",
            RUN,
        ),
        ("/home/me/outputs/yololine-training-2026-11-24-08-00-00-123456/preflight/report", None),
    ],
)
def test_run_id_without_an_environment(
    path: str, run_id: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A label that the pod does not have gives an empty variable.
    monkeypatch.setenv(RUN_ID_VARIABLE, "")
    assert run_id_of(path) == (run_id or "yololine-training-2026-11-24-08-00-00-123456")
