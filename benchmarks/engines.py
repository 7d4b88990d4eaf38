"""From a JPEG to boxes without a server: `python benchmarks/engines.py`.

In one run, on the same picture, weights and machine, several rounds in turn:

- milliseconds of each stage by itself, on one thread: header, decoding, input, model, boxes;
- pictures a second from JPEG to boxes with one and with two threads that share all cores:
  OpenVINO, ONNX Runtime, and ultralytics' `YOLO(...).predict` on the `.pt` (in PyTorch, a model
  for each thread, decoded by OpenCV, its own input of the same shape, the same thresholds);
- of each engine also the model alone, in the same threads: what decoding and boxes cost on top.

Without `--weights` the model is yolo11n with random weights, and without `--image` the picture is
made up, of 640 x 480: then no boxes are found, as on most pictures of a line. Loading is not
counted.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from yololine import resources
from yololine.detector.ultralytics import export_onnx  # first: it puts ultralytics off line
from yololine.inference.decoding import decode_rgb, probe
from yololine.inference.detector import IOU_THRESHOLD, Detector
from yololine.inference.engine import load_engine
from yololine.inference.postprocess import detections
from yololine.inference.preprocess import prepare

Work = Callable[[], object]
MIN_SCORE = 0.25
THREADS = (1, 2)


def main() -> None:
    """Print stages, rates and the ratios of the rates' medians."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--weights", type=Path, help="a detector's .pt")
    parser.add_argument("--image", type=Path, help="a picture")
    parser.add_argument("--image-size", type=int, default=640)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5, help="of each rate, each round")
    wanted = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        weights = wanted.weights or _random_weights(Path(folder, "weights.pt"))
        data = wanted.image.read_bytes() if wanted.image else _made_up()
        onnx_file = Path(folder, "model.onnx")
        export_onnx(weights, onnx_file, image_size=wanted.image_size)
        names = _class_names(weights)
        print(f"{resources.cores()} cores; {len(names)} classes; picture {probe(data)}")
        for name in ("openvino", "onnxruntime"):
            _stages(_detector(onnx_file, names, name, wanted.image_size, streams=2), data)
        works: dict[str, tuple[int, list[Work]]] = {}
        for threads in THREADS:
            for name in ("openvino", "onnxruntime"):
                detector = _detector(onnx_file, names, name, wanted.image_size, streams=threads)
                works[f"{name}, {threads}"] = threads, [_whole(detector, data)] * threads
                works[f"{name} alone, {threads}"] = threads, [_alone(detector, data)] * threads
            works[f"torch, {threads}"] = (
                threads,
                [_torch(weights, data, wanted.image_size) for _ in range(threads)],
            )
        _rates(works, rounds=wanted.rounds, seconds=wanted.seconds)


def _detector(model: Path, names: list[str], name: str, size: int, *, streams: int) -> Detector:
    engine = load_engine(
        model, image_size=size, class_count=len(names), engine=name, streams=streams
    )
    return Detector(engine, names)


def _stages(detector: Detector, data: bytes) -> None:
    engine = detector.engine
    pixels, prepared = decode_rgb(data), detector.prepare(data)
    batch = prepared.pixels[None]
    output = engine.run(batch)[0]
    square = not engine.any_shape
    stages: dict[str, Work] = {
        "header": lambda: probe(data),
        "decoding": lambda: decode_rgb(data),
        "input": lambda: prepare(pixels, engine.image_size, square=square),
        f"model {batch.shape[2]} x {batch.shape[3]}": lambda: engine.run(batch),
        "boxes": lambda: detections(
            output,
            prepared.place,
            layout=engine.layout,
            min_score=MIN_SCORE,
            iou_threshold=IOU_THRESHOLD,
        ),
    }
    found = detector.detect([prepared], min_score=MIN_SCORE)[0]
    shown = ", ".join(f"{stage} {_milliseconds(work):.2f}" for stage, work in stages.items())
    print(f"{engine.name} {engine.version}, ms: {shown}; {len(found.scores)} boxes")


def _milliseconds(work: Work) -> float:
    for _ in range(3):
        work()
    times = []
    for _ in range(30):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times) * 1000


def _whole(detector: Detector, data: bytes) -> Work:
    return lambda: detector.detect([detector.prepare(data)], min_score=MIN_SCORE)


def _alone(detector: Detector, data: bytes) -> Work:
    batch = detector.prepare(data).pixels[None]
    return lambda: detector.engine.run(batch)


def _torch(weights: Path, data: bytes, size: int) -> Work:
    from ultralytics import YOLO

    model: Any = YOLO(weights)
    options = {"imgsz": size, "conf": MIN_SCORE, "iou": IOU_THRESHOLD, "device": "cpu"}

    def work() -> object:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        return model.predict(image, verbose=False, **options)

    return work


def _rates(works: dict[str, tuple[int, list[Work]]], *, rounds: int, seconds: float) -> None:
    import torch

    measured: dict[str, list[float]] = {name: [] for name in works}
    for number in range(rounds):
        for name, (threads, each) in works.items():
            # What a single picture may use: torch's own default would be all cores, in each thread.
            torch.set_num_threads(max(1, resources.cores() // threads))
            measured[name].append(_rate(each, seconds))
        now = "; ".join(f"{name} {values[-1]:.1f}" for name, values in measured.items())
        print(f"round {number + 1}, pictures/s (threads): {now}", flush=True)
    for threads in THREADS:
        for name in (f"torch, {threads}", f"onnxruntime, {threads}", f"openvino alone, {threads}"):
            ratios = [
                a / b for a, b in zip(measured[f"openvino, {threads}"], measured[name], strict=True)
            ]
            print(
                f"openvino, {threads} / {name}: {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )
    print("; ".join(f"{n}: median {statistics.median(v):.1f}/s" for n, v in measured.items()))


def _rate(each: list[Work], seconds: float) -> float:
    for work in each:
        work()
    counts = [0] * len(each)
    started = time.perf_counter()

    def go(index: int) -> None:
        while time.perf_counter() - started < seconds:
            each[index]()
            counts[index] += 1

    threads = [threading.Thread(target=go, args=(index,)) for index in range(len(each))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)


def _class_names(weights: Path) -> list[str]:
    from ultralytics import YOLO

    model: Any = YOLO(weights)
    return list(model.names.values())


def _random_weights(file: Path) -> Path:
    from ultralytics import YOLO

    model: Any = YOLO("yolo11n.yaml")
    model.save(file)
    return file


def _made_up() -> bytes:
    """Of as many bytes as a photograph of that size: shapes out of focus, and a sensor's noise."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 255, (12, 16, 3), dtype=np.uint8)
    shapes = cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)
    noisy = np.clip(shapes + random.normal(0, 6, shapes.shape), 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", noisy)[1].tobytes()


if __name__ == "__main__":
    main()
