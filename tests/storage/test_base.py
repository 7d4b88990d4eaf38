"""What any store does, shown on a folder and on a bucket of a real MinIO."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from yololine.errors import NotFound, UsageError
from yololine.storage import Entry, FileRef, Store, open_store, sha256_bytes
from yololine.storage.base import CHUNK_BYTES, safe_path
from yololine.storage.local import LocalStore

NAMES = (
    "-rf",
    "UPPER.TXT",
    "a b.txt",
    "a%20b",
    "a+b",
    "a-b",
    "a.txt",
    "a/b",
    "a/c d/e.f",
    "a0",
    "line\nbreak",
    "q?x=1#y&z=<'\">",
    "\u00e9/\u00fc",  # composed
    "e\u0301",  # decomposed, as macOS writes it
    "日本/語",
    "\uffee",
    "\U0001f600",  # comes last, though not in UTF-16
)
SOME = FileRef(path="some/file", sha256=sha256_bytes(b"content"), size_bytes=7)


def test_what_is_written_is_read(store: Store, tmp_path: Path) -> None:
    large = bytes(range(256)) * (CHUNK_BYTES // 256) + b"and more than one chunk"
    for name, data in [*((name, name.encode()) for name in NAMES), ("empty", b""), ("l", large)]:
        store.write_bytes(name, data)
        assert store.read_bytes(name) == data
        assert store.size_bytes(name) == len(data)
        assert store.exists(name)
        assert store.digest(name) == sha256_bytes(data)
        store.download(name, tmp_path / "downloaded")
        assert (tmp_path / "downloaded").read_bytes() == data
    assert max(map(len, store.chunks("l"))) <= CHUNK_BYTES


def test_an_uploaded_file_is_read(store: Store, tmp_path: Path) -> None:
    for data in (b"first", b"", b"second, longer"):
        (tmp_path / "file").write_bytes(data)
        store.upload(tmp_path / "file", "folder/name with blanks")
        assert store.read_bytes("folder/name with blanks") == data


def test_a_listing_is_in_the_order_of_code_points(store: Store) -> None:
    for name in reversed(NAMES):
        store.write_bytes(name, name.encode())
    assert list(store.paths()) == sorted(NAMES)
    assert sorted(NAMES) == sorted(NAMES, key=str.encode)
    assert list(store.entries()) == [
        Entry(
            path=name,
            size_bytes=len(name.encode()),
            md5=hashlib.md5(name.encode(), usedforsecurity=False).hexdigest(),
        )
        for name in sorted(NAMES)
    ]


def test_a_prefix_is_a_folder_not_a_beginning(store: Store) -> None:
    for name in ("a", "ab/c", "a-/c", "b/c", "b/d/e", "b.d"):
        store.write_bytes(name, b"")
    assert list(store.paths("b")) == list(store.paths("b/")) == ["b/c", "b/d/e"]
    assert [entry.path for entry in store.entries("b/d")] == ["b/d/e"]
    assert list(store.paths("a")) == []
    assert list(store.paths("absent/folder")) == []
    assert list(store.paths("b/c")) == []


def test_hidden_objects_are_read_and_not_listed(store: Store) -> None:
    for name in (".DS_Store", ".cache/a", "b/.hidden", "b/c.part", "b/d", "e.part/f"):
        store.write_bytes(name, b"x")
        assert store.read_bytes(name) == b"x"
    assert list(store.paths()) == ["b/d", "e.part/f"]
    assert list(store.paths(".cache")) == [".cache/a"]


def test_what_is_not_there(store: Store, tmp_path: Path) -> None:
    store.write_bytes("folder/file", b"")
    for path in ("absent", "folder", "folder/absent", "folder/file/below"):
        assert store.size_bytes(path) is None
        assert not store.exists(path)
        store.delete(path)
        for read in (store.read_bytes, store.digest):
            with pytest.raises(NotFound, match=r"no such (file|object)"):
                read(path)
        with pytest.raises(NotFound, match=r"no such (file|object)"):
            store.download(path, tmp_path / "destination")
    with pytest.raises(NotFound, match="no such file"):
        store.upload(tmp_path / "absent", "new")
    assert list(tmp_path.glob("destination*")) == list(tmp_path.glob(".*")) == []
    assert list(store.paths()) == ["folder/file"]


def test_what_is_deleted_is_gone(store: Store) -> None:
    store.write_bytes("a/b", b"1")
    store.delete("a/b")
    store.delete("a/b")
    assert not store.exists("a/b")
    store.write_bytes("a/b", b"2")
    assert store.read_bytes("a/b") == b"2"


@pytest.mark.parametrize(
    "path",
    [
        "",
        " ",
        "/etc/passwd",
        "..",
        "a/../../b",
        "a//b",
        "a/",
        "./a",
        "a/.",
        "a\\b",
        "a\0b",
        "\udcff",
    ],
)
def test_no_path_leaves_the_root(store: Store, path: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        safe_path(path)
    for use in (store.read_bytes, store.size_bytes, store.digest, store.delete):
        with pytest.raises(UsageError):
            use(path)
    with pytest.raises(UsageError):
        store.write_bytes(path, b"")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError):
        store.upload(tmp_path / "file", path)


def test_a_reader_sees_the_old_content_or_the_new(store: Store) -> None:
    contents = {letter * (CHUNK_BYTES + 1) for letter in (b"a", b"b")}
    store.write_bytes("manifest.json", min(contents))

    def write(data: bytes) -> None:
        for _ in range(8):
            store.write_bytes("manifest.json", data)

    with ThreadPoolExecutor() as pool:
        writers = [pool.submit(write, data) for data in contents]
        while not all(writer.done() for writer in writers):
            assert store.read_bytes("manifest.json") in contents
        for writer in writers:
            writer.result()


def test_content_is_held_against_its_reference(store: Store) -> None:
    assert not store.verified(SOME)
    store.write_bytes(SOME.path, b"content")
    assert store.verified(SOME)
    for corrupted in (b"conten", b"CONTENT"):
        store.write_bytes(SOME.path, corrupted)
        assert not store.verified(SOME)


def test_the_checks_of_a_usable_store_leave_nothing(store: Store) -> None:
    store.check_readable()
    store.check_writable()
    assert list(store.paths()) == list(store.paths("runs")) == []


@pytest.mark.parametrize(
    ("uri", "root"),
    [
        ("/data/store", "/data/store"),
        ("  /data/store\n", "/data/store"),
        ("file:///data/my%20store", "/data/my store"),
        ("file://localhost/data", "/data"),
        ("file:/data", "/data"),
        ("/data/50%20#1?", "/data/50%20#1?"),
        ("~/store", str(Path.home() / "store")),
        ("store", str(Path.cwd() / "store")),
    ],
)
def test_a_folder_is_a_store(uri: str, root: str) -> None:
    store = open_store(uri)
    assert isinstance(store, LocalStore)
    assert store.uri == root


@pytest.mark.parametrize(
    "uri",
    [
        "",
        " ",
        "https://minio.example/bucket",
        "gs://bucket",
        "file://folder/typo",
        "file:relative",
        "file:///",
        "s3:bucket/prefix",
        "s3://",
        "s3:///prefix",
        "s3://UPPER_case!/x",
        "s3://10.0.0.1/x",
        "s3://[fd00:ec2::254]/x",
        "s3://bucket/a/../b",
        "s3://bucket/a//b",
        "minio://bucket/prefix?endpoint=minio:9000",
    ],
)
def test_no_store_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match=r"; (write|set|name) "):
        open_store(uri)


@pytest.mark.parametrize(
    "uri", ["s3://KEY:s3/cret@bucket/x", "s3://KEY:s3cret/x", "https://user:s3/cret@host/bucket"]
)
def test_a_secret_in_a_uri_is_not_repeated(uri: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_store(uri)
    assert "cret" not in str(refused.value)
