"""A detector for the benchmarks of serving, and a predictor that serves it."""

from __future__ import annotations

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parents[1]
NAME = "steel"
"""As in tests/serving, whose bad requests go to a model of this name."""


def make_weights(file: Path, *, seed: int = 0) -> Path:
    """yolo11n with its 80 classes and random weights: as much work as trained ones."""
    import torch

    from yololine.detector import ultralytics as _  # noqa: F401  # off line

    torch.manual_seed(seed)
    from ultralytics import YOLO

    YOLO("yolo11n.yaml", verbose=False).save(str(file))
    return file


def make_version(store: Path, weights: Path, *, image_size: int = 640) -> tuple[Path, list[str]]:
    """Export weights and register them; the version's folder and its class names."""
    import torch

    from yololine.detector.ultralytics import export_onnx
    from yololine.inference.engine import load_engine
    from yololine.registry.versions import register
    from yololine.storage.local import LocalStore

    model = weights.with_suffix(".onnx")
    export_onnx(weights, model, image_size=image_size)
    checkpoint = torch.load(weights, weights_only=False, map_location="cpu")
    names = (checkpoint.get("ema") or checkpoint["model"]).names
    version = register(
        LocalStore(store),
        name=NAME,
        key=hashlib.sha256(model.read_bytes()).hexdigest(),
        promoted=True,
        files={"model.onnx": model},
        class_names=tuple(names[index] for index in sorted(names)),
        image_size=image_size,
        metrics={},
        # As evaluation would have found it on this machine.
        precision=load_engine(
            model, image_size=image_size, class_count=len(names), precision="auto"
        ).precision,
    )
    return store / version.folder, list(version.class_names)


def photograph(width: int = 640, height: int = 480, *, seed: int = 0) -> bytes:
    """A JPEG with as much in it as a photograph has: about 60 kB at 640x480."""
    import numpy as np
    from PIL import Image

    chance = np.random.default_rng(seed)
    coarse = chance.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
    noisy = (smooth + chance.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noisy).save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


class Server:
    """A process that serves; a context manager that ends it."""

    def __init__(
        self,
        command: list[str],
        *,
        port: int,
        ready_path: str,
        environ: dict[str, str] | None = None,
    ) -> None:
        self.port = port
        self._started = time.perf_counter()
        self._ready_url = f"http://127.0.0.1:{port}{ready_path}"
        self.log: list[str] = []
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.log.append(line)
            del self.log[:-200]

    def wait_ready(self, seconds: float = 180) -> float:
        """Seconds from its start to its first answer that it is ready."""
        while time.perf_counter() - self._started < seconds:
            try:
                with urllib.request.urlopen(self._ready_url, timeout=2):
                    return time.perf_counter() - self._started
            except OSError:
                if self.process.poll() is not None:
                    break
                time.sleep(0.02)
        raise SystemExit("it did not get ready:\n" + "".join(self.log))

    def rss_bytes(self) -> int:
        """Memory of the process and those it started."""
        import psutil

        whole = psutil.Process(self.process.pid)
        return sum(one.memory_info().rss for one in [whole, *whole.children(recursive=True)])

    def stop(self) -> int:
        """Tell it to end; its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            return self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def predictor(folder: Path, port: int, *options: str) -> Server:
    """What this repository serves with."""
    command = [sys.executable, "-m", "yololine.serving", "--model-dir", str(folder)]
    command += ["--model-name", NAME, "--http-port", str(port), "--grpc-port", "0"]
    command += ["--host", "127.0.0.1", "--drain-seconds", "0", *options]
    return Server(command, port=port, ready_path="/v2/health/ready")


def free_port() -> int:
    """One that was free a moment ago."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


def load(port: int, request: bytes, *, clients: int, seconds: float) -> dict[str, Any]:
    """What a light client process saw: requests a second, latencies in ms, failures."""
    command = [sys.executable, str(ROOT / "benchmarks" / "serving_load.py"), "--port", str(port)]
    command += ["--clients", str(clients), "--seconds", str(seconds)]
    done = subprocess.run(command, input=request, capture_output=True, check=True)
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen
