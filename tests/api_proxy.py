"""A proxy before the Kubernetes API server that answers some requests in its own, wrong way."""

from __future__ import annotations

import json
import socket
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import urllib3

CUT = "cut"
"""The connection is closed in mid-answer."""
GONE = "gone"
"""The answer is 200, and its first event is the error 410: so the API server itself says it."""
EMPTY = "empty"
"""The answer is 200, and ends before anything is said."""


class ApiProxy:
    """Plain HTTP in front of an API server.

    Attributes:
        watch_faults: What becomes of the next watches, each a status, CUT or GONE.
        read_faults: The same for other GETs.
        write_faults: The same for the rest.
        seen: `METHOD path?query` of every request.
    """

    def __init__(self, upstream: str, ca_file: str) -> None:
        self.watch_faults: deque[int | str] = deque()
        self.read_faults: deque[int | str] = deque()
        self.write_faults: deque[int | str] = deque()
        self.seen: list[str] = []
        self._upstream = upstream
        self._http = urllib3.PoolManager(maxsize=8, ca_certs=ca_file, retries=False)
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self) -> None:
                proxy._handle(self)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._http.clear()

    def _handle(self, request: BaseHTTPRequestHandler) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        self.seen.append(f"{request.command} {request.path}")
        watch = "watch=1" in request.path
        faults = self.watch_faults if watch else self.read_faults
        if request.command != "GET":
            faults = self.write_faults
        fault = faults.popleft() if faults else None
        if fault == CUT:
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
            return
        if fault is not None:
            status = {"kind": "Status", "code": fault, "message": "a fault of the test"}
            event = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Gone"}}
            data = json.dumps(event if fault == GONE else status).encode() + b"\n"
            if fault == EMPTY:
                data = b""
            request.send_response(200 if fault in {GONE, EMPTY} else int(fault))
            request.send_header("Content-Type", "application/json")
            request.send_header("Content-Length", str(len(data)))
            request.end_headers()
            request.wfile.write(data)
            return
        skipped = {"host", "connection", "content-length", "accept-encoding"}
        headers = {k: v for k, v in request.headers.items() if k.lower() not in skipped}
        answer = self._http.request(
            request.command,
            self._upstream + request.path,
            body=body or None,
            headers=headers,
            preload_content=False,
            redirect=False,
        )
        try:
            request.send_response(answer.status)
            request.send_header("Content-Type", answer.headers.get("Content-Type", ""))
            request.send_header("Connection", "close")
            request.end_headers()
            request.close_connection = True
            while chunk := answer.read1():
                request.wfile.write(chunk)
                request.wfile.flush()
        except (OSError, urllib3.exceptions.HTTPError):
            request.close_connection = True
        finally:
            answer.close()
