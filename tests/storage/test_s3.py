"""A bucket of a real MinIO: what only S3 has."""

from __future__ import annotations

import io
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from minio.credentials import AssumeRoleProvider, StaticProvider
from minio.minioadmin import MinioAdmin

from tests.storage.proxy import cutting, proxied
from yololine.errors import StoreRefused, StoreUnavailable, UsageError
from yololine.storage import fetch_files, open_store, publish_files, sha256_bytes
from yololine.storage.s3 import PART_BYTES, S3Store

if TYPE_CHECKING:
    from tests.conftest import MinioServer

pytestmark = pytest.mark.server


@pytest.fixture
def bucket(minio_server: MinioServer) -> str:
    return minio_server.make_bucket()


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


def test_a_console_s_folders_are_no_objects(minio_server: MinioServer, bucket: str) -> None:
    store = S3Store.from_uri(f"s3://{bucket}", minio_server.environ)
    minio_server.client.put_object(
        bucket_name=bucket, object_name="folder/", data=io.BytesIO(), length=0
    )
    store.write_bytes("folder/file", b"")
    assert list(store.paths()) == list(store.paths("folder")) == ["folder/file"]


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


@pytest.fixture(scope="module")
def https_server(new_minio: Callable[..., MinioServer]) -> MinioServer:
    """A MinIO behind a certificate of its own making."""
    server = new_minio(https=True)
    (server.folder / "certs").mkdir()
    _certificate(server.folder / "certs" / "public.crt", server.folder / "certs" / "private.key")
    server.start()
    return server


def _certificate(file: Path, key: Path) -> None:
    if not shutil.which("openssl"):
        pytest.skip("no openssl to make a certificate with")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=tests"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", file]
    subprocess.run(command, check=True, capture_output=True)


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "SSL_CERT_FILE"])
def test_an_own_authority_is_named_by_the_environment(
    https_server: MinioServer, tmp_path: Path, variable: str
) -> None:
    certs = https_server.folder / "certs"
    environ = https_server.environ | {variable: str(certs / "public.crt")}
    store = S3Store.from_uri(f"s3://{https_server.make_bucket()}", environ)
    store.write_bytes("a", b"content")
    assert store.read_bytes("a") == b"content"
    for file in (tmp_path / "absent", certs / "private.key"):
        with pytest.raises(UsageError, match=f"{variable}=.* is no file of certificates"):
            S3Store.from_uri("s3://bucket", environ | {variable: str(file)})


@pytest.mark.parametrize(
    ("own", "host", "words"),
    [
        pytest.param(False, "127.0.0.1", "certificate verify failed: self-signed", id="no CA"),
        pytest.param(True, "127.0.0.1", "certificate verify failed: ", id="another CA"),
        pytest.param(None, "localhost", "Hostname mismatch, certificate is not valid", id="host"),
    ],
)
def test_a_certificate_that_is_not_known_is_refused(
    https_server: MinioServer, tmp_path: Path, own: bool | None, host: str, words: str
) -> None:
    environ = https_server.environ | {"AWS_ENDPOINT_URL": f"https://{host}:{https_server.port}"}
    if own is None:
        environ["AWS_CA_BUNDLE"] = str(https_server.folder / "certs" / "public.crt")
    elif own:
        _certificate(tmp_path / "public.crt", tmp_path / "private.key")
        environ["AWS_CA_BUNDLE"] = str(tmp_path / "public.crt")
    with pytest.raises(StoreRefused, match=rf"cannot be trusted .*{words}.*; name .*AWS_CA_BUNDLE"):
        S3Store.from_uri("s3://bucket", environ).check_readable()


