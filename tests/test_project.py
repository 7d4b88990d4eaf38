"""The project's own promises: imports, what is built, what is locked, what `make` offers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from scripts import check_containers, check_manifests, locks
from yololine import __version__
from yololine.telemetry.records import STEPS

ROOT = Path(__file__).resolve().parent.parent
COMPILED = {path.name for path in (ROOT / "pipelines" / "compiled").glob("*.yaml")}
COMPONENTS = {path.name for path in (ROOT / "components" / "compiled").glob("*.yaml")}
LOCKS = [lock.target for lock in locks.locks()]


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Run a command; a failure shows what it printed."""
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def build(kind: str, source: Path, target: Path) -> Path:
    """Build an sdist or a wheel from a source tree, with the locked hatchling."""
    run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", target, cwd=source)
    (built,) = target.iterdir()
    return built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_imports_point_one_way() -> None:
    run(Path(sys.executable).with_name("lint-imports"))


def test_wheel_carries_types_pipelines_and_components(wheel: Path) -> None:
    found = names(wheel)
    assert "yololine/py.typed" in found
    compiled = {name for name in found if name.startswith("yololine/compiled/")}
    assert compiled == {f"yololine/compiled/{name}" for name in COMPILED} | {
        f"yololine/compiled/components/{name}" for name in COMPONENTS
    }
    assert "training.yaml" in COMPILED
    assert len(COMPONENTS) == len(STEPS)
    assert {name.split("/")[0] for name in found} == {"yololine", "yololine-0.1.0.dist-info"}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's own folder of packages; the rest it finds in this environment."""
    site = tmp_path_factory.mktemp("installed") / "site"
    uv = Path(sys.executable).with_name("uv")
    options = ("--quiet", "--offline", "--no-deps", "--python", sys.executable, "--target", site)
    run(uv, "pip", "install", *options, wheel)
    return site


def in_wheel(installed: Path, *command: str | Path, cwd: Path) -> str:
    """Run a command that finds the wheel before the checkout."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(installed))
        return run(*command, cwd=cwd)


def test_installed_wheel_gives_pipelines_and_components(installed: Path, tmp_path: Path) -> None:
    program = """
