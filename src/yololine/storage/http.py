"""The HTTP client under S3: how long it waits, what it asks again, whom it never reaches.

minio-py's own client retries without jitter, waits five minutes for a dead host and follows
redirects. And urllib3 sends a request's body in one call under the *connect* timeout: with the
few seconds in which a live host accepts a connection, every part of an upload would need 30 Mbit/s
to itself.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import re
import socket
import ssl
import time
from base64 import b64encode
from typing import Any
from urllib.parse import urlsplit

import urllib3
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    retry_if_result,
    stop_after_delay,
    wait_random_exponential,
)
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    IncompleteRead,
    ProtocolError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Timeout

from yololine.storage.endpoint import refuse_metadata_host

CONNECT_SECONDS = 5
IDLE_SECONDS = 60
LEAST_BYTES = 256 << 10
"""What a transfer must move in IDLE_SECONDS, in either direction: 4 KiB a second.

A time limit on each read or write alone is met for ever by a server that drips a byte now and then.
"""
FINISH_SECONDS = 600
"""How long the answer to a PUT, POST or DELETE may drip: S3 sends blanks while it joins parts."""
FIRST_ANSWER_SECONDS = 10
"""How long to wait for the answer to a first question, which is a small one."""
FIRST_PATIENCE_SECONDS = 8
"""After this, a host that has never answered is not asked again: with one more connection or
answer under way by then, a wrong address is reported within about 15 s."""
PATIENCE_SECONDS = 120
"""The same for a host that has answered before: a store's pod is back a minute after it went."""

_TRANSIENT = (ConnectTimeoutError, ReadTimeoutError, ProtocolError, IncompleteRead)
_TRANSIENT_STATUS = {429, 500, 502, 503, 504}
_LISTING = re.compile(rb"<ListBucketResult[ />]")
"""The root element of S3's answer to `list-type=2`; other answers' differ from server to server."""


class Stalled(TimeoutError):
    """Less than LEAST_BYTES moved in IDLE_SECONDS."""


