"""From the start of a predictor to its first boxes: `python benchmarks/cold_start.py`.

Two servers of the same detector, yolo11n, take turns in being started on this machine's Python:

- yololine: `python -m yololine.serving` on a registered version;
- kserve with ultralytics: its ModelServer and the .pt, as a user writes it.

Every file is in memory after the first round, which does not count. Fetching an image comes on top;
so what each needs installed is counted, too: its packages, and their size as an image stores them,
without the base. For yololine those are the packages of containers/predictor, for the other what
`pip install kserve ultralytics` brings, with OpenCV in its build without a GUI.
"""

from __future__ import annotations

import argparse
import base64
import importlib.metadata
import json
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import cache_from_source
from pathlib import Path
from statistics import median

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from serving import KSERVE
from serving_model import (
    NAME,
    ROOT,
    Server,
    free_port,
    make_version,
    make_weights,
    photograph,
    predictor,
)

INSTEAD = {"opencv-python": "opencv-python-headless"}


@dataclass
class Way:
    """One of the two, and what was measured of it."""

    start: Callable[[int], Server]
    """By the port it serves on."""
    packages: set[str]
    ready: list[float] = field(default_factory=list)
    """Seconds until it says it is ready."""
    answer: list[float] = field(default_factory=list)
    """Seconds until it has answered a picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        weights = make_weights(folder / "yolo11n.pt")
        version, _ = make_version(folder / "store", weights)
        (folder / "server.py").write_text(KSERVE)
        theirs = [sys.executable, str(folder / "server.py"), str(weights)]
        ready = "/v2/health/ready"
        ways = {
            "yololine": Way(lambda port: predictor(version, port), _locked()),
            "kserve + ultralytics": Way(
                lambda port: Server([*theirs, str(port)], port=port, ready_path=ready),
                set(_brought_by("kserve", "ultralytics")),
            ),
        }
        for number in range(wanted.rounds + 1):
            # In turns, and each as often first as second.
            for name in sorted(ways, reverse=bool(number % 2)):
                to_ready, to_answer = _measure(ways[name])
                print(f"round {number}: {name}: ready {to_ready:.1f} s, answer {to_answer:.1f} s")
                if number:
                    ways[name].ready.append(to_ready)
                    ways[name].answer.append(to_answer)
    _show(ways)


def _measure(way: Way) -> tuple[float, float]:
    port = free_port()
    started = time.perf_counter()
    with way.start(port) as server:
        ready = server.wait_ready()
        _ask(port)
        return ready, time.perf_counter() - started


def _ask(port: int) -> None:
    """One picture, and boxes or none; random weights find what they find."""
    instance = {"image": {"b64": base64.b64encode(photograph()).decode()}}
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/models/{NAME}:predict",
        json.dumps({"instances": [instance]}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as reply:
        (prediction,) = json.load(reply)["predictions"]
    assert "boxes_xyxy" in prediction


def _locked() -> set[str]:
    """What the predictor's image installs here, by its lock."""
    lock = (ROOT / "containers" / "predictor" / "requirements.txt").read_text(encoding="utf-8")
    pins = re.findall(r"^[^\s#][^\\\n]*", lock, re.MULTILINE)
    asked = [Requirement(pin) for pin in pins]
    return {canonicalize_name(one.name) for one in asked if not one.marker or one.marker.evaluate()}


def _brought_by(*names: str, extras: frozenset[str] = frozenset()) -> Iterator[str]:
    """Packages, and all that they require, as they are installed here."""
    pending = [(name, extras) for name in names]
    seen: set[tuple[str, frozenset[str]]] = set()
    while pending:
        name, extras = pending.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        yield name
        for text in importlib.metadata.requires(name) or ():
            asked = Requirement(text)
            if not asked.marker or any(
                asked.marker.evaluate({"extra": extra}) for extra in extras or {""}
            ):
                required = canonicalize_name(asked.name)
                pending.append((INSTEAD.get(required, required), frozenset(asked.extras)))


def _size_bytes(package: str) -> int:
    found = importlib.metadata.distribution(package)
    files = {str(found.locate_file(file)) for file in found.files or ()}
    files |= {cache_from_source(file) for file in files if file.endswith(".py")}
    return sum(Path(file).lstat().st_size for file in files if Path(file).is_file())


def _show(ways: dict[str, Way]) -> None:
    print()
    print("| | ready | first answer | Python packages | their size |")
    print("| --- | --- | --- | --- | --- |")
    for name, way in ways.items():
        size_bytes = sum(map(_size_bytes, way.packages))
        print(
            f"| {name} | {_seconds(way.ready)} | {_seconds(way.answer)} "
            f"| {len(way.packages)} | {size_bytes / 1e6:,.0f} MB |"
        )
    ours, theirs = ways.values()
    ratios = [b / a for a, b in zip(ours.answer, theirs.answer, strict=True)]
    print(f"first answer: {median(ratios):.1f} times as fast ({min(ratios):.1f}-{max(ratios):.1f})")


def _seconds(measured: list[float]) -> str:
    return f"{median(measured):.1f} s ({min(measured):.1f}-{max(measured):.1f})"


if __name__ == "__main__":
    main()