import yololine
from yololine.pod import on_cluster
print(yololine.__file__)
print(yololine.pipeline_package("training"))
print(yololine.component_package("clean_dataset"))
print(yololine.component("clean_dataset").name)
"""
    told = in_wheel(installed, sys.executable, "-c", program, cwd=tmp_path)
    package = installed / "yololine"
    assert told.splitlines() == [
        str(package / "__init__.py"),
        str(package / "compiled" / "training.yaml"),
        str(package / "compiled" / "components" / "clean_dataset.yaml"),
        "clean-dataset",
    ]


def test_installed_wheels_command_compiles(installed: Path, tmp_path: Path) -> None:
    command = installed / "bin" / "yololine"
    for name, images in (("training", "data train predictor"), ("train_detector", "train")):
        told = in_wheel(
            installed, command, "compile", name, "--registry", "registry.example.com", cwd=tmp_path
        )
        wanted = [f"registry.example.com/{image}:{__version__}" for image in images.split()]
        assert told == f"{name}.yaml: {', '.join(wanted)}\n"
        assert all(image in (tmp_path / f"{name}.yaml").read_text() for image in wanted)
    assert "training" in in_wheel(installed, command, "run", "--help", cwd=tmp_path)


def test_sdist_builds_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build("sdist", ROOT, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "source", filter="data")
    (source,) = (tmp_path / "source").iterdir()
    again = build("wheel", source, tmp_path / "wheel")
    assert names(again) == names(wheel)


def test_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    code = "import yololine; print(yololine.__version__)"
    assert run(sys.executable, "-c", code).strip() == project["version"]


def test_importing_yololine_loads_nothing_heavy() -> None:
    heavy = "cv2 kfp kubernetes minio numpy pyarrow pydantic torch ultralytics"
    code = f"import sys, yololine; print(*sorted(set('{heavy}'.split()) & set(sys.modules)))"
    assert run(sys.executable, "-c", code).split() == []


def test_make_alone_lists_the_targets() -> None:
    listed = {line.split()[0] for line in run("make", "--no-print-directory").splitlines()}
    assert listed == {
        *("help", "setup", "demo", "test", "check", "fix", "compile", "docs", "servers"),
        *("images", "test-images"),
    }


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_locks_pin_and_hash_every_line(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [
        line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    assert lines
    for line in lines:
        assert re.match(r"[a-z0-9._-]+==\S+ ", line), line
        assert "--hash=sha256:" in line, line


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(ROOT)))
def test_locks_name_no_address(lock: Path) -> None:
    assert not re.search(r"://| @ |--(index|extra-index|find)", lock.read_text(encoding="utf-8"))


def test_no_file_names_a_machine() -> None:
    """What is true on one machine only: its paths, and the package index it was set up with."""
    here = [f"{ROOT}/", f"{Path.home()}/"]
    indexes = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "UV_INDEX", "UV_INDEX_URL")
    here += [value for name in indexes for value in os.environ.get(name, "").split()]
    patterns = [
        *(re.escape(text) for text in here if len(text) > 4),
        r"--(extra-)?index[-]url\b",
        r"https?://\S+/simple\b",
    ]
    machine = re.compile("|".join(patterns))
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    found = []
    for name in filter(None, listed.split("\0")):
        file = ROOT / name
        if file.is_file() and (hit := machine.search(file.read_text("utf-8", errors="replace"))):
            found.append(f"{name}: {hit.group()}")
    assert found == []


GOOD_CONTAINERFILE = """\
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE_IMAGE} AS build
COPY containers/data/requirements.txt ./
RUN pip install --require-hashes -r requirements.txt
COPY src src
FROM ${BASE_IMAGE}
USER 1000:1000
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("bookworm", "bookworm", None),
        ("python:3.11-slim-bookworm", "python:latest", "no version tag"),
        ("python:3.11-slim-bookworm", "python", "no version tag"),
        ("FROM ${BASE_IMAGE}\n", "FROM debian:12\n", "start from"),
        ("--require-hashes ", "", "no --require-hashes"),
        ("COPY containers", "COPY src src\nCOPY containers", "before the lock"),
        ("COPY src src", "ADD src src", "ADD"),
        ("USER 1000:1000", "USER yololine", "USER 1000"),
        ("USER 1000:1000", "RUN wget x\nUSER 1000:1000", "wget"),
        ("USER 1000:1000", "RUN apt-get install -y x\nUSER 1000:1000", "apt-get"),
    ],
)
def test_containerfile_rules(old: str, new: str, says: str | None) -> None:
    text = GOOD_CONTAINERFILE.replace(old, new)
    found = [message for _, message in check_containers.problems(check_containers.parse(text))]
    assert (found == []) if says is None else any(says in message for message in found), found


GOOD_MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
metadata: {name: x}
spec:
  template:
    spec:
      securityContext: {runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
      containers:
        - name: c
          securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
"""


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("name: x", "name: y", None),
        ("kind: Deployment\n", "", "no kind"),
        ("{name: x}", "{}", "no metadata.name"),
        ("runAsNonRoot: true, ", "", "runAsNonRoot"),
        ("drop: [ALL]", "drop: []", "capabilities"),
        ("{name: x}", "{name: x", "does not parse"),
    ],
)
def test_manifest_rules(tmp_path: Path, old: str, new: str, says: str | None) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(GOOD_MANIFEST.replace(old, new), encoding="utf-8")
    found = list(check_manifests.file_problems(file))
    assert (found == []) if says is None else any(says in message for message in found), found


def test_kustomization_and_its_folder_agree(tmp_path: Path) -> None:
    kustomization = tmp_path / "kustomization.yaml"
    kustomization.write_text(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"
        "metadata: {name: x}\nresources: [gone.yaml]\n",
        encoding="utf-8",
    )
    (tmp_path / "forgotten.yaml").write_text("", encoding="utf-8")
    found = "\n".join(check_manifests.file_problems(kustomization))
    assert "gone.yaml, which does not exist" in found
    assert "does not list forgotten.yaml" in found