def test_a_download_over_tls_goes_on_where_the_connection_broke(https_server: MinioServer) -> None:
    data = os.urandom(5 << 20)
    environ = https_server.environ | {
        "AWS_CA_BUNDLE": str(https_server.folder / "certs" / "public.crt"),
        "AWS_REGION": "us-east-1",
    }
    bucket = https_server.make_bucket()
    S3Store.from_uri(f"s3://{bucket}", environ).write_bytes("large", data)
    # The first breaks in the handshake; after the first answer, no farewell of TLS is sent either.
    budgets = [500, 3 << 20, 2 << 20]
    with cutting(https_server.port, budgets) as port:
        environ |= {"AWS_ENDPOINT_URL": f"https://127.0.0.1:{port}"}
        assert S3Store.from_uri(f"s3://{bucket}", environ).read_bytes("large") == data
    assert budgets == []


@pytest.mark.parametrize("https", [True, False])
def test_the_wrong_scheme_is_said(
    https_server: MinioServer, minio_server: MinioServer, *, https: bool
) -> None:
    server = https_server if https else minio_server
    wrong = f"{'http' if https else 'https'}://{server.host}"
    words = "answers HTTP 400, and not in S3's words" if https else "speaks no TLS .*; .* http:// "
    with pytest.raises(StoreRefused, match=words):
        S3Store.from_uri(
            "s3://bucket", server.environ | {"AWS_ENDPOINT_URL": wrong}
        ).check_readable()


@pytest.fixture
def names_below_localhost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Resolves bucket.localhost, as RFC 6761 has it and not every system does."""
    resolve = socket.getaddrinfo

    def resolve_below_localhost(host: str, *args: Any, **kw: Any) -> Any:
        return resolve("127.0.0.1" if host.endswith(".localhost") else host, *args, **kw)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_below_localhost)


@pytest.mark.usefixtures("names_below_localhost")
@pytest.mark.parametrize(
    ("style", "host", "path"),
    [
        ("", "localhost:{port}", "/{bucket}/a/b"),
        ("path", "localhost:{port}", "/{bucket}/a/b"),
        ("virtual", "{bucket}.localhost:{port}", "/a/b"),
        ("Virtual\n", "{bucket}.localhost:{port}", "/a/b"),
    ],
)
@pytest.mark.parametrize("region", ["", "eu-central-1"])
def test_a_bucket_is_a_path_or_a_host(
    odd_server: MinioServer, style: str, host: str, path: str, region: str
) -> None:
    bucket = odd_server.make_bucket()
    with proxied(odd_server.port) as proxy:
        environ = odd_server.environ | {
            "AWS_ENDPOINT_URL": proxy.url.replace("127.0.0.1", "localhost"),
            "AWS_S3_ADDRESSING_STYLE": style,
            "AWS_REGION": region,
        }
        store = S3Store.from_uri(f"s3://{bucket}/a", environ)
        store.write_bytes("b", b"content")
        assert store.read_bytes("b") == b"content"
        assert list(store.paths()) == ["b"]
    given = {"bucket": bucket, "port": proxy.url.rpartition(":")[2]}
    [written] = proxy.of("PUT")
    assert written.headers["Host"] == host.format(**given)
    assert written.path == path.format(**given)


@pytest.mark.parametrize(
    ("style", "url", "words"),
    [
        (
            "dns",
            "http://minio:9000",
            "STYLE=dns: is no addressing style; write path or virtual",
        ),
        ("virtual", "http://10.0.0.1:9000", "an address has no names below it, as bucket.host"),
        ("virtual", "http://[fd00::1]:9000", "an address has no names below it"),
    ],
)
def test_no_style_is_refused(style: str, url: str, words: str) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": url}
    with pytest.raises(UsageError, match=words):
        S3Store.from_uri("s3://bucket", environ | {"AWS_S3_ADDRESSING_STYLE": style})


@pytest.mark.parametrize("region", ["_", "eu west"])
def test_no_region_is_refused(region: str) -> None:
    environ = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_REGION": region}
    with pytest.raises(UsageError, match="invalid region"):
        S3Store.from_uri("s3://bucket", environ)
