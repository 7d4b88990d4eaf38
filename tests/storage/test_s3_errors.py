"""Each refusal of a store, and of what is taken for one, in words a person can act on."""

from __future__ import annotations

import io
import logging
import socket
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from tests.storage.proxy import Fault, proxied
from yololine.errors import StoreError, StoreRefused, StoreUnavailable
from yololine.storage import http as s3_http
from yololine.storage.s3 import S3Store

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
            "cannot be found: no host is named 'no-such-host.invalid'; correct AWS_ENDPOINT_URL",
            id="host name",
        ),
        pytest.param(
            {"AWS_ENDPOINT_URL": "https://{host}"},
            "s3://{bucket}",
            StoreRefused,
            "cannot be trusted or speaks no TLS (wrong version number); name the file",
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


@pytest.mark.parametrize("minutes", [-20, 20, 24 * 60])
@pytest.mark.parametrize("region", ["", "us-east-1"])
def test_a_wrong_clock_is_said(
    minio_server: MinioServer,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    minutes: int,
    region: str,
) -> None:
    wrong = timedelta(minutes=minutes)
    monkeypatch.setattr("minio.time.utcnow", lambda: datetime.now(UTC) + wrong)
    store = S3Store.from_uri(f"s3://{bucket}", minio_server.environ | {"AWS_REGION": region})
    for use in (store.check_readable, lambda: store.read_bytes("a"), lambda: store.exists("a")):
        with pytest.raises(StoreRefused) as refused:
            use()
        assert f"wrong time, and the clocks differ by {abs(minutes)} minutes" in str(refused.value)
        assert "set this machine's clock, or the store's, by NTP" in str(refused.value)


PERMANENT_REDIRECT = b"<Error><Code>PermanentRedirect</Code><Message>Elsewhere</Message></Error>"
PAGE = {"Content-Type": "text/html; charset=utf-8"}
XML = {"Content-Type": "application/xml"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        pytest.param(
            (200, PAGE | {"Server": "Portal"}, b"<html>Log in</html>"),
            "answers with a web page (of Portal): it is no S3 service; write the S3 API's own",
            id="login page",
        ),
        pytest.param(
            (302, PAGE | {"Location": "https://login.example/?token=secret"}, b"<html>"),
            "redirects to https://login.example: it is no S3 service",
            id="redirect",
        ),
        pytest.param(
            (403, PAGE, b"<html>Blocked</html>"), "answers HTTP 403, and not in", id="firewall"
        ),
        pytest.param((404, {}, b""), "answers HTTP 404, and not in S3's words", id="other server"),
        pytest.param(
            (200, XML, b"<?xml version='1.0'?><status>fine</status>"),
            "lists the bucket in something else than S3's XML: it is no S3 service",
            id="other XML",
        ),
        pytest.param(
            (200, {"Content-Type": "application/json"}, b"{}"),
            "S3's ",
            id="JSON",
        ),
        pytest.param(
            (200, XML, b"<ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'><Cont"),
            "does not answer in S3's words; write the S3 API's own address",
            id="XML cut short",
        ),
        pytest.param(
            (301, XML | {"x-amz-bucket-region": "eu-west-1"}, PERMANENT_REDIRECT),
            "has this bucket in eu-west-1; set AWS_REGION=eu-west-1",
            id="other region",
        ),
        pytest.param(
            (301, XML, PERMANENT_REDIRECT),
            "has this bucket in another region; set AWS_REGION to that region",
            id="unnamed region",
        ),
    ],
)
def test_what_is_no_s3_service_is_said(
    minio_server: MinioServer,
    bucket: str,
    answer: tuple[int, dict[str, str], bytes],
    words: str,
) -> None:
    with proxied(minio_server.port) as proxy:
        proxy.faults = [Fault(method=m, times=99, answer=answer) for m in ("GET", "HEAD", "PUT")]
        environ = minio_server.environ | {"AWS_ENDPOINT_URL": proxy.url}
        asking = S3Store.from_uri(f"s3://{bucket}", environ)
        telling = S3Store.from_uri(f"s3://{bucket}", environ | {"AWS_REGION": "us-east-1"})
        for store in (asking, telling):
            with pytest.raises(StoreRefused) as refused:
                store.check_readable()
            assert words in str(refused.value)
            assert "token" not in str(refused.value)
            # Whatever comes, it is taken for no object.
            with pytest.raises(StoreError):
                store.read_bytes("a")
            with pytest.raises(StoreError):
                store.write_bytes("a", b"")
            if answer[0] != 404:
                with pytest.raises(StoreError):
                    store.size_bytes("a")


