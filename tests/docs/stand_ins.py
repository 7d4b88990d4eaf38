"""Programs that a page's commands call and a test cannot: each checks that it could do its work.

`python -m tests.docs.stand_ins kubectl apply -k manifests/base` says what is wrong and exits with
1, or prints what the real one would begin with.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import yaml
from packaging.requirements import Requirement

from yololine.images import IMAGES, checked_image
from yololine.serving.command import COMMAND

ROOT = Path(__file__).parents[2]
NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?")


def make(arguments: list[str]) -> None:
    """The targets are there, and so is everything that their recipes call: make's own dry run."""
    real = shutil.which("make", path=os.defpath)
    if real is None:
        _refuse("make is not installed")
    recipes = (ROOT / "Makefile").read_text(encoding="utf-8")
    for argument in arguments:
        variable, sets, _ = argument.partition("=")
        if sets and f"$({variable})" not in recipes:
            _refuse(f"no recipe reads {variable}")
    done = subprocess.run([real, "--dry-run", "-C", ROOT, *arguments], check=False)
    sys.exit(done.returncode)


def pip(arguments: list[str]) -> None:
    """What is asked for is this project, with extras that it has."""
    parser = _Parser("pip")
    install = parser.commands("install")["install"]
    install.add_argument("--upgrade", action="store_true")
    install.add_argument("what", nargs="+")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for text in parser.parse_args(arguments).what:
        wheel = re.fullmatch(r"(?:.*/)?(\w+)-([\d.]+)-py3-none-any\.whl(\[.*\])?", text)
        asked = Requirement(f"{wheel[1]}{wheel[3] or ''}=={wheel[2]}" if wheel else text)
        unknown = asked.extras - set(project["optional-dependencies"])
        if asked.name != project["name"] or unknown:
            _refuse(f"{text}: pyproject.toml has no such project or extra")
        if not asked.specifier.contains(project["version"]):
            _refuse(f"{text}: the version is {project['version']}")


def kubectl(arguments: list[str]) -> None:
    """The options parse, names are names, and files hold what Kubernetes takes."""
    parser = _Parser("kubectl")
    parser.add_argument("-n", "--namespace", type=_name)
    verbs = parser.commands("apply", "create", "get", "label", "logs", "patch", "port-forward")
    for verb in verbs.values():
        verb.add_argument("-n", "--namespace", type=_name, default=argparse.SUPPRESS)

    where = verbs["apply"].add_mutually_exclusive_group(required=True)
    where.add_argument("-f", "--filename", type=_manifests)
    where.add_argument("-k", "--kustomize", type=_kustomization)

    kinds = verbs["create"].commands("configmap", "namespace", "secret")
    kinds["namespace"].add_argument("name", type=_name)
    secrets = kinds["secret"].commands("docker-registry", "generic")
    for kind in (kinds["configmap"], secrets["generic"]):
        kind.add_argument("name", type=_name)
        kind.add_argument("--from-literal", action="append", default=[], type=_pair)
        kind.add_argument("--from-file", action="append", default=[])
        kind.add_argument("-n", "--namespace", type=_name)
    registry = secrets["docker-registry"]
    registry.add_argument("name", type=_name)
    registry.add_argument("-n", "--namespace", type=_name)
    for option in ("server", "username", "password"):
        registry.add_argument(f"--docker-{option}", required=True)

    verbs["get"].add_argument("kind", type=_kind)
    verbs["get"].add_argument("name", nargs="?")
    verbs["get"].add_argument("-o", "--output", choices=("yaml", "json", "wide", "name"))
    verbs["get"].add_argument("-l", "--selector")
    verbs["get"].add_argument("--sort-by")

    verbs["label"].add_argument("kind", type=_kind)
    verbs["label"].add_argument("name", type=_name)
    verbs["label"].add_argument("labels", nargs="+", type=_pair)

    verbs["logs"].add_argument("pod")
    verbs["logs"].add_argument("-c", "--container", choices=("main", "wait", "init"))

    verbs["patch"].add_argument("kind", type=_kind)
    verbs["patch"].add_argument("name", type=_name)
    patch = verbs["patch"].add_mutually_exclusive_group(required=True)
    patch.add_argument("--patch-file", type=_manifests)
    patch.add_argument("-p", "--patch", type=_mapping)

    verbs["port-forward"].add_argument("target", type=_service)
    verbs["port-forward"].add_argument("ports", type=_ports)
    parser.parse_args(arguments)


