"""What is in an image, and what is not: read from the images and from inside them."""

from __future__ import annotations

import gzip
import json
import subprocess
import tarfile
import textwrap
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from scripts.images import revision
from tests.containers.conftest import BUILT, ROOT, Images
from yololine import __version__, steps
from yololine.telemetry.records import STEPS

LICENCES = {
    "data": "Apache-2.0",
    "platform": "Apache-2.0",
    "predictor": "Apache-2.0",
    "train": "Apache-2.0 AND AGPL-3.0-only",
}
STARTS = {"predictor": ["python3", "-m", "yololine.serving"]}
"""What an image runs by itself; a step's command comes from Kubeflow."""
LEARNING = ("prepare_weights", "train_detector", "export_detector")
"""The steps that need the training image."""
INSIDE = textwrap.dedent(
    """
    import importlib.metadata, importlib.util, json, os, platform, pwd, shutil, socket, sys
    import tempfile
    from pathlib import Path

    def writable(folder):
        try:
            with tempfile.TemporaryFile(dir=folder):
                return True
        except OSError:
            return False

    packages = list(importlib.metadata.distributions())
    print(json.dumps({
        "uid": os.getuid(),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "home": os.path.expanduser("~"),
        "temporary": tempfile.gettempdir(),
        "interpreter": sys.executable,
        "packages": {package.name: package.version for package in packages},
        "licences": {
            package.name: [
                value
                for key, value in package.metadata.items()
                if key in ("License", "License-Expression")
                or key == "Classifier" and value.startswith("License")
            ]
            for package in packages
        },
        "markers": {
            "python_version": ".".join(platform.python_version_tuple()[:2]),
            "python_full_version": platform.python_version(),
            "implementation_name": sys.implementation.name,
            "platform_machine": platform.machine(),
            "sys_platform": sys.platform,
        },
        "programs": [
            name
            for name in "pip pip3 uv gcc cc c++ clang make ld curl wget git".split()
            if shutil.which(name)
        ],
        "modules": [
            name
            for name in "pip ensurepip torch torchvision ultralytics triton kubernetes".split()
            if importlib.util.find_spec(name)
        ],
        "interfaces": [name for _, name in socket.if_nameindex()],
        "status": dict(
            line.split(":\\t", 1) for line in Path("/proc/self/status").read_text().splitlines()
        ),
        "writable": [
            folder for folder, *_ in os.walk("/")
            if not folder.startswith(("/proc", "/sys", "/dev")) and writable(folder)
        ],
    }))
    """
)


@pytest.fixture(scope="module", params=BUILT)
def name(request: pytest.FixtureRequest) -> str:
    """Each image's name."""
    assert isinstance(request.param, str)
    return request.param


@pytest.fixture(scope="module")
def inside(images: Images, name: str) -> dict[str, Any]:
    """What Python finds in a container as strict as a step's pod."""
    found = json.loads(images.run(name, "python3", "-c", INSIDE))
    assert isinstance(found, dict)
    return found


def test_image_says_what_it_is(images: Images, name: str) -> None:
    config = images.inspect(name)["Config"]
    assert config["User"] == "1000:1000"
    assert (config.get("Entrypoint") or []) == STARTS.get(name, [])
    labels = config["Labels"]
    assert labels["org.opencontainers.image.licenses"] == LICENCES[name]
    assert labels["org.opencontainers.image.version"] == __version__
    assert labels["org.opencontainers.image.title"] == f"yololine/{name}"
    assert labels["org.opencontainers.image.revision"] == revision()


def test_container_is_as_strict_as_the_strictest_pod(inside: dict[str, Any]) -> None:
    """Or the tests here would prove less than they say."""
    assert inside["interfaces"] == ["lo"]
    assert int(inside["status"]["CapEff"], 16) == 0
    assert int(inside["status"]["CapBnd"], 16) == 0
    assert inside["status"]["NoNewPrivs"] == "1"


def test_user_has_a_name_and_writes_nowhere_but_tmp(inside: dict[str, Any]) -> None:
    assert inside["uid"] == 1000
    assert inside["user"]
    assert inside["home"] == inside["temporary"] == "/tmp"
    assert inside["writable"] == ["/tmp"]


