"""From one version to the next under load: `python benchmarks/serving_rollover.py`.

Two versions are served in turn behind a small switch, as a cluster's endpoints are: the next one
starts beside the previous; once it is ready, the previous is told to stop (SIGTERM) and, a while
later, for endpoints are slow, new connections go to the next. The previous drains meanwhile. 8
clients keep asking. Asserted: no request fails, and all of both versions' answers are right.
"""

from __future__ import annotations

import argparse
import json
import socket
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from serving_load import Connection, request
from serving_model import Server, free_port

from tests.serving.models import NAME, bright_model, register_model
from tests.serving.pictures import JPEG


class Switch:
    """Hands each connection on to one port, which may be changed."""

    def __init__(self, port: int) -> None:
        self.to_port = port
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near, _ = self._listener.accept()
            far = socket.create_connection(("127.0.0.1", self.to_port))
            for a, b in ((near, far), (far, near)):
                threading.Thread(target=self._hand_on, args=(a, b), daemon=True).start()

    def _hand_on(self, source: socket.socket, to: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                to.sendall(data)
            to.shutdown(socket.SHUT_WR)
        except OSError:
            to.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rollovers", type=int, default=6)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--drain-seconds", type=float, default=3)
    parser.add_argument("--endpoint-seconds", type=float, default=1, help="after SIGTERM")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(wanted, Path(folder))


def run(wanted: argparse.Namespace, work: Path) -> None:
    model = bright_model(work / "model.onnx", matrices=1)
    versions = [register_model(work / "store", model, key=f"{digit}" * 64) for digit in (1, 2)]
    folders = [work / "store" / version.folder for version in versions]

    def start(folder: Path) -> Server:
        port = free_port()
        command = [sys.executable, "-m", "yololine.serving", "--model-dir", str(folder)]
        command += ["--host", "127.0.0.1", "--http-port", str(port), "--grpc-port", "0"]
        command += ["--drain-seconds", str(wanted.drain_seconds), "--log-level", "WARNING"]
        server = Server(command, port=port, ready_path="/v2/health/ready")
        server.wait_ready()
        return server

    serving = start(folders[0])
    switch = Switch(serving.port)
    done = threading.Event()
    counts: Counter[str] = Counter()
    raw = request(f"/v1/models/{NAME}:predict", JPEG, content_type="image/jpeg")

    def ask() -> None:
        connection = Connection(switch.port)
        while not done.is_set():
            try:
                status, body = connection.ask(raw)
            except OSError as error:
                counts[f"failed: {error}"] += 1
                continue
            told = json.loads(body)
            if status != 200 or len(told["predictions"][0]["scores"]) != 2:
                counts[f"failed: {status} {told}"] += 1
            else:
                counts[told["model_version"]] += 1

    threads = [threading.Thread(target=ask) for _ in range(wanted.clients)]
    for thread in threads:
        thread.start()
    for number in range(wanted.rollovers):
        time.sleep(1)
        following = start(folders[(number + 1) % 2])
        stopping = threading.Thread(target=serving.stop)
        stopping.start()
        time.sleep(wanted.endpoint_seconds)
        switch.to_port = following.port
        stopping.join()
        assert serving.process.returncode == 0, serving.log
        serving = following
        print(f"rollover {number + 1}: {dict(counts)}", flush=True)
    done.set()
    for thread in threads:
        thread.join()
    serving.stop()
    failed = {words: count for words, count in counts.items() if words.startswith("failed")}
    print(f"{sum(counts.values())} requests, {sum(failed.values())} failed")
    assert not failed, failed


if __name__ == "__main__":
    main()
