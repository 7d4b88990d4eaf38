"""An hour of load in a row: `python benchmarks/soak.py --requests 100000`.

Good and bad requests of every kind go to one predictor, over HTTP, from 8 connections. Asserted:
no good request fails, no bad one is a fault of the server, each answer's detections are those of
the offline evaluation of the same picture, and memory does not grow. The detector has random
weights and sees something everywhere, so that there is much to be different.
"""

from __future__ import annotations

import argparse
import base64
import json
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from serving_load import Connection, request
from serving_model import NAME, free_port, make_version, photograph, predictor

from tests.serving import fuzzing

PICTURES = 24
MIN_SCORE = 0.25
BAD_SHARE = 0.2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--samples", type=int, default=20, help="of memory")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run(wanted, Path(folder))


def run(wanted: argparse.Namespace, work: Path) -> None:
    from tests.detector.tiny import untrained

    weights = untrained("yolo11n", work / "weights.pt", class_count=3)
    folder, names = make_version(work / "store", weights, image_size=wanted.image_size)
    sizes = [(640, 480), (320, 320), (200, 300)]
    pictures = [photograph(*sizes[seed % 3], seed=seed) for seed in range(PICTURES)]
    expected = offline(folder, names, wanted.image_size, pictures)
    port = free_port()
    # What is queued is all that 8 connections send: none is told to come back.
    with predictor(folder, port, "--log-level", "WARNING") as server:
        server.wait_ready()
        told = soak(wanted, port, pictures, expected, server)
        assert server.process.poll() is None, server.log
        code = server.stop()
    memory = told["rss_mib"]
    print(f"requests: {told['counts']}")
    print(f"in {told['seconds']:.0f} s, {wanted.requests / told['seconds']:.0f} a second")
    print(f"memory, MiB: {memory}")
    # The first half warms up allocators and every kind of picture.
    half = memory[len(memory) // 2 :]
    print(f"growth in the second half: {half[-1] - half[0]} MiB; exit code {code}")
    for fault in told["faults"][:5]:
        print(fault)
    assert not told["faults"], len(told["faults"])
    assert half[-1] - half[0] < 30, "memory grows"
    assert code == 0


def offline(
    folder: Path, names: list[str], image_size: int, pictures: list[bytes]
) -> list[dict[str, Any]]:
    """What evaluation finds, with the code it scores with."""
    from yololine.inference.detector import Detector
    from yololine.inference.engine import load_engine

    engine = load_engine(
        folder / "model.onnx",
        image_size=image_size,
        class_count=len(names),
        precision="auto",
    )
    detector = Detector(engine, names)
    found = [detector.detect([detector.prepare(one)], min_score=MIN_SCORE)[0] for one in pictures]
    assert all(len(each.scores) for each in found)
    return [
        {
            "boxes_xyxy": each.boxes_xyxy.tolist(),
            "scores": each.scores.tolist(),
            "class_ids": each.class_ids.tolist(),
        }
        for each in found
    ]


def soak(
    wanted: argparse.Namespace,
    port: int,
    pictures: list[bytes],
    expected: list[dict[str, Any]],
    server: Any,
) -> dict[str, Any]:
    counts: Counter[str] = Counter()
    faults: list[str] = []
    left = iter(range(wanted.requests))
    lock = threading.Lock()

    def run(seed: int) -> None:
        chance = random.Random(seed)
        connection = Connection(port)
        bad = fuzzing.requests(pictures, seed=seed, count=wanted.requests)
        while True:
            with lock:
                if next(left, None) is None:
                    return
            if chance.random() < BAD_SHARE:
                status = fuzzing.send(next(bad), port, timeout_seconds=120)
                counts[f"bad, {status}"] += 1
                if status >= 500:
                    faults.append(f"bad request: {status}")
                continue
            place = chance.randrange(len(pictures))
            kind, raw = good(chance, pictures[place])
            try:
                status, body = connection.ask(raw)
            except OSError as error:
                faults.append(f"good request: {error}")
                continue
            counts[f"good, {kind}, {status}"] += 1
            if status != 200:
                faults.append(f"good request: {status} {body[:200]!r}")
            elif difference := differs(kind, body, expected[place]):
                faults.append(f"picture {place}, {kind}: {difference}")

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(wanted.clients)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        done = sum(counts.values())
        if done >= wanted.requests * len(memory) / wanted.samples:
            memory.append(server.rss_bytes() // 2**20)
            print(f"{done} requests, {memory[-1]} MiB, {len(faults)} faults", flush=True)
        time.sleep(0.05)
    memory.append(server.rss_bytes() // 2**20)
    seconds = time.perf_counter() - started
    return {
        "counts": dict(sorted(counts.items())),
        "faults": faults,
        "rss_mib": memory,
        "seconds": seconds,
    }


def good(chance: random.Random, picture: bytes) -> tuple[str, bytes]:
    kind = chance.choice(["bare", "v1", "v2"])
    if kind == "bare":
        path = f"/v1/models/{NAME}:predict?min_score={MIN_SCORE}"
        return kind, request(path, picture, content_type="image/jpeg")
    text = base64.b64encode(picture).decode()
    if kind == "v1":
        document: dict[str, Any] = {"instances": [{"image": {"b64": text}}]}
        path = f"/v1/models/{NAME}:predict"
    else:
        given = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [text]}
        document = {"inputs": [given]}
        path = f"/v2/models/{NAME}/infer"
    document["parameters"] = {"min_score": MIN_SCORE}
    return kind, request(path, json.dumps(document).encode(), content_type="application/json")


def differs(kind: str, body: bytes, expected: dict[str, Any]) -> str | None:
    """In what an answer is not the evaluation's: both are float32, so it is compared as such."""
    import numpy as np

    told = json.loads(body)
    if kind == "v2":
        found = {output["name"]: output["data"] for output in told["outputs"]}
        found["boxes_xyxy"] = found["boxes"]
    else:
        (found,) = told["predictions"]
    for name, wanted in expected.items():
        here = np.asarray(found[name], np.float32).ravel()
        there = np.asarray(wanted, np.float32).ravel()
        if not np.array_equal(here, there):
            return f"{name} {here[:6]} instead of {there[:6]}"
    return None


if __name__ == "__main__":
    main()
