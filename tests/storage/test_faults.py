"""What a real MinIO's clients go through when the network or another process fails them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.storage.proxy import Fault, Proxy, cutting, proxied
from yololine.errors import IntegrityError, NotFound, StoreUnavailable
from yololine.storage import FileRef, fetch_files, publish_files, s3, sha256_bytes, transfer
from yololine.storage import http as s3_http
from yololine.storage.s3 import S3Store
from yololine.storage.transfer import ATTEMPTS

if TYPE_CHECKING:
    from tests.conftest import MinioServer

pytestmark = pytest.mark.server
MiB = 1 << 20
SMALLEST_PART = 5 * MiB  # S3's own limit
BUSY = b"<Error><Code>SlowDown</Code><Message>Reduce your rate</Message></Error>"
XML = {"Content-Type": "application/xml"}


@pytest.fixture
def bucket(minio_server: MinioServer) -> str:
    return minio_server.make_bucket()


@pytest.fixture
def proxy(minio_server: MinioServer) -> Iterator[Proxy]:
    with proxied(minio_server.port) as proxy:
        yield proxy


@pytest.fixture
def direct(minio_server: MinioServer, bucket: str) -> S3Store:
    return S3Store.from_uri(f"s3://{bucket}", minio_server.environ)


@pytest.fixture
def store(minio_server: MinioServer, bucket: str, proxy: Proxy) -> S3Store:
    """The same bucket, by way of the proxy."""
    return S3Store.from_uri(f"s3://{bucket}", environ(minio_server, proxy.url))


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "PART_BYTES", SMALLEST_PART)


def environ(server: MinioServer, url: str) -> dict[str, str]:
    # With the region given, no request but the test's own goes by.
    return server.environ | {"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1"}


def _file(folder: Path, size_bytes: int, name: str = "source") -> Path:
    file = folder / name
    file.write_bytes(os.urandom(size_bytes))
    return file


def _files_below(folder: Path) -> list[str]:
    return sorted(str(f.relative_to(folder)) for f in folder.rglob("*") if f.is_file())


def _unfinished(server: MinioServer, bucket: str, key: str) -> int:
    """How many uploads of an object have begun and not ended."""
    return len(server.client._list_multipart_uploads(bucket, prefix=key).uploads)


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((503, XML, BUSY), id="S3's 503"),
        pytest.param((502, {"Content-Type": "text/html"}, b"<h1>Bad Gateway</h1>"), id="gateway"),
        pytest.param((429, {}, b""), id="429"),
    ],
)
def test_a_busy_store_is_asked_again(
    proxy: Proxy,
    store: S3Store,
    direct: S3Store,
    tmp_path: Path,
    answer: tuple[int, dict[str, str], bytes],
) -> None:
    direct.write_bytes("there", b"content")
    proxy.faults += [
        Fault(method=method, times=2, answer=answer) for method in ("HEAD", "PUT", "GET", "DELETE")
    ]
    source = _file(tmp_path, 1000)
    [ref] = publish_files(store, [(source, "new")])
    fetch_files(store, [(ref, tmp_path / "back")])
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    store.delete("there")
    assert list(direct.paths()) == ["new"]
    # HEAD asks before and after the upload.
    assert {m: len(proxy.of(m)) for m in ("HEAD", "PUT", "GET", "DELETE")} == {
        "HEAD": 4,
        "PUT": 3,
        "GET": 3,
        "DELETE": 3,
    }


def test_a_download_goes_on_at_the_byte_where_it_broke(
    proxy: Proxy, store: S3Store, direct: S3Store, tmp_path: Path
) -> None:
    source = _file(tmp_path, 8 * MiB)
    [ref] = publish_files(direct, [(source, "large")])
    proxy.faults += [Fault(cut_answer_at=at) for at in (3 * MiB, 2 * MiB, 0, 1)]
    fetch_files(store, [(ref, tmp_path / "back")])
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    begun_at = [
        int(seen.headers["Range"].removeprefix("bytes=").rstrip("-"))
        if "Range" in seen.headers
        else 0
        for seen in proxy.of("GET")
    ]
    assert len(begun_at) == 5
    assert begun_at == sorted(begun_at)
    assert 2 * MiB < begun_at[1] <= 3 * MiB < begun_at[2] <= 5 * MiB
    # What is lost is what was on the way when a connection broke.
    answered_bytes = sum(seen.answered_bytes for seen in proxy.of("GET"))
    assert ref.size_bytes <= answered_bytes < ref.size_bytes + 2 * MiB


@pytest.mark.usefixtures("small_parts")
def test_an_upload_repeats_the_part_that_broke(
    proxy: Proxy,
    store: S3Store,
    direct: S3Store,
    minio_server: MinioServer,
    bucket: str,
    tmp_path: Path,
) -> None:
    source = _file(tmp_path, 2 * SMALLEST_PART + 1000)
    proxy.faults += [
        Fault(method="PUT", path="partNumber=1", cut_request_at=MiB),
        Fault(method="PUT", path="partNumber=2", cut_request_at=2 * MiB, times=2),
        Fault(method="PUT", path="partNumber=3", answer=(503, XML, BUSY)),
        # The answer is lost, not the work.
        Fault(method="POST", path="uploadId=", cut_answer_at=10),
    ]
    [ref] = publish_files(store, [(source, "models/weights.pt")])
    sent = [len(proxy.of("PUT", f"partNumber={part}&")) for part in (1, 2, 3)]
    assert sent == [2, 3, 2]
    assert len(proxy.of("POST", "uploads=")) <= 2  # begun again only because the end was lost
    assert direct.verified(ref)
    fetch_files(direct, [(ref, tmp_path / "back")])
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert _unfinished(minio_server, bucket, "models/weights.pt") == 0


@pytest.mark.parametrize(
    ("fault", "rule"),
    [
        pytest.param(
            {"shorten_answer_by": 10}, "990 bytes, published with 1000", id="a short read"
        ),
        pytest.param({"flip_answer_at": 500}, "sha256 .* published as", id="a turned bit"),
    ],
)
def test_what_arrives_wrong_is_fetched_again_and_never_believed(
    proxy: Proxy,
    store: S3Store,
    direct: S3Store,
    tmp_path: Path,
    fault: dict[str, int],
    rule: str,
) -> None:
    source = _file(tmp_path, 1000)
    [ref] = publish_files(direct, [(source, "some/file")])
    back = tmp_path / "back" / "file"
    proxy.faults = [Fault(**fault, times=ATTEMPTS)]
    with pytest.raises(IntegrityError, match=rf"s3://.*/some/file: {rule}.*; delete .*run again"):
        fetch_files(store, [(ref, back)])
    assert len(proxy.of("GET")) == ATTEMPTS
    assert _files_below(back.parent) == []
    proxy.faults = [Fault(**fault, times=ATTEMPTS - 1)]
    fetch_files(store, [(ref, back)])
    assert back.read_bytes() == source.read_bytes()


def test_what_is_sent_wrong_is_refused_and_sent_again(
    proxy: Proxy, store: S3Store, direct: S3Store, tmp_path: Path
) -> None:
    source = _file(tmp_path, 1000)
    proxy.faults = [Fault(method="PUT", flip_request_at=500, times=ATTEMPTS)]
    with pytest.raises(IntegrityError, match="received another content than was sent"):
        publish_files(store, [(source, "some/file")])
    # Not every server holds what it gets against the sha256 of SigV4.
    assert {"Content-MD5", "x-amz-content-sha256"} <= proxy.of("PUT")[0].headers.keys()
    assert list(direct.paths()) == []
    proxy.faults = [Fault(method="PUT", flip_request_at=500)]
    [ref] = publish_files(store, [(source, "some/file")])
    assert ref.sha256 == sha256_bytes(direct.read_bytes("some/file"))


PUBLISH = """
import sys
from pathlib import Path
from yololine.storage import open_store, publish_files, s3

