"""The HTTP client under S3: how long it waits, what it asks again, whom it never reaches.

minio-py's own client retries without jitter, waits five minutes for a dead host and follows
redirects. And urllib3 sends a request's body in one call under the *connect* timeout: with the
few seconds in which a live host accepts a connection, every 64 MiB part of an upload would need
100 Mbit/s to itself.
"""

from __future__ import annotations

from typing import Any

import urllib3
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    retry_if_result,
    stop_after_delay,
    wait_random_exponential,
)
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, IncompleteRead, ProtocolError, ReadTimeoutError
from urllib3.util import Timeout

from yololine.storage.endpoint import refuse_metadata_host

CONNECT_SECONDS = 5
IDLE_SECONDS = 60
"""How long a transfer may stand still, in either direction."""
FIRST_ANSWER_SECONDS = 10
"""How long to wait for the answer to a first question, which is a small one."""
FIRST_PATIENCE_SECONDS = 8
"""After this, a host that has never answered is not asked again: with one more connection or
answer under way by then, a wrong address is reported within about 15 s."""
PATIENCE_SECONDS = 120
"""The same for a host that has answered before: a store's pod is back a minute after it went."""
SLICE_BYTES = 1 << 20

TRANSIENT = (ConnectTimeoutError, ReadTimeoutError, ProtocolError, IncompleteRead)
"""urllib3's errors after which the same request may succeed."""
_TRANSIENT_STATUS = {429, 500, 502, 503, 504}


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

        Returns the last answer, of whatever status; raises urllib3's error where there was none.
        """
        patience_seconds = PATIENCE_SECONDS if self._answered else FIRST_PATIENCE_SECONDS
        asking = Retrying(
            retry=retry_if_exception_type(TRANSIENT)
            | retry_if_result(lambda response: response.status in _TRANSIENT_STATUS),
            stop=stop_after_delay(patience_seconds),
            wait=wait_random_exponential(multiplier=0.2, max=min(10, patience_seconds / 4)),
            before_sleep=_release,
            retry_error_callback=_last_answer,
        )
        # No redirects: the signature is for this host alone, and nobody vetted the next one.
        return asking(self._once, method, url, **{**kw, "redirect": False})

    def _once(self, method: str, url: str, **kw: Any) -> urllib3.BaseHTTPResponse:
        first = not self._answered and not kw.get("body")
        timeout = Timeout(
            connect=CONNECT_SECONDS, read=FIRST_ANSWER_SECONDS if first else IDLE_SECONDS
        )
        response = super().urlopen(method, url, timeout=timeout, **kw)
        if response.status not in _TRANSIENT_STATUS:
            self._answered = True
        return response


class _Connection(HTTPConnection):
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
        for start in range(0, len(view), SLICE_BYTES):
            super().send(view[start : start + SLICE_BYTES])


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
