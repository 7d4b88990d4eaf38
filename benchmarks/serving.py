"""How many pictures a second a predictor answers: `python benchmarks/serving.py`.

One JPEG of 640x480 goes in and boxes come out, from 8 clients at once, on this machine's cores; the
clients are a light process of their own. The same detector, yolo11n, is served by

- yololine: `python -m yololine.serving`, asked with the bare JPEG, and with v1's base64;
- kserve with ultralytics: its ModelServer and the .pt behind v1's base64, as a user writes it;
- BentoML and LitServe, each with the OpenVINO model and yololine's own pre- and post-processing, so
  that only the server differs. Each has a process per core, whose inferences take one core. BentoML
  is given the bare JPEG, LitServe, which takes none, base64.

Beside them stand two loops without any server: from the JPEG to its boxes, and the engine alone.
They take turns, round after round; what is printed is the median round, and the ratios of it.

BentoML and LitServe need an environment of their own each: a venv with `pip install bentoml` (or
`litserve`) and `openvino opencv-python-headless pillow pydantic` of this repository's versions.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from serving_load import request
from serving_model import (
    NAME,
    ROOT,
    Server,
    free_port,
    load,
    make_version,
    make_weights,
    photograph,
    predictor,
)

KSERVE = """
import base64, io, sys
import kserve
from PIL import Image
from ultralytics import YOLO

class Detector(kserve.Model):
    def load(self):
        self.model = YOLO(sys.argv[1])
        self.ready = True

    def predict(self, payload, headers=None):
        images = [
            Image.open(io.BytesIO(base64.b64decode(each["image"]["b64"])))
            for each in payload["instances"]
        ]
        results = self.model.predict(images, imgsz=640, conf=0.25, iou=0.5, verbose=False)
        return {
            "predictions": [
                {
                    "boxes_xyxy": result.boxes.xyxy.tolist(),
                    "scores": result.boxes.conf.tolist(),
                    "class_ids": result.boxes.cls.tolist(),
                }
                for result in results
            ]
        }

model = Detector("steel")
model.load()
kserve.ModelServer(http_port=int(sys.argv[2]), enable_grpc=False).start([model])
"""

DETECTOR = """
import os
from pathlib import Path
from yololine.inference.detector import Detector
from yololine.inference.engine import load_engine

def load():
    engine = load_engine(
        Path(os.environ["MODEL"]),
        image_size=640,
        class_count=80,
        engine="openvino",
        streams=1,
        precision="auto",
    )
    return Detector(engine, [str(number) for number in range(80)])

def detect(detector, data):
    (found,) = detector.detect([detector.prepare(data)], min_score=0.25)
    return {
        "boxes_xyxy": found.boxes_xyxy.tolist(),
        "scores": found.scores.tolist(),
        "class_ids": found.class_ids.tolist(),
    }
"""

BENTOML = """
from pathlib import Path
from typing import Annotated
import bentoml
from bentoml.validators import ContentType
from detector import detect, load

@bentoml.service(workers=CORES, traffic={"timeout": 60})
class Detector:
    def __init__(self):
        self.detector = load()

    @bentoml.api(route="/detect")
    def detect(self, image: Annotated[Path, ContentType("image/jpeg")], /) -> dict:
        return detect(self.detector, image.read_bytes())
"""


LITSERVE = """
import base64
import sys
import litserve
from detector import detect, load

class Detector(litserve.LitAPI):
    def setup(self, device):
        self.detector = load()

    def decode_request(self, request):
        return base64.b64decode(request["image"])

    def predict(self, data):
        return detect(self.detector, data)

    def encode_response(self, found):
        return found

