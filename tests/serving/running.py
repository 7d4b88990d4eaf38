"""A predictor as its container runs it: a process of its own, read by its log."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

import httpx

WAIT_SECONDS = 60


class Running:
    """A predictor that was started; a context manager that ends it."""

    def __init__(self, folder: Path, *options: str, environ: dict[str, str] | None = None) -> None:
        """Start one on free ports.

        Args:
            folder: Of the version.
            options: More of the command's.
            environ: Variables beside this process's.
        """
        command = [sys.executable, "-W", "error::RuntimeWarning", "-m", "yololine.serving"]
        command += ["--host", "127.0.0.1", "--http-port", "0", "--grpc-port", "0"]
        command += ["--model-dir", str(folder), "--drain-seconds", "0", *options]
        self.process = subprocess.Popen(
            command,
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **(environ or {})},
        )
        self.lines: list[str] = []
        self._events: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.http_port = self.grpc_port = 0

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line)
            try:
                self._events.put(json.loads(line))
            except json.JSONDecodeError:
                continue
        self._events.put(None)

    def wait_for(self, message: str) -> dict[str, Any]:
        """The next event of this name in its log."""
        while event := self._events.get(timeout=WAIT_SECONDS):
            if event["message"] == message:
                return event
        raise AssertionError(f"it ended before {message!r}:\n{''.join(self.lines)}")

    def ready(self) -> Self:
        """Return once it is."""
        self.listening()
        self.wait_for("ready")
        return self

    def listening(self) -> Self:
        """Return once it listens, be the model loaded or not."""
        event = self.wait_for("listening")
        self.http_port, self.grpc_port = event["http_port"], event["grpc_port"]
        return self

    @property
    def url(self) -> str:
        """Of HTTP."""
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def grpc_address(self) -> str:
        """Of gRPC."""
        return f"127.0.0.1:{self.grpc_port}"

    def client(self, **options: Any) -> httpx.Client:
        """For HTTP; of every answer a test can see that it came."""
        return httpx.Client(base_url=self.url, timeout=WAIT_SECONDS, **options)

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Its exit code, once it ended."""
        try:
            code = self.process.wait(WAIT_SECONDS)
        finally:
            self.process.kill()
        self._reader.join()
        return code

    @property
    def log(self) -> str:
        """All it wrote so far."""
        return "".join(self.lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        assert self.process.stderr
        assert self.process.stdout
        self.process.stderr.close()
        self.process.stdout.close()
