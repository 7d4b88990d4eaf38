"""From the start of a container to its first boxes: `python benchmarks/cold_start.py`.

Two images, built on the same base, serve the same detector, yolo11n, with KServe's protocols:

- containers/predictor, as `make images` builds it;
- kserve with ultralytics as their pages say: `pip install kserve ultralytics`, in the releases of
  requirements/dev.txt, and a model class around the .pt. OpenCV is exchanged for its build without
  a GUI, since the other one does not load in a slim base.

They take turns in being started with a read-only root and this machine's network. Both images are
on the disk, and after the first round in memory: pulling them comes on top, and for that their
sizes are printed. podman or docker is needed, 15 GB of disk, and minutes to build the second image.
"""

from __future__ import annotations

import argparse
import base64
import json
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from serving import KSERVE
from serving_model import NAME, ROOT, Server, free_port, make_version, make_weights, photograph

from scripts.base_image import base_image
from scripts.builders import Builder, ImageError, find_builder
from scripts.images import LOOK_INSIDE, build, default_base
from scripts.site_settings import site_secrets

OURS, THEIRS = "yololine-benchmarks/predictor:tests", "yololine-benchmarks/kserve:tests"
CONTAINERFILE = """
ARG BASE_IMAGE=none
FROM ${BASE_IMAGE}
COPY releases.txt server.py /opt/
RUN --mount=type=secret,id=site.sh --mount=type=secret,id=ca.crt \\
    if [ -e /run/secrets/site.sh ]; then . /run/secrets/site.sh; fi \\
    && python3 -m venv /opt/venv \\
    && /opt/venv/bin/pip install --no-cache-dir --constraint /opt/releases.txt \\
        kserve ultralytics \\
    && /opt/venv/bin/pip uninstall --yes opencv-python opencv-python-headless \\
    && /opt/venv/bin/pip install --no-cache-dir --constraint /opt/releases.txt \\
        opencv-python-headless
ENV PATH=/opt/venv/bin:$PATH HOME=/tmp YOLO_CONFIG_DIR=/tmp YOLO_OFFLINE=1
USER 1000
ENTRYPOINT ["python3", "/opt/server.py"]
"""


@dataclass
class Way:
    """One of the two, and what was measured of it."""

    facts: dict[str, Any]
    command: Callable[[int], list[str]]
    """Of its container, by the port it serves on."""
    ready: list[float] = field(default_factory=list)
    """Seconds until it says it is ready."""
    answer: list[float] = field(default_factory=list)
    """Seconds until it has answered a picture."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--base-image", help="instead of the Containerfile's")
    wanted = parser.parse_args()
    try:
        builder = find_builder()
        if builder.program == "buildah":
            raise ImageError("buildah runs no images: install docker or podman")
        default = default_base(ROOT / "containers" / "predictor" / "Containerfile")
        base = base_image(builder, asked=wanted.base_image, default=default)
        (ours,) = build({"predictor": OURS}, base=base, builder=builder)
        theirs = _build_theirs(builder, base)
    except ImageError as error:
        sys.exit(str(error))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)  # the containers' user is not this one
        weights = make_weights(folder / "yolo11n.pt")
        version, _ = make_version(folder / "store", weights)
        run = _run(builder.program, folder)
        ways = {
            "yololine": Way(
                ours,
                lambda port: [
                    *(*run, OURS, f"--model-dir={version}", f"--model-name={NAME}"),
                    *(f"--http-port={port}", "--grpc-port=0", "--drain-seconds=0"),
                ],
            ),
            "kserve + ultralytics": Way(
                theirs, lambda port: [*run, THEIRS, str(weights), str(port)]
            ),
        }
        for number in range(wanted.rounds):
            # In turns, and each as often first as second.
            for name in sorted(ways, reverse=bool(number % 2)):
                _measure(ways[name])
                told = ways[name].ready[-1], ways[name].answer[-1]
                print(f"round {number + 1}: {name}: ready {told[0]:.1f} s, answer {told[1]:.1f} s")
    _show(ways)


def _build_theirs(builder: Builder, base: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as context, tempfile.TemporaryDirectory() as secrets:
        folder = Path(context)
        # Without hashes: pip would want one for everything else, too.
        pins = re.findall(
            r"^[\w.\[\]-]+==[^ \\\n]+(?: ; [^\\\n]+)?",
            (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        (folder / "releases.txt").write_text("\n".join(pins) + "\n")
        (folder / "server.py").write_text(KSERVE)
        (folder / "Containerfile").write_text(CONTAINERFILE)
        builder.build(
            folder / "Containerfile",
            folder,
            tag=THEIRS,
            arguments={"BASE_IMAGE": base},
            labels={},
            secrets=site_secrets(Path(secrets)),
        )
    found: dict[str, Any] = json.loads(builder.python(THEIRS, LOOK_INSIDE))
    return found


def _run(engine: str, folder: Path) -> list[str]:
    """The engine's command, up to the image."""
    words = [engine, "run", "--rm", "--pull=never", "--network=host", "--user=1000", "--read-only"]
    words += ["--tmpfs=/tmp:mode=1777", f"--volume={folder}:{folder}:ro"]
    if engine == "podman":
        # It asks for more than a machine may give; where that is refused, nothing starts.
        words += ["--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]
    return words


def _measure(way: Way) -> None:
    port = free_port()
    started = time.perf_counter()
    with Server(way.command(port), port=port, ready_path="/v2/health/ready") as server:
        way.ready.append(server.wait_ready())
        _ask(port)
        way.answer.append(time.perf_counter() - started)


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


def _show(ways: dict[str, Way]) -> None:
    print()
    print("| | ready | first answer | unpacked | Python packages |")
    print("| --- | --- | --- | --- | --- |")
    for name, way in ways.items():
        print(
            f"| {name} | {_seconds(way.ready)} | {_seconds(way.answer)} "
            f"| {way.facts['size_bytes'] / 1e6:,.0f} MB | {len(way.facts['packages'])} |"
        )
    ours, theirs = ways.values()
    ratios = [b / a for a, b in zip(ours.answer, theirs.answer, strict=True)]
    print(f"first answer: {median(ratios):.1f} times as fast ({min(ratios):.1f}-{max(ratios):.1f})")


def _seconds(measured: list[float]) -> str:
    return f"{median(measured):.1f} s ({min(measured):.1f}-{max(measured):.1f})"


if __name__ == "__main__":
    main()
