"""Build the container images, and say what is in them.

    python -m scripts.images                     every image, as yololine/NAME:VERSION
    python -m scripts.images data --registry registry.example.com/vision --tag 2026-11

`make images` calls it. Docker, Podman or Buildah builds, whichever is there. Exit status: 0 when
every image was built, 1 when one was not, 2 for a wrong option.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from scripts.base_image import base_image
from scripts.builders import PROGRAMS, Builder, ImageError, find_builder
from scripts.site_settings import site_secrets
from yololine import __version__
from yololine.errors import UsageError
from yololine.images import IMAGES, REGISTRY, image

ROOT = Path(__file__).resolve().parent.parent
LARGEST = 10
"""So many packages of each image are listed by their size."""

# Runs inside an image. Sizes are of what is stored, so a package's compiled files count, and a file
# with two names counts once.
LOOK_INSIDE = """
import importlib.metadata, json, os
from importlib.util import cache_from_source

def size(path):
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0

packages = []
for package in importlib.metadata.distributions():
    files = [str(package.locate_file(file)) for file in package.files or ()]
    files += [cache_from_source(file) for file in files if file.endswith(".py")]
    packages.append({
        "name": package.name,
        "version": package.version,
        "size_bytes": sum(map(size, set(files))),
    })
device = os.lstat("/").st_dev
stored = {}
for folder, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if os.lstat(os.path.join(folder, f)).st_dev == device]
    for file in files:
        status = os.lstat(os.path.join(folder, file))
        if status.st_dev == device:
            stored[status.st_ino] = status.st_size
packages.sort(key=lambda package: -package["size_bytes"])
print(json.dumps({"size_bytes": sum(stored.values()), "packages": packages}))
"""


def build(
    made: Mapping[str, str],
    *,
    base: str | None = None,
    builder: Builder,
    source: str = "",
) -> list[dict[str, Any]]:
    """Build images; return for each what is in it.

    Args:
        made: The name of each, for instance data -> its reference.
        base: What they start from, instead of the Containerfiles' own.
        builder: Builds them.
        source: Address of the source code, for their label.

    Returns:
        One mapping per image: `image`, `size_bytes` unpacked, and `packages`, the Python packages
        with `name`, `version` and `size_bytes`, largest first.

    Raises:
        ImageError: One cannot be built.
    """
    files = {name: ROOT / "containers" / name / "Containerfile" for name in made}
    base = base_image(builder, asked=base, default=default_base(next(iter(files.values()))))
    # Not by the Containerfile's own LABEL with arguments: Podman's layer cache does not look at
    # their values, and an image would name the commit of an earlier one.
    labels = {
        "org.opencontainers.image.version": __version__,
        "org.opencontainers.image.revision": revision(),
        "org.opencontainers.image.source": source,
    }
    built = []
    with tempfile.TemporaryDirectory() as scratch:
        secrets = site_secrets(Path(scratch))
        for name, file in files.items():
            tag = made[name]
            print(f"images: {builder.program} builds {tag} on {base}", flush=True)
            builder.build(
                file,
                ROOT,
                tag=tag,
                arguments={"BASE_IMAGE": base},
                labels=labels,
                secrets=secrets,
            )
            built.append({"image": tag, **json.loads(builder.python(tag, LOOK_INSIDE))})
    return built


def default_base(containerfile: Path) -> str:
    """The base that a Containerfile starts from when nobody names another."""
    found = re.search(r"^ARG BASE_IMAGE=(\S+)$", containerfile.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise ImageError(f"{containerfile} does not start with ARG BASE_IMAGE=...")
    return found[1]


def revision() -> str:
    """The commit it is built from; empty outside a checkout."""
    if shutil.which("git") is None:
        return ""
    done = subprocess.run(
        ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


def show(built: Sequence[dict[str, Any]], console: Console) -> None:
    """Print sizes, package counts and the largest packages."""
    summary = Table("image", "unpacked MB", "Python packages", title="Images")
    for found in built:
        summary.add_row(found["image"], _mb(found), str(len(found["packages"])))
    console.print(summary)
    for found in built:
        largest = Table("package", "version", "MB", title=f"Largest in {found['image']}")
        for package in found["packages"][:LARGEST]:
            largest.add_row(package["name"], package["version"], _mb(package))
        console.print(largest)


def _mb(found: dict[str, Any]) -> str:
    return f"{found['size_bytes'] / 1e6:,.0f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what the command line names."""
    parser = argparse.ArgumentParser(prog="images", description="Build the container images.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(IMAGES)}")
    parser.add_argument("--registry", default=REGISTRY, help="where the images will be pulled from")
    parser.add_argument("--tag", default=__version__)
    parser.add_argument("--base-image", help="start from this instead of the Containerfiles' base")
    parser.add_argument("--builder", choices=PROGRAMS, help="default: the first that works")
    parser.add_argument("--source", default="", help="address of the source code, for the label")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write what is in them there, too"
    )
    options = parser.parse_args(arguments)
    try:
        names = options.names or IMAGES
        made = {name: image(name, registry=options.registry, tag=options.tag) for name in names}
        builder = find_builder(options.builder)
        built = build(made, base=options.base_image, builder=builder, source=options.source)
    except (ImageError, UsageError) as error:
        print(f"images: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    show(built, Console())
    if options.registry != REGISTRY:
        for found in built:
            print(f"images: {builder.program} push {found['image']}")
    if options.json:
        options.json.write_text(json.dumps(built, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
