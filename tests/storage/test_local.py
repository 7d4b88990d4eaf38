from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from yololine.errors import NotFound, StoreRefused, UsageError
from yololine.storage import fetch_files, publish_files
from yololine.storage.local import LocalStore


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small disk of a test's own, or the same folder again with other options."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = 0

    def do(options: str) -> Path:
        nonlocal mounted
        kind = ["-o", options] if "remount" in options else ["-t", "tmpfs", "-o", options, "tmpfs"]
        done = subprocess.run(["mount", *kind, folder], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"disks are mounted by root alone: {done.stderr.strip()}")
        mounted += "remount" not in options
        return folder

    yield do
    if mounted:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder beside the store's root, with a secret in it."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    return folder


def test_a_full_disk_is_said(mount: Callable[[str], Path], tmp_path: Path) -> None:
    store = LocalStore(mount("size=64k") / "store")
    store.write_bytes("kept", b"old")
    source = tmp_path / "large"
    source.write_bytes(bytes(1 << 20))
    with pytest.raises(StoreRefused, match=r"disk/store/kept: the disk is full; free space"):
        store.write_bytes("kept", source.read_bytes())
    with pytest.raises(StoreRefused, match=r"disk/store/kept: the disk is full"):
        publish_files(store, [(source, "kept")])
    assert store.read_bytes("kept") == b"old"

    other = LocalStore(tmp_path / "other")
    [ref] = publish_files(other, [(source, "large")])
    destination = store.root / "fetched"
    with pytest.raises(StoreRefused, match=r"disk/store/fetched: the disk is full"):
        fetch_files(other, [(ref, destination)])
    assert [file.name for file in store.root.iterdir()] == ["kept"]


def test_a_read_only_folder_is_said(mount: Callable[[str], Path]) -> None:
    store = LocalStore(mount("size=64k"))
    store.write_bytes("kept", b"old")
    mount("remount,ro")
    store.check_readable()
    assert store.read_bytes("kept") == b"old"
    for refused in (
        store.check_writable,
        lambda: store.write_bytes("kept", b"new"),
        lambda: store.delete("kept"),
    ):
        with pytest.raises(
            StoreRefused, match=r"no permission \(Read-only file system\); let user"
        ):
            refused()


def test_a_forbidden_folder_is_said(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write_bytes("folder/file", b"")
    (tmp_path / "folder").chmod(0)
    try:
        if os.access(tmp_path / "folder", os.R_OK):
            pytest.skip("root may read everything")
        for refused in (store.check_readable, lambda: store.read_bytes("folder/file")):
            with pytest.raises(StoreRefused, match=r"no permission \(Permission denied\)"):
                refused()
    finally:
        (tmp_path / "folder").chmod(0o700)


def test_links_out_of_the_root_lead_nowhere(tmp_path: Path, outside: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.write_bytes("inside", b"inside")
    (store.root / "file").symlink_to(outside / "secret")
    (store.root / "folder").symlink_to(outside)
    (store.root / "up").symlink_to("..")
    assert list(store.paths()) == ["inside"]
    for path in ("file", "folder/secret", "folder/new", "up/outside/secret"):
        for use in (
            store.read_bytes,
            store.digest,
            store.size_bytes,
            store.delete,
            lambda path: list(store.paths(path)),
            lambda path: store.write_bytes(path, b"changed"),
        ):
            with pytest.raises(UsageError, match="a link leads out of the store's root"):
                use(path)
    assert [file.name for file in outside.iterdir()] == ["secret"]
    assert (outside / "secret").read_text() == "secret"


def test_links_inside_the_root_are_files(tmp_path: Path) -> None:
    real = tmp_path / "real"
    store = LocalStore(tmp_path / "link")  # a root that is itself a link
    real.mkdir()
    store.root.symlink_to(real)
    store.write_bytes("a", b"content")
    (real / "b").symlink_to("a")
    (real / "broken").symlink_to("absent")
    (real / "loop").symlink_to("loop")
    assert list(store.paths()) == ["a", "b"]
    assert store.read_bytes("b") == b"content"
    for path in ("broken", "loop"):
        with pytest.raises(NotFound):
            store.read_bytes(path)


def test_a_pipe_is_no_object(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    store = LocalStore(tmp_path)
    assert list(store.paths()) == []
    with pytest.raises(NotFound):
        store.read_bytes("pipe")


def test_a_name_that_is_not_utf8_is_said(tmp_path: Path) -> None:
    (tmp_path / "é.jpg".encode("latin1").decode(errors="surrogateescape")).touch()
    with pytest.raises(StoreRefused, match=r"the name is not UTF-8; rename it.*convmv"):
        list(LocalStore(tmp_path).paths())


def test_a_folder_copied_into_itself_is_said(tmp_path: Path) -> None:
    """Before Python ends its own recursion."""
    folder = tmp_path.joinpath(*["x"] * 250)
    folder.mkdir(parents=True)
    (folder / "a.jpg").touch()
    with pytest.raises(StoreRefused, match="nests folders deeper than 200; look for a folder"):
        list(LocalStore(tmp_path).paths())
    assert list(LocalStore(tmp_path.joinpath(*["x"] * 50)).paths())


def test_a_file_and_a_folder_of_one_name_are_said(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write_bytes("a/b", b"")
    for path in ("a", "a/b/c"):
        with pytest.raises(StoreRefused, match="a file and a folder want the same name"):
            store.write_bytes(path, b"")
    assert list(store.paths()) == ["a/b"]
    with pytest.raises(StoreRefused, match="the name is longer than the disk allows"):
        store.write_bytes("x" * 300, b"")


def test_a_root_that_is_missing_is_an_empty_store(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "new")
    store.check_readable()
    assert list(store.entries()) == []
    assert not store.root.exists()
    store.check_writable()
    assert store.root.is_dir()


def test_a_root_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreRefused, match="is no folder"):
        LocalStore(tmp_path / "file").check_readable()