if __name__ == "__main__":
    server = litserve.LitServer(
        Detector(), api_path="/detect", accelerator="cpu", workers_per_device=CORES, timeout=60
    )
    server.run(port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
"""
Contender = tuple[str, Callable[[int], Server], bytes]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument(
        "--weights", type=Path, help="a .pt of 80 classes [default: random yolo11n]"
    )
    parser.add_argument("--bentoml-python", type=Path, help="of an environment with BentoML")
    parser.add_argument("--litserve-python", type=Path, help="of an environment with LitServe")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(wanted, Path(folder))


def run(wanted: argparse.Namespace, work: Path) -> None:
    weights = wanted.weights or make_weights(work / "weights.pt")
    folder, _ = make_version(work / "store", weights)
    jpeg = photograph()
    print(f"JPEG of 640x480, {len(jpeg)} bytes; {wanted.clients} clients; {cores()} cores")
    everyone = contenders(wanted, work, weights, folder, jpeg)
    seen: dict[str, list[dict[str, Any]]] = {}
    for number in range(wanted.rounds):
        for name, seconds in (("loop: JPEG to boxes", jpeg), ("loop: engine alone", b"")):
            seen.setdefault(name, []).append(loop(folder, seconds, wanted.seconds, work))
        for name, start, raw in everyone:
            port = free_port()
            with start(port) as server:
                cold = server.wait_ready()
                load(port, raw, clients=wanted.clients, seconds=2)
                told = load(port, raw, clients=wanted.clients, seconds=wanted.seconds)
                told |= {"cold_seconds": cold, "rss_bytes": server.rss_bytes()}
            if told["failed"]:
                print(f"{name}: {told['failed']} failed, the first: {told['first_failure']}")
            seen.setdefault(name, []).append(told)
        print(
            f"round {number + 1}: "
            + ", ".join(f"{n} {s[-1]['per_second']:.1f}/s" for n, s in seen.items()),
            flush=True,
        )
    show(seen)


def contenders(
    wanted: argparse.Namespace, work: Path, weights: Path, folder: Path, jpeg: bytes
) -> list[Contender]:
    path = f"/v1/models/{NAME}:predict"
    bare = request(path, jpeg, content_type="image/jpeg")
    document = {"instances": [{"image": {"b64": base64.b64encode(jpeg).decode()}}]}
    v1 = request(path, json.dumps(document).encode(), content_type="application/json")
    (work / "kserve_ultralytics.py").write_text(KSERVE)
    kserve = [sys.executable, str(work / "kserve_ultralytics.py"), str(weights)]
    made: list[Contender] = [
        ("yololine", lambda port: predictor(folder, port), bare),
        ("yololine, v1 base64", lambda port: predictor(folder, port), v1),
        (
            "kserve + ultralytics",
            lambda port: Server(
                [*kserve, str(port)],
                port=port,
                ready_path=f"/v1/models/{NAME}",
                environ={"YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0", "PYTHONPATH": ""},
            ),
            v1,
        ),
    ]
    environ = {"MODEL": str(folder / "model.onnx"), "PYTHONPATH": f"{ROOT / 'src'}:{work}"}
    (work / "detector.py").write_text(DETECTOR)
    if wanted.bentoml_python:
        (work / "bento_service.py").write_text(BENTOML.replace("CORES", str(cores())))
        bentoml = [str(wanted.bentoml_python), "-m", "bentoml", "serve", "bento_service:Detector"]
        bentoml += ["--working-dir", str(work), "--host", "127.0.0.1", "--port"]
        home = {**environ, "BENTOML_HOME": str(work), "BENTOML_DO_NOT_TRACK": "True"}
        made.append(
            (
                "BentoML",
                lambda port: Server(
                    [*bentoml, str(port)], port=port, ready_path="/readyz", environ=home
                ),
                request("/detect", jpeg, content_type="image/jpeg"),
            )
        )
    if wanted.litserve_python:
        (work / "lit_service.py").write_text(LITSERVE.replace("CORES", str(cores())))
        litserve = [str(wanted.litserve_python), str(work / "lit_service.py")]
        made.append(
            (
                "LitServe",
                lambda port: Server(
                    [*litserve, str(port)], port=port, ready_path="/health", environ=environ
                ),
                request(
                    "/detect",
                    json.dumps({"image": base64.b64encode(jpeg).decode()}).encode(),
                    content_type="application/json",
                ),
            )
        )
    return made


LOOP = """
import json, sys, threading, time
from pathlib import Path
from yololine.inference.detector import Detector
from yololine.inference.engine import load_engine

engine = load_engine(Path(sys.argv[1]), image_size=640, class_count=80, precision="auto")
detector = Detector(engine, [str(number) for number in range(80)])
data = Path(sys.argv[2]).read_bytes()
batch = detector.prepare(data).pixels[None]
whole = sys.argv[3] == "whole"
seconds = float(sys.argv[4])
milliseconds = []

def run(until, seen):
    while (started := time.perf_counter()) < until:
        if whole:
            detector.detect([detector.prepare(data)], min_score=0.25)
        else:
            engine.run(batch)
        seen.append((time.perf_counter() - started) * 1000)

def together(seconds, seen):
    count = engine.streams  # as many as the server has
    until = time.perf_counter() + seconds
    threads = [threading.Thread(target=run, args=(until, seen)) for _ in range(count)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started

together(2, [])
took = together(seconds, milliseconds)
milliseconds.sort()
print(json.dumps({
    "per_second": len(milliseconds) / took,
    "p50_ms": milliseconds[len(milliseconds) // 2],
    "p99_ms": milliseconds[int(len(milliseconds) * 0.99)],
    "failed": 0,
}))
"""


def loop(folder: Path, jpeg: bytes, seconds: float, work: Path) -> dict[str, Any]:
    """The same work with no server around it; without a JPEG, the engine alone."""
    picture = work / "picture.jpg"
    picture.write_bytes(jpeg or photograph())
    what = "whole" if jpeg else "engine"
    command = [sys.executable, "-c", LOOP, str(folder / "model.onnx"), str(picture), what]
    done = subprocess.run([*command, str(seconds)], check=True, capture_output=True, text=True)
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def show(seen: dict[str, list[dict[str, Any]]]) -> None:
    ours = seen["yololine"]
    print("\n| | requests/s | p50 ms | p99 ms | failed | ready after s | MiB | yololine is |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, rounds in seen.items():
        # Of each round by itself: what else the machine did then, it did to both.
        ratio = median(
            mine["per_second"] / (theirs["per_second"] or float("nan"))
            for mine, theirs in zip(ours, rounds, strict=True)
        )
        print(
            f"| {name} | {_of(rounds, 'per_second'):.1f} | {_of(rounds, 'p50_ms'):.0f} | "
            f"{_of(rounds, 'p99_ms'):.0f} | {sum(one['failed'] for one in rounds)} | "
            + (
                f"{_of(rounds, 'cold_seconds'):.2f} | {_of(rounds, 'rss_bytes') / 2**20:.0f} | "
                if "cold_seconds" in rounds[0]
                else "| | "
            )
            + f"{ratio:.2f} times |"
        )
    whole = median(
        1 - mine["per_second"] / bare["per_second"]
        for mine, bare in zip(ours, seen["loop: JPEG to boxes"], strict=True)
    )
    print(f"\noverhead over the loop from JPEG to boxes: {whole:.1%}")


def _of(rounds: list[dict[str, Any]], what: str) -> float:
    return median(one[what] for one in rounds)


def cores() -> int:
    return len(os.sched_getaffinity(0))


if __name__ == "__main__":
    started = time.perf_counter()
    main()
    print(f"in {time.perf_counter() - started:.0f} s")