s3.PART_BYTES = 5 << 20
store, files = open_store(sys.argv[1]), sorted(Path(sys.argv[2]).iterdir())
print("ready", flush=True)
sys.stdin.readline()
refs = publish_files(store, [(file, f"results/x/{file.name}") for file in files])
manifest = "".join(ref.model_dump_json() for ref in refs)
store.write_bytes("results/x/manifest.json", manifest.encode())
"""


def _publishing(uri: str, folder: Path, environ: dict[str, str]) -> subprocess.Popen[str]:
    """A process that publishes a folder's files and their manifest, once it is told to."""
    process = subprocess.Popen(
        [sys.executable, "-c", PUBLISH, uri, folder],
        env={**os.environ, **environ},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    "dies_at",
    [
        pytest.param("partNumber=2", id="in a large object"),
        pytest.param("results/x/small", id="in a small object"),
        pytest.param("manifest.json", id="in the manifest"),
    ],
)
def test_who_dies_in_an_upload_leaves_nothing_that_could_be_taken_for_real(
    minio_server: MinioServer,
    bucket: str,
    proxy: Proxy,
    direct: S3Store,
    tmp_path: Path,
    dies_at: str,
) -> None:
    (tmp_path / "files").mkdir()
    large = _file(tmp_path / "files", 2 * SMALLEST_PART + 1000, "large")
    small = _file(tmp_path / "files", 1000, "small")
    proxy.faults = [Fault(method="PUT", path=dies_at, hold_request_at=100)]
    process = _publishing(f"s3://{bucket}", tmp_path / "files", environ(minio_server, proxy.url))
    with process:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
        assert proxy.holding.wait(30)
        process.kill()
    proxy.release.set()
    whole = {"results/x/large": large, "results/x/small": small}
    for path in direct.paths():  # the manifest is not among them, and what is there is whole
        assert direct.read_bytes(path) == whole[path].read_bytes()
    if dies_at == "partNumber=2":
        assert _unfinished(minio_server, bucket, "results/x/large") == 1

    # The next run starts the object again, and gives the dead one's parts back.
    with _publishing(f"s3://{bucket}", tmp_path / "files", minio_server.environ) as process:
        process.communicate("go\n")
    assert process.returncode == 0
    assert list(direct.paths()) == ["results/x/large", "results/x/manifest.json", "results/x/small"]
    assert direct.read_bytes("results/x/large") == large.read_bytes()
    assert _unfinished(minio_server, bucket, "results/x/large") == 0


