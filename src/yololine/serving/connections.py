"""Connections: how large the head of a request may be, and how slow.

uvicorn waits for a head as long as its sender likes, and keeps all that comes of it.
"""

from __future__ import annotations

import asyncio
import logging

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from yololine.serving import metrics
from yololine.serving.documents import dump
from yololine.serving.logs import event

MAX_HEAD_BYTES = 64 * 2**10
"""Of the request line and the headers; what Envoy lets through is less."""
HEAD_SECONDS = 10.0
"""From its first byte to its last."""

LAST_REQUEST_SECONDS = 0.5
"""For the first request of a connection that was there before the server stopped listening: a
sender that is cut off cannot tell whether it was heard."""


class Connection(HttpToolsProtocol):
    """One of uvicorn's that ends with a head that is too large or too slow."""

    _shutting_down = False
    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a first request no longer than for any other."""
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(
            self.timeout_keep_alive, self.timeout_keep_alive_handler
        )

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._unset_keepalive_if_required()
        self._head_ended()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, and hold a head that goes on for too long against the limits."""
        if not self._head_timer and (self.cycle is None or self.cycle.response_complete):
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        if self._head_timer:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_timer and self._head_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large", head_too_large())

    def on_headers_complete(self) -> None:
        """The head is there."""
        self._head_ended()
        super().on_headers_complete()

    def shutdown(self) -> None:
        """End it behind its answer; give what was just opened the time to ask."""
        if self.cycle is None and not self._shutting_down:
            self._shutting_down = True
            self.loop.call_later(LAST_REQUEST_SECONDS, self.shutdown)
            return
        super().shutdown()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP in the form of every other refusal."""
        self._refuse(b"400 Bad Request", f"request: is no HTTP ({msg.rstrip('.')}); mend it")

    def _head_ended(self) -> None:
        if self._head_timer:
            self._head_timer.cancel()
        self._head_timer = None
        self._head_bytes = 0

    def _head_is_late(self) -> None:
        self._refuse(
            b"408 Request Timeout",
            f"headers: did not arrive in {HEAD_SECONDS:g} seconds; send them faster",
        )

    def _refuse(self, status: bytes, reason: str) -> None:
        self._head_ended()
        if self.transport.is_closing():
            return
        body = dump({"error": reason})
        self.transport.write(
            b"HTTP/1.1 %s\r\ncontent-type: application/json\r\ncontent-length: %d\r\n"
            b"connection: close\r\n\r\n%s" % (status, len(body), body)
        )
        self.transport.close()
        code = status[:3].decode()
        metrics.REQUESTS.labels("other", code).inc()
        event("request", level=logging.INFO, status=int(code), reason=reason)


def head_too_large() -> str:
    """Words for a head above the limit."""
    return f"headers: are larger than {MAX_HEAD_BYTES} bytes; send fewer or shorter ones"
