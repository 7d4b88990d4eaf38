"""A way to a MinIO on which requests fail as they do on real networks, and are counted."""

from __future__ import annotations

import http.client
import os
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

PIECE_BYTES = 64 << 10


@dataclass
class Seen:
    """A request that came by."""

    method: str
    path: str
    """With its query."""
    headers: dict[str, str]
    sent_bytes: int = 0
    """Of the request's body, as they arrived."""
    answered_bytes: int = 0
    """Of the answer's body, as they were passed on."""


@dataclass(kw_only=True)
class Fault:
    """What befalls the next `times` requests whose method and path match; of both sides bodies."""

    method: str = "GET"
    path: str = ""
    """Regular expression, searched in path and query."""
    times: int = 1
    answer: tuple[int, dict[str, str], bytes] | None = None
    """Instead of the server's; the server is not asked."""
    cut_request_at: int | None = None
    cut_answer_at: int | None = None
    """Byte at which the connection is reset."""
    flip_request_at: int | None = None
    flip_answer_at: int | None = None
    """Byte of which one bit is turned."""
    shorten_answer_by: int = 0
    """Bytes that are missing at the end, announced as if they had never been."""
    drip_seconds: float = 0
    """Pause after each byte of the answer."""
    hold_request_at: int | None = None
    """Byte at which nothing is taken any more, until the proxy's `release` is set."""


@dataclass
class Proxy:
    """Faults are taken in their order, each as often as it says."""

    url: str
    seen: list[Seen] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    holding: threading.Event = field(default_factory=threading.Event)
    """Set when a request is held."""
    release: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, method: str, path: str = "") -> list[Seen]:
        """The requests of one method whose path and query match the regular expression."""
        return [s for s in self.seen if s.method == method and re.search(path, s.path)]

    def take(self, seen: Seen) -> Fault:
        """The fault that befalls a request, one without effect where there is none."""
        with self.lock:
            self.seen.append(seen)
            for fault in self.faults:
                if fault.times and fault.method == seen.method and re.search(fault.path, seen.path):
                    fault.times -= 1
                    return fault
        return Fault()


@contextmanager
def proxied(port: int) -> Iterator[Proxy]:
    """A proxy in front of the server at 127.0.0.1:port."""
    open_connections: list[socket.socket] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            open_connections.append(self.connection)

        def relay(self) -> None:
            seen = Seen(self.command, self.path, dict(self.headers.items()))
            fault = proxy.take(seen)
            server = http.client.HTTPConnection("127.0.0.1", port)
            # A connection that breaks, on either side, breaks on both.
            try:
                with suppress(OSError, http.client.HTTPException):
                    self._relay(fault, seen, server)
                    return
                self._reset()
            finally:
                server.close()

        do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = relay  # noqa: N815

        def _relay(self, fault: Fault, seen: Seen, server: http.client.HTTPConnection) -> None:
            if fault.answer is None:
                server.putrequest(
                    self.command, self.path, skip_host=True, skip_accept_encoding=True
                )
                for name, value in self.headers.items():
                    server.putheader(name, value)
                server.endheaders()
            left = int(self.headers.get("Content-Length", 0))
            stops = sorted(
                {0, left}
                | {
                    at
                    for at in (fault.cut_request_at, fault.hold_request_at)
                    if at is not None and at < left
                }
            )
            for start, end in pairwise(stops):
                if start:
                    self._stop(fault, start)
                while seen.sent_bytes < end:
                    piece = self.rfile.read(min(PIECE_BYTES, end - seen.sent_bytes))
                    if not piece:
                        raise ConnectionError
                    if fault.answer is None:
                        server.send(_flipped(piece, fault.flip_request_at, seen.sent_bytes))
                    seen.sent_bytes += len(piece)
            if fault.answer:
                self._answer(fault, seen, *fault.answer)
                return
            response = server.getresponse()
            headers = {
                name: value
                for name, value in response.getheaders()
                if name not in {"Connection", "Transfer-Encoding"}
            }
            body = response.read()
            self._answer(fault, seen, response.status, headers, body)

        def _stop(self, fault: Fault, at: int) -> None:
            if at == fault.cut_request_at:
                raise ConnectionError
            proxy.holding.set()
            proxy.release.wait()
            # Who is dead by then has sent no more than was taken.
            with suppress(BlockingIOError):
                if not self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                    raise ConnectionError

        def _answer(
            self, fault: Fault, seen: Seen, status: int, headers: dict[str, str], body: bytes
        ) -> None:
            body = _flipped(body, fault.flip_answer_at, 0)
            body = body[: len(body) - fault.shorten_answer_by]
            if self.command == "HEAD":
                body = b""
            else:
                headers = headers | {"Content-Length": str(len(body))}
            self.send_response_only(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            cut_at = fault.cut_answer_at
            size = 1 if fault.drip_seconds else PIECE_BYTES
            end = len(body) if cut_at is None else cut_at
            for start in range(0, end, size):
                self.wfile.write(body[start : min(start + size, end)])
                seen.answered_bytes = min(start + size, end)
                if fault.drip_seconds:
                    time.sleep(fault.drip_seconds)
            if cut_at is not None:
                raise ConnectionError

        def _reset(self) -> None:
            self.close_connection = True
            with suppress(OSError):
                # What was sent arrives first; then both sides learn at once, without a farewell.
                time.sleep(0.05)
                linger = struct.pack("ii", 1, 0)
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                os.close(self.connection.detach())

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing of clients that have gone."""

    with Server(("127.0.0.1", 0), Handler) as server:
        proxy = Proxy(f"http://127.0.0.1:{server.server_port}")
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        try:
            yield proxy
        finally:
            proxy.release.set()
            server.shutdown()
            serving.join()
            for connection in open_connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _flipped(data: bytes, at: int | None, start: int) -> bytes:
    """Data from byte `start` of a body on, with a bit of the body's byte `at` turned."""
    if at is None or not start <= at < start + len(data):
        return data
    turned = bytearray(data)
    turned[at - start] ^= 1
    return bytes(turned)


@contextmanager
def cutting(
    port: int, budgets: list[int], *, after_cut: Callable[[], object] = lambda: None
) -> Iterator[int]:
    """The port of a way to a server that breaks each connection after so many answered bytes.

    It knows nothing of HTTP, so it serves for TLS too. Once the budgets are used up, no connection
    breaks.
    """
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
        yield listener.getsockname()[1]
        for end in (listener, *ends):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        thread.join()