class NotS3(HTTPError):
    """What answers is no S3 service; the text says what it does instead."""


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed after this error of urllib3."""
    # Over TLS, a connection that is cut is not told from one that was never good, but by its cause.
    if isinstance(error, SSLError):
        return isinstance(error.args[0], ssl.SSLEOFError | ssl.SSLZeroReturnError)
    return isinstance(error, _TRANSIENT)


class S3Http(urllib3.PoolManager):
    """Connections to one S3 service, safe to share between threads."""

    def __init__(self, *, connections: int, ca_file: str) -> None:
        super().__init__(
            maxsize=connections, cert_reqs="CERT_REQUIRED", ca_certs=ca_file, retries=False
        )
        self.pool_classes_by_scheme = {"http": _Pool, "https": _TLSPool}
        self._answered = False

    def urlopen(  # type: ignore[override]
        self, method: str, url: str, **kw: Any
    ) -> urllib3.BaseHTTPResponse:
        """One request, repeated with growing, random waits while the trouble may pass.

        Returns the last answer, of whatever status.

        Raises:
            NotS3: It is not of an S3 service.
            HTTPError: There was none.
        """
        patience_seconds = PATIENCE_SECONDS if self._answered else FIRST_PATIENCE_SECONDS
        asking = Retrying(
            retry=retry_if_exception(is_transient)
            | retry_if_result(lambda response: response.status in _TRANSIENT_STATUS),
            stop=stop_after_delay(patience_seconds),
            wait=wait_random_exponential(multiplier=0.2, max=min(10, patience_seconds / 4)),
            before_sleep=_release,
            retry_error_callback=_last_answer,
        )
        # minio-py sends a sha256 over http alone, and not every server holds content against it.
        if kw.get("body"):
            md5 = hashlib.md5(kw["body"], usedforsecurity=False).digest()
            kw["headers"] = {**kw.get("headers", {}), "Content-MD5": b64encode(md5).decode()}
        # No redirects: the signature is for this host alone, and nobody vetted the next one.
        response: urllib3.BaseHTTPResponse = asking(
            self._once, method, url, **{**kw, "redirect": False}
        )
        try:
            _check_is_s3(method, url, response)
        except NotS3:
            response.close()
            raise
        return response

    def _once(self, method: str, url: str, **kw: Any) -> urllib3.BaseHTTPResponse:
        first = not self._answered and not kw.get("body")
        timeout = Timeout(
            connect=CONNECT_SECONDS, read=FIRST_ANSWER_SECONDS if first else IDLE_SECONDS
        )
        response = super().urlopen(method, url, timeout=timeout, **kw)
        if response.status not in _TRANSIENT_STATUS:
            self._answered = True
        return response


def _check_is_s3(method: str, url: str, response: urllib3.BaseHTTPResponse) -> None:
    """Raise NotS3 for what a login page, a web console or another service answers.

    Only where the S3 client would not notice: a page is taken for an object's content, and XML of
    another kind for an empty listing. Other refusals it reports with their status.
    """
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    where = response.headers.get("Location")
    if 300 <= response.status < 400 and where and not kind.endswith("xml"):
        host = urlsplit(where)
        raise NotS3(f"redirects to {host.scheme}://{host.hostname}" if host.netloc else "redirects")
    if not 200 <= response.status < 300:
        return
    # Stored pages are told from a website's by the id that S3 gives each answer.
    if kind == "text/html" and "x-amz-request-id" not in response.headers:
        server = response.headers.get("Server", "")
        raise NotS3(f"answers with a web page{f' (of {server})' if server else ''}")
    listed = method == "GET" and "list-type=2" in urlsplit(url).query
    if listed and not _LISTING.search(response.data[:1000]):
        raise NotS3("lists the bucket in something else than S3's XML")


class _Paced(io.RawIOBase):
    """What a connection receives, refused with Stalled where it comes too slowly.

    Counted is the time in which more is waited for, from the first bytes on: until then the
    connection's own time limit holds, and a caller that is slow to read is no slow server.
    """

    def __init__(self, received: io.RawIOBase, window_seconds: float) -> None:
        self._received = received
        self._window_seconds = window_seconds
        self._waited_seconds = 0.0
        self._moved_bytes: int | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        began = time.monotonic()
        count = self._received.readinto(buffer)
        if self._moved_bytes is None:
            self._moved_bytes = 0
            return count
        self._waited_seconds += time.monotonic() - began
        self._moved_bytes += count or 0
        if self._waited_seconds >= self._window_seconds:
            if count and self._moved_bytes < LEAST_BYTES:
                raise Stalled
            self._waited_seconds, self._moved_bytes = 0.0, 0
        return count

    def close(self) -> None:
        self._received.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(
        self, sock: socket.socket, debuglevel: int = 0, method: str | None = None, **kw: Any
    ) -> None:
        super().__init__(sock, debuglevel, method, **kw)
        window_seconds = IDLE_SECONDS if method in {"GET", "HEAD"} else FINISH_SECONDS
        self.fp = io.BufferedReader(_Paced(self.fp.detach(), window_seconds))


class _Connection(HTTPConnection):
    response_class = _Response

    def connect(self) -> None:
        super().connect()
        # Asked of the connection, not of the name: a name may be resolved twice, differently.
        try:
            refuse_metadata_host(self.sock.getpeername()[0])
        except BaseException:
            self.close()
            raise

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        self.sock.settimeout(IDLE_SECONDS)
        view = memoryview(data)
        for start in range(0, len(view), LEAST_BYTES):
            try:
                super().send(view[start : start + LEAST_BYTES])
            except TimeoutError as error:
                raise Stalled from error


class _TLSConnection(_Connection, HTTPSConnection):
    pass


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


def _release(state: RetryCallState) -> None:
    if state.outcome and not state.outcome.failed:
        state.outcome.result().drain_conn()
        state.outcome.result().release_conn()


def _last_answer(state: RetryCallState) -> urllib3.BaseHTTPResponse:
    assert state.outcome is not None  # tenacity calls this after an attempt
    response: urllib3.BaseHTTPResponse = state.outcome.result()
    return response
