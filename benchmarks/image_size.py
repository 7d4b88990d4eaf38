"""What a node pulls and stores: `python benchmarks/image_size.py`.

Builds two images on the same base and prints what is in them, unpacked: yololine's predictor, and
kserve with ultralytics as a user installs them for the server that benchmarks/serving.py measures.
The other is given what is free of charge: no pip cache, no build tools in what ships, and OpenCV in
its build without a GUI, which needs no system libraries.

Docker, Podman or Buildah builds. The second image takes about 8 GB, and as much again meanwhile.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from scripts.base_image import base_image
from scripts.builders import PROGRAMS, find_builder
from scripts.images import LARGEST, LOOK_INSIDE, ROOT, build, default_base
from scripts.site_settings import site_secrets

THEIRS = "kserve-ultralytics"
CONTAINERFILE = """
ARG BASE_IMAGE
FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN --mount=type=secret,id=site.sh --mount=type=secret,id=ca.crt \\
    if [ -e /run/secrets/site.sh ]; then . /run/secrets/site.sh; fi \\
    && python3 -m venv /opt/server \\
    && /opt/server/bin/pip install kserve==KSERVE ultralytics==ULTRALYTICS \\
    && /opt/server/bin/pip uninstall --yes opencv-python \\
    && /opt/server/bin/pip install opencv-python-headless \\
    && /opt/server/bin/pip uninstall --yes pip
FROM ${BASE_IMAGE}
COPY --from=build /opt/server /opt/server
ENV PATH=/opt/server/bin:$PATH
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--builder", choices=PROGRAMS)
    wanted = parser.parse_args()
    builder = find_builder(wanted.builder)
    ours = ROOT / "containers" / "predictor"
    built = build({"predictor": "yololine-benchmark/predictor:1"}, builder=builder)
    tag = f"yololine-benchmark/{THEIRS}:1"
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "Containerfile")
        file.write_text(
            CONTAINERFILE.replace("KSERVE", _pin(ours, "kserve")).replace(
                "ULTRALYTICS", _pin(ROOT / "containers" / "train", "ultralytics")
            )
        )
        base = base_image(builder, asked=None, default=default_base(ours / "Containerfile"))
        builder.build(
            file,
            Path(scratch),
            tag=tag,
            arguments={"BASE_IMAGE": base},
            labels={},
            secrets=site_secrets(Path(scratch)),
        )
    built.append({"image": tag, **json.loads(builder.python(tag, LOOK_INSIDE))})
    print("| image | unpacked | Python packages | the largest |")
    print("| --- | --- | --- | --- |")
    for found in built:
        largest = ", ".join(
            f"{package['name']} {package['size_bytes'] / 1e6:,.0f}"
            for package in found["packages"][:LARGEST]
        )
        size = f"{found['size_bytes'] / 1e6:,.0f} MB"
        print(f"| {found['image']} | {size} | {len(found['packages'])} | {largest} |")


def _pin(folder: Path, name: str) -> str:
    """The version that an image's lock has of a package."""
    for line in (folder / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith(f"{name}=="):
            return line.removeprefix(f"{name}==").split()[0]
    raise SystemExit(f"{folder}: its lock has no {name}")


if __name__ == "__main__":
    main()