def test_runs_that_publish_the_same_at_once_all_succeed(
    minio_server: MinioServer, bucket: str, direct: S3Store, tmp_path: Path
) -> None:
    (tmp_path / "files").mkdir()
    files = [_file(tmp_path / "files", 2 * SMALLEST_PART + 1000, "large")]
    files += [_file(tmp_path / "files", 1000, f"small-{n}") for n in range(4)]
    processes = [
        _publishing(f"s3://{bucket}", tmp_path / "files", minio_server.environ) for _ in range(3)
    ]
    for process in processes:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        with process:
            process.communicate()
        assert process.returncode == 0
    for file in files:
        assert direct.read_bytes(f"results/x/{file.name}") == file.read_bytes()
    assert direct.exists("results/x/manifest.json")
    assert _unfinished(minio_server, bucket, "results/x/large") == 0


@pytest.mark.usefixtures("small_parts")
def test_an_upload_that_another_run_has_finished_is_done(
    minio_server: MinioServer,
    bucket: str,
    proxy: Proxy,
    store: S3Store,
    direct: S3Store,
    tmp_path: Path,
) -> None:
    source = _file(tmp_path, 2 * SMALLEST_PART)
    proxy.faults = [Fault(method="PUT", path="partNumber=2", hold_request_at=100)]
    slow: list[FileRef] = []
    thread = threading.Thread(
        target=lambda: slow.extend(publish_files(store, [(source, "weights.pt")]))
    )
    thread.start()
    assert proxy.holding.wait(30)
    fast = publish_files(direct, [(source, "weights.pt")])
    proxy.release.set()
    thread.join()
    assert slow == fast
    assert len(proxy.of("POST", "uploads=")) == 1  # it was not sent a second time
    assert direct.verified(fast[0])
    assert _unfinished(minio_server, bucket, "weights.pt") == 0


