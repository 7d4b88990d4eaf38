"""Requests that nobody means: `python benchmarks/fuzz_server.py --requests 10000 --seed 1`.

They go to a real predictor, each over a connection of its own. Asserted: no answer of 500 and
above, none that takes a minute, no crash, and good requests are answered behind them.
A request that is found to be at fault is written to `fuzz-*.bin`, and can be sent again with `nc`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from serving_load import Connection, request
from serving_model import Server, free_port

from tests.serving import fuzzing
from tests.serving.models import NAME, bright_model, register_model
from tests.serving.pictures import JPEG, encoded

LIMIT_SECONDS = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clients", type=int, default=8)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        # Damage may make any picture, a white one too: the model bears them all.
        version = register_model(work / "store", bright_model(work / "model.onnx", most=2))
        port = free_port()
        command = [sys.executable, "-m", "yololine.serving", "--host", "127.0.0.1"]
        command += ["--model-dir", str(work / "store" / version.folder), "--http-port", str(port)]
        # Below what the clients send at once: none is told to come back.
        command += ["--grpc-port", "0", "--drain-seconds", "0", "--log-level", "ERROR"]
        with Server(command, port=port, ready_path="/v2/health/ready") as server:
            server.wait_ready()
            fuzz(wanted, port)
            assert server.process.poll() is None, server.log
            good = request(f"/v1/models/{NAME}:predict", JPEG, content_type="image/jpeg")
            assert Connection(port).ask(good)[0] == 200
            code = server.stop()
            assert code == 0, (code, server.log)


def fuzz(wanted: argparse.Namespace, port: int) -> None:
    pictures = [JPEG, *(encoded(kind=kind) for kind in ("PNG", "BMP", "WEBP", "TIFF"))]
    many = fuzzing.requests(pictures, seed=wanted.seed, count=wanted.requests)
    slowest = 0.0

    def send(one: fuzzing.Request) -> tuple[int, float]:
        started = time.perf_counter()
        status = fuzzing.send(one, port, timeout_seconds=LIMIT_SECONDS)
        if status >= 500:
            Path(f"fuzz-{status}-{wanted.seed}.bin").write_bytes(one.bytes_of_it())
        return status, time.perf_counter() - started

    started = time.perf_counter()
    counts: Counter[int] = Counter()
    with ThreadPoolExecutor(wanted.clients) as pool:
        for status, seconds in pool.map(send, many):
            counts[status] += 1
            slowest = max(slowest, seconds)
    print(f"statuses (0: only hung up): {dict(sorted(counts.items()))}")
    print(f"in {time.perf_counter() - started:.0f} s, the slowest in {slowest:.2f} s")
    assert not [status for status in counts if status >= 500], "a fault of the server"


if __name__ == "__main__":
    main()
