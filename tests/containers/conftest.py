"""The images under test, built once for all tests, and the program that runs them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import certifi
import pytest

from scripts.base_image import base_image
from scripts.builders import ImageError, find_builder
from scripts.images import default_base
from tests.conftest import _unavailable
from tests.containers.backend import confined
from yololine.images import image

ROOT = Path(__file__).resolve().parents[2]
REGISTRY, TAG = "yololine-tests", "tests"
"""Not the names that `make images` gives: a test replaces nobody's images."""
WITH_TRAIN = os.environ.get("YOLOLINE_TEST_TRAIN_IMAGE") == "1"
"""`make test-images` sets it: the training image is gigabytes, and takes minutes to build."""
BUILT = ("data", "platform", "predictor", *(("train",) if WITH_TRAIN else ()))


@dataclass(frozen=True, kw_only=True)
class Images:
    """What was built.

    `secrets` were part of the machine's settings meanwhile: no image may hold one.
    """

    engine: str
    base: str
    facts: dict[str, dict[str, Any]]
    secrets: tuple[str, ...]
    output: str

    def name(self, image_name: str) -> str:
        """An image's reference."""
        return image(image_name, registry=REGISTRY, tag=TAG)

    def inspect(self, image_name: str) -> dict[str, Any]:
        """The engine's description of an image."""
        command = [self.engine, "image", "inspect", self.name(image_name)]
        found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        assert isinstance(found[0], dict)
        return found[0]

    def pod(self, *, network: str = "none") -> list[str]:
        """The engine's command for a container as strict as a pod, up to the image."""
        words = confined(self.engine, user="1000", network=network)
        return [*words, "--tmpfs=/tmp:mode=1777"]

    def run(self, image_name: str, *command: str) -> str:
        """What a command prints in a container as strict as a step's pod, off line."""
        words = [*self.pod(), f"--entrypoint={command[0]}", self.name(image_name), *command[1:]]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """The images, built by the command that users call, with a site's settings around it."""
    folder = tmp_path_factory.mktemp("images")
    try:
        builder = find_builder()
        if builder.program == "buildah":
            raise ImageError("buildah builds images but runs none: install docker or podman")
        default = default_base(ROOT / "containers" / "data" / "Containerfile")
        base = base_image(builder, asked=None, default=default)
    except ImageError as error:
        _unavailable(str(error))
    secret = f"secret-{os.urandom(8).hex()}"
    # A site's proxy exceptions and authorities: they change no transfer, and they can be found.
    authorities = Path(os.environ.get("SSL_CERT_FILE") or certifi.where())
    marked = folder / "authorities.pem"
    marked.write_text(f"# {secret}-authority\n{authorities.read_text()}")
    no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY"), f"{secret}.example.com"]))
    facts = folder / "facts.json"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "scripts.images", *BUILT),
            *("--registry", REGISTRY, "--tag", TAG, "--builder", builder.program),
            *("--base-image", base, "--json", str(facts)),
        ],
        cwd=ROOT,
        env={
            **os.environ,
            "NO_PROXY": no_proxy,
            "PIP_CERT": str(marked),
            # Asks least of the machine: it may be a container itself.
            "BUILDAH_ISOLATION": "chroot",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    found = dict(zip(BUILT, json.loads(facts.read_bytes()), strict=True))
    return Images(
        engine=builder.program,
        base=base,
        facts=found,
        secrets=(secret,),
        output=done.stdout,
    )