def test_an_object_that_is_deleted_while_it_is_read_is_named(
    minio_server: MinioServer, bucket: str, direct: S3Store, tmp_path: Path
) -> None:
    [ref] = publish_files(direct, [(_file(tmp_path, 8 * MiB), "some/file")])
    with cutting(
        minio_server.port, [2 * MiB], after_cut=lambda: direct.delete("some/file")
    ) as port:
        store = S3Store.from_uri(
            f"s3://{bucket}", environ(minio_server, f"http://127.0.0.1:{port}")
        )
        with pytest.raises(NotFound, match=r"/some/file: was deleted while it was read; run again"):
            fetch_files(store, [(ref, tmp_path / "back" / "file")])
    assert _files_below(tmp_path / "back") == []


@pytest.mark.usefixtures("small_parts")
def test_an_upload_that_is_interrupted_takes_its_parts_back(
    minio_server: MinioServer,
    bucket: str,
    proxy: Proxy,
    store: S3Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = _file(tmp_path, 3 * SMALLEST_PART)
    proxy.faults = [Fault(method="PUT", path="partNumber=2", hold_request_at=100)]
    stopped = threading.Event()
    monkeypatch.setattr(transfer, "Event", lambda: stopped)

    def interrupt() -> None:
        assert proxy.holding.wait(30)
        os.kill(os.getpid(), signal.SIGINT)
        stopped.wait(30)
        proxy.release.set()

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        publish_files(store, [(source, "weights.pt")])
    interrupting.join()
    assert not proxy.of("PUT", "partNumber=3")
    assert not store.exists("weights.pt")
    assert _unfinished(minio_server, bucket, "weights.pt") == 0


def test_an_object_replaced_in_a_download_is_not_mixed(
    minio_server: MinioServer, bucket: str, direct: S3Store
) -> None:
    old, new = bytes(5 << 20), b"x" * (5 << 20)
    direct.write_bytes("large", old)

    def replace() -> None:
        direct.write_bytes("large", new)

    with cutting(minio_server.port, [2 << 20], after_cut=replace) as port:
        store = S3Store.from_uri(
            f"s3://{bucket}", environ(minio_server, f"http://127.0.0.1:{port}")
        )
        with pytest.raises(IntegrityError, match="replaced the object while it was read"):
            store.read_bytes("large")
        assert store.read_bytes("large") == new


def test_a_restart_of_the_server_is_waited_for(new_minio: Callable[..., MinioServer]) -> None:
    server = new_minio()
    server.start()
    store = S3Store.from_uri(f"s3://{server.make_bucket()}", server.environ)
    store.write_bytes("before", b"1")
    server.stop()
    restart = threading.Thread(target=server.start)
    restart.start()
    store.write_bytes("during", b"2")
    assert list(store.paths()) == ["before", "during"]
    restart.join()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """The minute that a slow server is given lasts a second."""
    monkeypatch.setattr(s3_http, "IDLE_SECONDS", 1)
    monkeypatch.setattr(s3_http, "PATIENCE_SECONDS", 1)
    monkeypatch.setattr(s3_http, "FIRST_PATIENCE_SECONDS", 1)


@pytest.mark.usefixtures("hasty")
def test_a_download_that_drips_is_given_up(
    proxy: Proxy, store: S3Store, direct: S3Store, tmp_path: Path
) -> None:
    [ref] = publish_files(direct, [(_file(tmp_path, MiB), "some/file")])
    proxy.faults = [Fault(drip_seconds=0.01, times=99)]
    began = time.monotonic()
    with pytest.raises(
        StoreUnavailable, match=r"/some/file: .* moves less than 256 KiB in 1 s; look at the store"
    ):
        fetch_files(store, [(ref, tmp_path / "back" / "file")])
    # Of a server that sends a byte now and then, no more is asked than this.
    assert len(proxy.of("GET")) <= 4
    assert time.monotonic() - began < 60
    assert _files_below(tmp_path / "back") == []


@pytest.mark.usefixtures("hasty")
def test_a_listing_that_drips_is_given_up(proxy: Proxy, store: S3Store, direct: S3Store) -> None:
    direct.write_bytes("a", b"content")
    proxy.faults = [Fault(drip_seconds=0.01, times=99)]
    with pytest.raises(StoreUnavailable, match="moves less than 256 KiB in 1 s"):
        list(store.paths())


@pytest.mark.usefixtures("hasty")
def test_an_upload_that_is_not_taken_is_given_up(
    proxy: Proxy, store: S3Store, direct: S3Store, tmp_path: Path
) -> None:
    proxy.faults = [Fault(method="PUT", hold_request_at=MiB, times=99)]
    with pytest.raises(StoreUnavailable, match="moves less than 256 KiB in 1 s"):
        publish_files(store, [(_file(tmp_path, 12 * MiB), "some/file")])
    proxy.release.set()
    assert list(direct.paths()) == []


@pytest.mark.usefixtures("hasty")
def test_a_slow_store_that_moves_is_waited_for(
    proxy: Proxy, store: S3Store, direct: S3Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_http, "LEAST_BYTES", 50)
    data = os.urandom(600)
    direct.write_bytes("a", data)
    proxy.faults = [Fault(drip_seconds=0.004)]  # over two seconds in all
    assert store.read_bytes("a") == data
    assert len(proxy.of("GET")) == 1


LISTED = """
import re, sys
from pathlib import Path
from yololine.dataset.sources import list_source
from yololine.storage import open_store

def most_memory_bytes():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10

store = open_store(sys.argv[1])
next(store.paths())
before = most_memory_bytes()
listing = list_source(store)
print(listing.files, listing.size_bytes, listing.digest, most_memory_bytes() - before)
"""


def test_a_hundred_thousand_objects_are_listed_in_bounded_memory(
    new_minio: Callable[..., MinioServer],
) -> None:
    if not Path("/proc/self/status").exists():
        pytest.skip("no /proc to read a process's memory from")
    server = new_minio()
    server.start()
    store = S3Store.from_uri(f"s3://{server.make_bucket()}", server.environ)
    names = [f"images/{n // 1000}/{n:06}.jpg" for n in range(100_000)]
    store.write_bytes(names[0], b"content")
    [entry] = store.entries()
    # Copies of what MinIO itself has written: as many requests would take minutes.
    [kept] = (server.folder / "data").glob(f"bucket-*/{names[0]}/xl.meta")
    bucket = kept.parents[3]
    for n, name in enumerate(names[1:]):
        (bucket / name).mkdir(parents=True)
        if n % 30_000:
            (bucket / name / "xl.meta").hardlink_to(kept)
        else:  # a file system allows only so many links
            kept = Path(shutil.copy(kept, bucket / name))
    done = subprocess.run(
        [sys.executable, "-c", LISTED, store.uri],
        env={**os.environ, **server.environ},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    files, size_bytes, digest, held_bytes = done.stdout.split()
    assert int(files) == len(names)
    assert int(size_bytes) == 7 * len(names)
    expected = "".join(f"{name}\0{entry.size_bytes}\0{entry.md5}\n" for name in sorted(names))
    assert digest == sha256_bytes(expected.encode())
    # What is kept of each object: its path, size and MD5. The pages they came in are not.
    assert int(held_bytes) < 1000 * len(names)