def test_a_server_may_tell_its_region_in_words_of_its_own(
    minio_server: MinioServer, bucket: str
) -> None:
    """As SeaweedFS does, the store of a stock Kubeflow."""
    answer = (
        b"<?xml version='1.0' encoding='UTF-8'?><CreateBucketConfiguration><LocationConstraint "
        b"xmlns='http://s3.amazonaws.com/doc/2006-03-01/'></LocationConstraint>"
        b"</CreateBucketConfiguration>"
    )
    with proxied(minio_server.port) as proxy:
        proxy.faults = [Fault(path="location=", answer=(200, XML, answer))]
        store = S3Store.from_uri(
            f"s3://{bucket}", minio_server.environ | {"AWS_ENDPOINT_URL": proxy.url}
        )
        store.check_readable()
        store.check_writable()
        assert len(proxy.of("GET", "location=")) == 1


def test_a_stored_web_page_is_an_object(minio_server: MinioServer, bucket: str) -> None:
    minio_server.client.put_object(
        bucket_name=bucket,
        object_name="page.html",
        data=io.BytesIO(b"<html>"),
        length=6,
        content_type="text/html",
    )
    store = S3Store.from_uri(f"s3://{bucket}", minio_server.environ)
    assert store.read_bytes("page.html") == b"<html>"
    assert store.size_bytes("page.html") == 6


@pytest.mark.parametrize("region", ["", "eu-central-1"])
def test_the_console_s_port_is_said(odd_server: MinioServer, region: str) -> None:
    url = f"http://127.0.0.1:{odd_server.console_port}"
    store = S3Store.from_uri(
        "s3://bucket", odd_server.environ | {"AWS_ENDPOINT_URL": url, "AWS_REGION": region}
    )
    for use in (store.check_readable, store.check_writable, lambda: store.read_bytes("a")):
        with pytest.raises(StoreRefused, match=r"is at port 9000, its web console at 9001"):
            use()


def test_another_region_is_named(odd_server: MinioServer) -> None:
    bucket = odd_server.make_bucket()
    wrong = S3Store.from_uri(f"s3://{bucket}", odd_server.environ | {"AWS_REGION": "us-east-1"})
    for use in (wrong.check_readable, wrong.check_writable, lambda: wrong.read_bytes("a")):
        with pytest.raises(StoreRefused, match="in eu-central-1; set AWS_REGION=eu-central-1"):
            use()
    S3Store.from_uri(f"s3://{bucket}", odd_server.environ).check_writable()


@contextmanager
def _silent(*, accepts: bool) -> Iterator[str]:
    """The address of a host that accepts connections and says nothing, or does not even accept."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        while not accepts:  # until what may wait to be accepted is full
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(listener.getsockname())
            except TimeoutError:
                break
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.mark.usefixtures("impatient")
def test_a_connection_that_breaks_is_said(minio_server: MinioServer, bucket: str) -> None:
    with proxied(minio_server.port) as proxy:
        store = S3Store.from_uri(
            f"s3://{bucket}",
            minio_server.environ | {"AWS_ENDPOINT_URL": proxy.url, "AWS_REGION": "us-east-1"},
        )
        proxy.faults = [Fault(method="PUT", cut_request_at=1)]
        with pytest.raises(StoreUnavailable, match=r"broke the connection.*; check AWS_ENDPOINT"):
            store.write_bytes("a", b"content")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("accepts", "words"),
    [(False, "accepts no connection"), (True, "accepts connections and does not answer")],
)
def test_a_host_that_is_silent_is_given_up(
    monkeypatch: pytest.MonkeyPatch, *, accepts: bool, words: str
) -> None:
    monkeypatch.setattr(s3_http, "CONNECT_SECONDS", 0.3)
    monkeypatch.setattr(s3_http, "FIRST_ANSWER_SECONDS", 0.3)
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    with _silent(accepts=accepts) as url:
        store = S3Store.from_uri("s3://bucket", keys | {"AWS_ENDPOINT_URL": url})
        with pytest.raises(StoreUnavailable, match=rf"{words}; check AWS_ENDPOINT_URL"):
            store.check_readable()
