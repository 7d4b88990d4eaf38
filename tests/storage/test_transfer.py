from __future__ import annotations

import hashlib
import logging
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from yololine.errors import IntegrityError, NotFound, StoreRefused
from yololine.storage import FileRef, Store, fetch_files, publish_files, sha256_bytes, transfer
from yololine.storage.local import LocalStore
from yololine.storage.transfer import ATTEMPTS, THREADS


def _written(folder: Path, contents: dict[str, bytes]) -> list[tuple[Path, str]]:
    files = []
    for name, data in contents.items():
        file = folder / "sources" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        files.append((file, f"datasets/{name}"))
    return files


def _files_below(folder: Path) -> list[str]:
    """Every file, hidden and unfinished ones too."""
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


def test_files_go_to_a_store_and_come_back(store: Store, tmp_path: Path) -> None:
    contents = {f"{n % 3}/naïve name {n}": os.urandom(n * 1000) for n in range(40)}
    refs = publish_files(store, _written(tmp_path, contents))
    assert refs == [
        FileRef(path=f"datasets/{name}", sha256=sha256_bytes(data), size_bytes=len(data))
        for name, data in contents.items()
    ]
    back = tmp_path / "deep" / "back"
    fetch_files(store, [(ref, back / ref.path) for ref in refs])
    assert {name: (back / "datasets" / name).read_bytes() for name in contents} == contents
    assert len(_files_below(back)) == len(contents)


def test_a_folder_and_its_copy_have_one_listing(store: Store, bccd: Path) -> None:
    here = LocalStore(bccd / "Annotations")
    paths = list(here.paths())
    assert len(paths) == 364
    publish_files(store, [(here.root / path, path) for path in paths])
    assert list(store.entries()) == list(here.entries())


def test_what_is_already_there_is_not_sent_again(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = _written(tmp_path, {"a": b"1", "b": b"2"})
    refs = publish_files(store, files)
    monkeypatch.setattr(store, "upload", None)
    assert publish_files(store, files) == refs
    monkeypatch.undo()
    store.write_bytes("datasets/b", b"X")  # another content of the same size is replaced
    assert publish_files(store, files) == refs
    assert store.read_bytes("datasets/b") == b"2"


def test_a_corrupted_object_is_refused(store: Store, tmp_path: Path) -> None:
    [good, bad] = publish_files(store, _written(tmp_path, {"good": b"good", "bad": b"bad"}))
    destination = tmp_path / "back" / "bad"
    destination.parent.mkdir()
    destination.write_bytes(b"earlier")
    for corrupted, rule in ((b"BAD", "sha256 .* published as"), (b"ba", "2 bytes, published with")):
        store.write_bytes(bad.path, corrupted)
        with pytest.raises(IntegrityError, match=rule):
            fetch_files(store, [(bad, destination)])
    assert destination.read_bytes() == b"earlier"
    assert _files_below(tmp_path / "back") == ["bad"]
    fetch_files(store, [(good, destination)])
    assert destination.read_bytes() == b"good"


def test_nothing_is_published_where_a_file_is_missing(store: Store, tmp_path: Path) -> None:
    files = _written(tmp_path, {"a": b"1", "b": b"2"})
    files[1][0].unlink()
    with pytest.raises(NotFound, match=r"sources/b: there is no such file"):
        publish_files(store, files)


def test_a_destination_that_cannot_be_is_said(store: Store, tmp_path: Path) -> None:
    refs = publish_files(store, _written(tmp_path, {"a": b"1"}))
    (tmp_path / "file").touch()
    with pytest.raises(StoreRefused, match="a file and a folder want the same name"):
        fetch_files(store, [(refs[0], tmp_path / "file" / "a")])


class _Flaky(LocalStore):
    """Sends each object wrong, as often as it is told."""

    wrong_times = 0

    def chunks(self, path: str) -> Iterator[bytes]:
        if self.wrong_times:
            self.wrong_times -= 1
            yield b"?"
        yield from super().chunks(path)


@pytest.mark.parametrize("wrong_times", range(ATTEMPTS))
def test_what_arrives_wrong_is_fetched_again(tmp_path: Path, wrong_times: int) -> None:
    store = _Flaky(tmp_path / "store")
    [ref] = publish_files(store, _written(tmp_path, {"a": b"content"}))
    store.wrong_times = wrong_times
    fetch_files(store, [(ref, tmp_path / "a")])
    assert (tmp_path / "a").read_bytes() == b"content"


class _Endless(LocalStore):
    """Objects named `endless...` never end: who fetches one waits until it is stopped."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.begun = threading.Semaphore(0)

    def chunks(self, path: str) -> Iterator[bytes]:
        if not path.startswith("endless"):
            # The others are under way by now.
            for _ in range(THREADS - 1):
                self.begun.acquire()
            yield from super().chunks(path)
            return
        self.begun.release()
        while True:
            yield b"x"


def _endless(folder: Path) -> list[tuple[FileRef, Path]]:
    return [
        (FileRef(path=f"endless/{n}", sha256="", size_bytes=0), folder / str(n))
        for n in range(3 * THREADS)
    ]


@pytest.mark.parametrize("position", [0, THREADS - 1])
def test_the_first_error_stops_the_others(tmp_path: Path, position: int) -> None:
    files = _endless(tmp_path / "back")
    files.insert(position, (FileRef(path="absent", sha256="", size_bytes=0), tmp_path / "absent"))
    with pytest.raises(NotFound, match="absent"):
        fetch_files(_Endless(tmp_path / "store"), files)
    assert _files_below(tmp_path) == []


def test_an_interruption_stops_all_and_leaves_no_parts(tmp_path: Path) -> None:
    store = _Endless(tmp_path / "store")
    store.write_bytes("first", b"1")
    first = FileRef(path="first", sha256=hashlib.sha256(b"1").hexdigest(), size_bytes=1)
    arrives = tmp_path / "back" / "first"

    def interrupt() -> None:
        while not arrives.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        fetch_files(store, [(first, arrives), *_endless(tmp_path / "back")])
    interrupting.join()
    assert _files_below(tmp_path / "back") == ["first"]


def test_a_long_transfer_says_how_far_it_is(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "yololine")
    files = _written(tmp_path, {name: bytes(2 << 20) for name in "abc"})
    refs = publish_files(store, files)
    fetch_files(store, [(ref, tmp_path / "back" / ref.path) for ref in refs])
    assert caplog.messages == []  # a short one says nothing
    monkeypatch.setattr(transfer, "PROGRESS_SECONDS", 0)
    store.delete(refs[0].path)
    assert publish_files(store, files) == refs
    sent = [line for line in caplog.messages if line.startswith(f"sent to {store.uri}: ")]
    assert sent == caplog.messages
    assert re.fullmatch(r"[^:]+(://.*)?: 6 of 6 MB, [\d.]+ MB/s", sent[-1])
    caplog.clear()
    fetch_files(store, [(ref, tmp_path / "back" / ref.path) for ref in refs])
    assert len(caplog.messages) >= 6  # pieces of a file, too
    assert caplog.messages[-1].startswith(f"fetched from {store.uri}: 6 of 6 MB, ")
