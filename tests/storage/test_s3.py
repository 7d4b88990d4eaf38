"""A bucket of a real MinIO: what only S3 has, and each of its refusals in words."""

from __future__ import annotations

import io
import json
import logging
import os
import shutil
import socket
import subprocess
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from minio.credentials import AssumeRoleProvider, StaticProvider
from minio.minioadmin import MinioAdmin

from yololine.errors import (
    IntegrityError,
    StoreError,
    StoreRefused,
    StoreUnavailable,
    UsageError,
)
from yololine.storage import fetch_files, open_store, publish_files, sha256_bytes
from yololine.storage import http as s3_http
from yololine.storage.s3 import PART_BYTES, S3Store

if TYPE_CHECKING:
    from tests.conftest import MinioServer

pytestmark = pytest.mark.server
SECRET = "wrong-and-secret"


@pytest.fixture
def bucket(minio_server: MinioServer) -> str:
    return minio_server.make_bucket()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that does not answer is asked once."""
    monkeypatch.setattr(s3_http, "FIRST_PATIENCE_SECONDS", 0)
    monkeypatch.setattr(s3_http, "PATIENCE_SECONDS", 0)


def test_a_uri_opens_what_the_environment_names(
    minio_server: MinioServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith(("AWS_", "KUBERNETES_"))]:
        monkeypatch.delenv(name)
    for name, value in minio_server.environ.items():
        monkeypatch.setenv(name, f"{value}\n")  # as `echo` leaves it in a secret
    store = open_store(f"minio://{bucket}/a/b/")
    assert store.uri == f"s3://{bucket}/a/b"
    store.write_bytes("c", b"content")
    assert open_store(f"s3://{bucket}").read_bytes("a/b/c") == b"content"
    assert list(open_store(f"S3://{bucket}/a").paths()) == ["b/c"]


def test_an_object_says_its_sha256(minio_server: MinioServer, bucket: str, tmp_path: Path) -> None:
    store = S3Store.from_uri(f"s3://{bucket}/x", minio_server.environ)
    (tmp_path / "file").write_bytes(b"content")
    store.write_bytes("a", b"content")
    store.upload(tmp_path / "file", "b")
    for key in ("x/a", "x/b"):
        found = minio_server.client.stat_object(bucket_name=bucket, object_name=key)
        assert found.metadata is not None
        assert found.metadata["x-amz-meta-sha256"] == sha256_bytes(b"content")


def test_a_large_object_goes_in_parts(
    minio_server: MinioServer, bucket: str, tmp_path: Path
) -> None:
    store = S3Store.from_uri(f"s3://{bucket}", minio_server.environ)
    source = tmp_path / "source"
    source.write_bytes(os.urandom(PART_BYTES + (16 << 20)))
    refs = publish_files(store, [(source, "models/weights.pt")])
    [entry] = store.entries()
    assert entry.size_bytes == refs[0].size_bytes == source.stat().st_size
    assert entry.md5.endswith("-2")
    fetch_files(store, [(refs[0], tmp_path / "back")])
    assert subprocess.run(["cmp", source, tmp_path / "back"]).returncode == 0


def test_a_listing_goes_over_pages(minio_server: MinioServer, bucket: str, tmp_path: Path) -> None:
    store = S3Store.from_uri(f"s3://{bucket}/images", minio_server.environ)
    (tmp_path / "file").write_bytes(b"content")
    names = [f"{n % 7}/{n:04}.jpg" for n in range(1100)]
    publish_files(store, [(tmp_path / "file", name) for name in names])
    listing = store.entries()
    assert next(listing).path == "0/0000.jpg"
    assert ["0/0000.jpg", *(entry.path for entry in listing)] == sorted(names)


def test_a_console_s_folders_are_no_objects(minio_server: MinioServer, bucket: str) -> None:
    store = S3Store.from_uri(f"s3://{bucket}", minio_server.environ)
    minio_server.client.put_object(
        bucket_name=bucket, object_name="folder/", data=io.BytesIO(), length=0
    )
    store.write_bytes("folder/file", b"")
    assert list(store.paths()) == list(store.paths("folder")) == ["folder/file"]


@contextmanager
def _cutting(
    port: int, budgets: list[int], *, after_cut: Callable[[], object] = lambda: None
) -> Iterator[str]:
    """A way to the server whose connections break after so many answered bytes each."""
    ends: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def forward(source: socket.socket, target: socket.socket, budget: int | None) -> None:
            with suppress(OSError):
                while data := source.recv(1 << 16):
                    if budget is not None:
                        data = data[:budget]
                        budget -= len(data)
                    target.sendall(data)
                    if budget == 0:
                        break
            for end in (source, target):
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

        def serve() -> None:
            with suppress(OSError):  # the listener is closed at the end
                while True:
                    client, _ = listener.accept()
                    server = socket.create_connection(("127.0.0.1", port))
                    ends.extend((client, server))
                    budget = budgets.pop(0) if budgets else None
                    with client, server:
                        there = threading.Thread(target=forward, args=(client, server, None))
                        there.start()
                        forward(server, client, budget)
                        there.join()
                    if budget is not None:
                        after_cut()

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        for end in (listener, *ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_download_goes_on_where_the_connection_broke(
    minio_server: MinioServer, bucket: str
) -> None:
    data = os.urandom(5 << 20)
    S3Store.from_uri(f"s3://{bucket}", minio_server.environ).write_bytes("large", data)
    budgets = [3 << 20, 2 << 20, 100, 1]
    with _cutting(minio_server.port, budgets) as url:
        environ = minio_server.environ | {"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1"}
        store = S3Store.from_uri(f"s3://{bucket}", environ)
        assert store.read_bytes("large") == data
    assert budgets == []


def test_an_object_replaced_in_a_download_is_not_mixed(
    minio_server: MinioServer, bucket: str
) -> None:
    direct = S3Store.from_uri(f"s3://{bucket}", minio_server.environ)
    old, new = bytes(5 << 20), b"x" * (5 << 20)
    direct.write_bytes("large", old)

    def replace() -> None:
        direct.write_bytes("large", new)

    with _cutting(minio_server.port, [2 << 20], after_cut=replace) as url:
        environ = minio_server.environ | {"AWS_ENDPOINT_URL": url, "AWS_REGION": "us-east-1"}
        store = S3Store.from_uri(f"s3://{bucket}", environ)
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


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("environ", "uri", "kind", "words"),
    [
        pytest.param(
            {"AWS_SECRET_ACCESS_KEY": SECRET},
            "s3://{bucket}",
            StoreRefused,
            "the secret key is another one; correct AWS_SECRET_ACCESS_KEY",
            id="secret key",
        ),
        pytest.param(
            {"AWS_ACCESS_KEY_ID": "nobody"},
            "s3://{bucket}",
            StoreRefused,
            "does not know this access key; correct AWS_ACCESS_KEY_ID",
            id="access key",
        ),
        pytest.param(
            {"AWS_SESSION_TOKEN": SECRET},
            "s3://{bucket}",
            StoreRefused,
            "does not know this session token; renew AWS_SESSION_TOKEN",
            id="session token",
        ),
        pytest.param(
            {},
            "s3://missing-bucket/prefix",
            StoreRefused,
            "has no bucket 'missing-bucket'; create it (mc mb ALIAS/missing-bucket",
            id="bucket",
        ),
        pytest.param(
            {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
            "s3://{bucket}",
            StoreUnavailable,
            "http://127.0.0.1:1 (from AWS_ENDPOINT_URL) does not answer (Connection refused); "
            "check AWS_ENDPOINT_URL",
            id="closed port",
        ),
        pytest.param(
            {"AWS_ENDPOINT_URL": "http://no-such-host.invalid"},
            "s3://{bucket}",
            StoreUnavailable,
            "does not resolve: no such host name; check AWS_ENDPOINT_URL",
            id="host name",
        ),
        pytest.param(
            {"AWS_ENDPOINT_URL": "https://{host}"},
            "s3://{bucket}",
            StoreRefused,
            "cannot be trusted or speaks no TLS (wrong version number); name your own",
            id="no TLS",
        ),
    ],
)
@pytest.mark.parametrize("region", [{}, {"AWS_REGION": "us-east-1"}], ids=["ask", "region"])
def test_a_refusal_is_said_and_tells_no_secret(
    minio_server: MinioServer,
    bucket: str,
    environ: dict[str, str],
    region: dict[str, str],
    uri: str,
    kind: type[StoreError],
    words: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    given = {name: value.format(host=minio_server.host) for name, value in environ.items()}
    store = S3Store.from_uri(
        uri.format(bucket=bucket), minio_server.environ | {"AWS_REGION": ""} | region | given
    )
    for use in (
        store.check_readable,
        store.check_writable,
        lambda: store.read_bytes("a"),
        lambda: list(store.entries("a")),
    ):
        with pytest.raises(kind) as refused:
            use()
        assert type(refused.value) is kind
        assert words in str(refused.value)
        told = "".join(traceback.format_exception(refused.value)) + caplog.text + repr(store)
        assert SECRET not in told
        assert minio_server.secret_key not in told


def test_a_head_request_is_told_why_too(minio_server: MinioServer, bucket: str) -> None:
    environ = minio_server.environ | {"AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": "nobody"}
    with pytest.raises(StoreRefused, match="does not know this access key"):
        S3Store.from_uri(f"s3://{bucket}", environ).size_bytes("a")


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY not set"),
        ({"AWS_ACCESS_KEY_ID": "key"}, "s3://bucket/x: AWS_SECRET_ACCESS_KEY not set"),
        ({"AWS_SECRET_ACCESS_KEY": "key", "AWS_ACCESS_KEY_ID": " \n"}, "x: AWS_ACCESS_KEY_ID not"),
    ],
)
def test_missing_credentials_are_said(environ: dict[str, str], words: str) -> None:
    with pytest.raises(StoreRefused, match=words) as refused:
        S3Store.from_uri("s3://bucket/x", environ)
    assert "mlpipeline-minio-artifact" in refused.value.remedy
    assert isinstance(refused.value, StoreUnavailable)
    assert not refused.value.retryable


def test_a_denied_action_is_said(minio_server: MinioServer, bucket: str) -> None:
    user = {"AWS_ACCESS_KEY_ID": f"reader-of-{bucket}", "AWS_SECRET_ACCESS_KEY": "reader-secret"}
    admin = MinioAdmin(
        endpoint=minio_server.host,
        credentials=StaticProvider(minio_server.access_key, minio_server.secret_key),
        secure=False,
    )
    admin.user_add(user["AWS_ACCESS_KEY_ID"], user["AWS_SECRET_ACCESS_KEY"])
    admin.attach_policy(["readonly"], user=user["AWS_ACCESS_KEY_ID"])
    S3Store.from_uri(f"s3://{bucket}", minio_server.environ).write_bytes("a", b"1")
    store = S3Store.from_uri(f"s3://{bucket}", minio_server.environ | user)
    assert store.read_bytes("a") == b"1"
    for refused in (
        store.check_readable,  # MinIO's `readonly` may not list
        store.check_writable,
        lambda: store.delete("a"),
    ):
        with pytest.raises(StoreRefused, match="denies access; let this access key do s3:ListBu"):
            refused()

    # Temporary keys for a part of the same rights, as a token service hands them out.
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": ["s3:*"], "Resource": [f"arn:aws:s3:::{bucket}/a"]}
        ],
    }
    lent = AssumeRoleProvider(
        sts_endpoint=minio_server.environ["AWS_ENDPOINT_URL"],
        access_key=user["AWS_ACCESS_KEY_ID"],
        secret_key=user["AWS_SECRET_ACCESS_KEY"],
        policy=json.dumps(policy),
    ).retrieve()
    keys = {
        "AWS_ACCESS_KEY_ID": lent.access_key,
        "AWS_SECRET_ACCESS_KEY": lent.secret_key,
        "AWS_SESSION_TOKEN": str(lent.session_token),
        "AWS_REGION": "us-east-1",
    }
    store = S3Store.from_uri(f"s3://{bucket}", minio_server.environ | keys)
    assert store.read_bytes("a") == b"1"
    with pytest.raises(StoreRefused, match="denies access"):
        store.write_bytes("a", b"2")


def test_a_wrong_clock_is_said(
    minio_server: MinioServer, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minio.time.utcnow", lambda: datetime.now(UTC) - timedelta(hours=1))
    store = S3Store.from_uri(f"s3://{bucket}", minio_server.environ)
    with pytest.raises(
        StoreRefused, match=r"wrong time: this machine's clock reads \S+ \S+ UTC, the store's \S+;"
    ):
        store.check_readable()


def test_an_own_authority_is_named_by_the_environment(
    new_minio: Callable[..., MinioServer], tmp_path: Path
) -> None:
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    server = new_minio(https=True)
    certs = server.folder / "certs"
    certs.mkdir()
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=tests"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1"]
    command += ["-keyout", certs / "private.key", "-out", certs / "public.crt"]
    subprocess.run(command, check=True, capture_output=True)
    server.start()
    for variable in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        environ = server.environ | {variable: str(certs / "public.crt")}
        with pytest.raises(StoreRefused, match="has no bucket 'missing'"):
            S3Store.from_uri("s3://missing", environ).check_readable()
        for file in (tmp_path / "absent", certs / "private.key"):
            with pytest.raises(UsageError, match=f"{variable}=.* is no file of certificates"):
                S3Store.from_uri("s3://missing", environ | {variable: str(file)})
    with pytest.raises(StoreRefused, match=r"certificate verify failed.*AWS_CA_BUNDLE"):
        S3Store.from_uri("s3://missing", server.environ).check_readable()
    plain = server.environ["AWS_ENDPOINT_URL"].replace("https", "http")
    with pytest.raises(StoreRefused, match="answers HTTP 400, and not in S3's words"):
        S3Store.from_uri(
            "s3://missing", server.environ | {"AWS_ENDPOINT_URL": plain}
        ).check_readable()


@pytest.mark.parametrize("region", ["_", "eu west"])
def test_no_region_is_refused(region: str) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": region}
    with pytest.raises(UsageError, match="invalid region"):
        S3Store.from_uri("s3://bucket", environ)