def podman(arguments: list[str]) -> None:
    """Images have names, a Containerfile is there, an archive is loaded only after it is saved."""
    parser = _Parser("podman")
    verbs = parser.commands("build", "load", "login", "push", "run", "save")
    verbs["build"].add_argument("--file", required=True, type=_in_repository)
    verbs["build"].add_argument("--tag", required=True, type=_image)
    verbs["build"].add_argument("context", choices=(".",))
    verbs["load"].add_argument("--input", required=True, type=argparse.FileType())
    verbs["login"].add_argument("registry", type=_name)
    verbs["push"].add_argument("image", type=_image)
    verbs["push"].add_argument("--digestfile", type=Path)
    for flag in ("--rm", "--read-only"):
        verbs["run"].add_argument(flag, action="store_true")
    verbs["run"].add_argument("--publish", type=_ports)
    verbs["run"].add_argument("--tmpfs", "--volume", action="append")
    verbs["run"].add_argument("image", type=_image)
    verbs["run"].add_argument("options", nargs=argparse.REMAINDER)
    verbs["save"].add_argument("--multi-image-archive", action="store_true")
    verbs["save"].add_argument("--output", required=True, type=Path)
    verbs["save"].add_argument("images", nargs="+", type=_image)
    given = parser.parse_args(arguments)
    if arguments[0] == "run":
        COMMAND.make_context("predictor", given.options)
    if arguments[0] == "push" and given.digestfile:
        given.digestfile.write_text("sha256:" + "0" * 64)
    if arguments[0] == "save":
        given.output.touch()


def on_files(arguments: list[str]) -> None:
    """The files that a tool is to look at are there, in the repository."""
    parser = _Parser("a tool of the checks")
    parser.add_argument("-m", type=_markers)
    parser.add_argument("words", nargs="+")
    verbs, *paths = parser.parse_args(arguments).words
    for path in [verbs, *paths] if verbs not in {"check", "format"} else paths:
        if not (ROOT / path).exists():
            _refuse(f"{path} is not in the repository")


STAND_INS: dict[str, Callable[[list[str]], None]] = {
    "kubectl": kubectl,
    "make": make,
    "mypy": on_files,
    "pip": pip,
    "podman": podman,
    "pytest": on_files,
    "ruff": on_files,
}


class _Parser(argparse.ArgumentParser):
    """An argument parser that takes no abbreviations, with verbs."""

    def __init__(self, prog: str, **others: Any) -> None:
        super().__init__(prog=prog, allow_abbrev=False, **others)

    def commands(self, *names: str) -> dict[str, _Parser]:
        verbs = self.add_subparsers(required=True, parser_class=_Parser)
        return {name: verbs.add_parser(name) for name in names}


def _refuse(why: str) -> NoReturn:
    sys.exit(f"stand-in: {why}")


def _checked(text: str, good: bool, wanted: str) -> str:
    if not good:
        raise argparse.ArgumentTypeError(f"{text!r} is no {wanted}")
    return text


def _name(text: str) -> str:
    return _checked(text, bool(NAME.fullmatch(text)), "name of Kubernetes")


def _kind(text: str) -> str:
    known = {"configmap", "namespace", "pods", "resourcequota", "secret", "serviceaccount"}
    return _checked(text, text in known, "kind that this stand-in knows")


def _pair(text: str) -> str:
    return _checked(text, bool(re.fullmatch(r"[A-Za-z0-9./_-]+=.+", text)), "name=value")


def _markers(text: str) -> str:
    pytest = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["pytest"]
    known = {line.split(":")[0] for line in pytest["ini_options"]["markers"]}
    return _checked(text, set(text.split()) <= known | {"and", "not", "or"}, "choice of markers")


def _ports(text: str) -> str:
    return _checked(text, bool(re.fullmatch(r"\d+(:\d+)?", text)), "pair of ports")


def _service(text: str) -> str:
    kind, _, name = text.partition("/")
    return _checked(
        text, kind in {"svc", "service", "pod"} and bool(NAME.fullmatch(name)), "target"
    )


def _image(text: str) -> str:
    name = re.split("[:@]", checked_image(text).rpartition("/")[2])[0]
    return _checked(text, name in IMAGES, "image of yololine's")


def _in_repository(path: str) -> str:
    return _checked(path, (ROOT / path).is_file(), "file of the repository")


def _mapping(text: str) -> Any:
    content = yaml.safe_load(text)
    _checked(text, isinstance(content, dict), "mapping")
    return content


def _manifests(path: str) -> list[dict[str, Any]]:
    """The objects of a file."""
    file = Path(path)
    _checked(path, file.is_file(), "file")
    found = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    for document in found:
        named = isinstance(document, dict) and {"apiVersion", "kind", "metadata"} <= set(document)
        _checked(path, named and "name" in document["metadata"], "file of Kubernetes objects")
    return found


def _kustomization(path: str) -> list[dict[str, Any]]:
    """The objects of a kustomization and of those that it builds on."""
    folder = Path(path)
    _checked(path, (folder / "kustomization.yaml").is_file(), "folder with a kustomization.yaml")
    content = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    known = {"apiVersion", "kind", "metadata", "resources", "namespace", "labels", "patches"}
    _checked(path, set(content) <= known, f"kustomization of {sorted(known)}")
    found: list[dict[str, Any]] = []
    for name in content.get("resources", []):
        entry = str(folder / name)
        found += _kustomization(entry) if Path(entry).is_dir() else _manifests(entry)
    for patch in content.get("patches", []):
        target = yaml.safe_load(patch["patch"])
        same = [
            item
            for item in found
            if (item["kind"], item["metadata"]["name"])
            == (target["kind"], target["metadata"]["name"])
        ]
        _checked(path, len(same) == 1, f"patch of one object: {target['metadata']['name']}")
    return found


if __name__ == "__main__":
    STAND_INS[sys.argv[1]](sys.argv[2:])