def test_packages_are_the_lock(images: Images, inside: dict[str, Any], name: str) -> None:
    lock = (ROOT / "containers" / name / "requirements.txt").read_text().replace("\\\n", " ")
    locked = {"yololine": __version__}
    for line in lock.splitlines():
        if line and not line.startswith((" ", "#")):
            pinned = Requirement(line.split(" --hash")[0])
            if pinned.marker is None or pinned.marker.evaluate(inside["markers"]):
                locked[pinned.name] = str(pinned.specifier).removeprefix("==")
    found = {canonicalize_name(name): version for name, version in inside["packages"].items()}
    assert found == locked
    assert len(images.facts[name]["packages"]) == len(locked)


def test_nothing_installs_downloads_or_compiles(inside: dict[str, Any]) -> None:
    assert inside["interpreter"] == "/opt/yololine/bin/python3"
    assert inside["programs"] == []
    assert not {"pip", "ensurepip", "triton"} & set(inside["modules"])


def test_only_the_training_image_has_torch_and_its_licence(
    inside: dict[str, Any], name: str
) -> None:
    learning = {"torch", "torchvision", "ultralytics"} & set(inside["modules"])
    assert bool(learning) == (name == "train")
    bound = {package for package, licences in inside["licences"].items() if "AGPL" in str(licences)}
    assert bool(bound) == (name == "train"), bound


def test_command_answers(images: Images, name: str) -> None:
    assert images.run(name, "yololine", "--version").strip() == __version__
    command = [*STARTS.get(name, []), *images.inspect(name)["Config"]["Cmd"]]
    assert "usage: " in images.run(name, *command).lower()


def test_every_step_loads_in_its_image(images: Images) -> None:
    """Off line, with a read-only root; the package `kfp` as Kubeflow starts it."""
    assert set(steps.__all__) >= set(STEPS)
    # What deployment imports when it is asked to, since few runs are.
    late = ["yololine.cluster.connecting", "yololine.deployment.deploying"]
    for image_name, loaded, modules in (
        ("data", [step for step in STEPS if step not in LEARNING], late),
        ("train", LEARNING, []),
    ):
        if image_name in BUILT:
            program = f"import {', '.join(['kfp.dsl.executor_main', *modules])}\n"
            program += f"from yololine.steps import {', '.join(loaded)}"
            images.run(image_name, "env", "_KFP_RUNTIME=true", "python3", "-c", program)


def test_no_layer_holds_what_belongs_to_this_machine(images: Images, name: str) -> None:
    """Its secrets, its index, its paths: neither in a file, nor in an environment or a history."""
    traces = {*images.secrets, f"{ROOT}/", "site.sh"}
    archive = [images.engine, "save", images.name(name)]
    with subprocess.Popen(archive, stdout=subprocess.PIPE) as process:
        assert process.stdout
        with tarfile.open(fileobj=process.stdout, mode="r|") as image:
            members = 0
            for member in image:
                # A layer that two images share is a link to its one copy.
                if member.isreg() and (file := image.extractfile(member)):
                    members += 1
                    assert not found_in(file, traces), member.name
    assert process.returncode == 0
    assert members > 3


def found_in(file: IO[bytes], traces: set[str]) -> set[str]:
    """Those of the texts that occur in a file, which may be compressed."""
    found = set()
    kept = b""
    for chunk in chunks(file):
        window = kept + chunk
        found |= {trace for trace in traces if trace.encode() in window}
        kept = window[-200:]
    return found


def chunks(file: IO[bytes]) -> Iterator[bytes]:
    """A file's content in pieces; of the members of a stream, which cannot be read again."""
    start = file.read(1 << 20)
    if start[:2] == b"\x1f\x8b":
        decompressor = zlib.decompressobj(wbits=31)
        yield decompressor.decompress(start)
        while chunk := file.read(1 << 20):
            yield decompressor.decompress(chunk)
        return
    while start:
        yield start
        start = file.read(1 << 20)


def test_search_for_traces_finds_them(tmp_path: Path) -> None:
    plain = b"x" * (1 << 20) + b"a-trace"
    for content in (plain, gzip.compress(plain)):
        path = tmp_path / "layer"
        path.write_bytes(content)
        with path.open("rb") as file:
            assert found_in(file, {"a-trace", "none"}) == {"a-trace"}


def test_sizes_and_packages_are_printed(images: Images, name: str) -> None:
    facts = images.facts[name]
    assert facts["image"] == images.name(name)
    largest = facts["packages"][0]
    assert 0 < largest["size_bytes"] < facts["size_bytes"]
    assert largest["name"] in images.output
    assert f"{facts['size_bytes'] / 1e6:,.0f}" in images.output
    if name != "train":
        assert facts["size_bytes"] < 1e9
