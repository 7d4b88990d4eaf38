"""A light client: some connections that each send one request after another, read from stdin.

It builds and parses next to nothing, for it runs on the cores of the server it measures.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import threading
import time


def request(
    path: str, body: bytes, *, content_type: str, accept: str = "application/json"
) -> bytes:
    """A POST over a connection that stays open."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {content_type}\r\n"
        f"Accept: {accept}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Connection:
    """One connection of HTTP/1.1, opened again when the server has ended it."""

    def __init__(self, port: int, *, timeout_seconds: float = 120) -> None:
        self._port = port
        self._timeout_seconds = timeout_seconds
        self._socket: socket.socket | None = None

    def ask(self, raw: bytes) -> tuple[int, bytes]:
        """Status and body of the answer.

        Raises:
            ConnectionError: There was none.
        """
        if not self._socket:
            address = ("127.0.0.1", self._port)
            self._socket = socket.create_connection(address, timeout=self._timeout_seconds)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._socket.sendall(raw)
            return self._answer()
        except OSError:
            self.close()
            raise

    def _answer(self) -> tuple[int, bytes]:
        assert self._socket
        told = b""
        while b"\r\n\r\n" not in told:
            chunk = self._socket.recv(262144)
            if not chunk:
                raise ConnectionError("the server hung up")
            told += chunk
        head, _, body = told.partition(b"\r\n\r\n")
        lines = head.lower().split(b"\r\n")
        headers = dict(line.split(b": ", 1) for line in lines[1:] if b": " in line)
        if b"content-length" in headers:
            length = int(headers[b"content-length"])
            while len(body) < length:
                chunk = self._socket.recv(262144)
                if not chunk:
                    raise ConnectionError("the server hung up")
                body += chunk
        elif headers.get(b"transfer-encoding") == b"chunked":
            while not body.endswith(b"0\r\n\r\n"):
                body += self._socket.recv(262144)
        if headers.get(b"connection") == b"close":
            self.close()
        return int(lines[0].split()[1]), body

    def close(self) -> None:
        """End it."""
        if self._socket:
            self._socket.close()
            self._socket = None


def main() -> None:
    """Print what was seen, as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20)
    wanted = parser.parse_args()
    raw = sys.stdin.buffer.read()
    until = time.perf_counter() + wanted.seconds
    milliseconds: list[float] = []
    failed: list[str] = []

    def run() -> None:
        connection = Connection(wanted.port)
        while (started := time.perf_counter()) < until:
            try:
                status, body = connection.ask(raw)
            except OSError as error:
                failed.append(str(error))
                continue
            if status != 200:
                failed.append(f"{status}: {body[:200]!r}")
                continue
            milliseconds.append((time.perf_counter() - started) * 1000)

    threads = [threading.Thread(target=run) for _ in range(wanted.clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    ordered = sorted(milliseconds) or [float("nan")]
    seen = {
        "requests": len(milliseconds),
        "per_second": len(milliseconds) / seconds,
        "p50_ms": ordered[len(ordered) // 2],
        "p99_ms": ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))],
        "failed": len(failed),
        "first_failure": failed[0] if failed else None,
    }
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
