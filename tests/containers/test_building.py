"""Building: with each program that is here, and what is said where it cannot be done."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts import builders, check_containers, images, packages, site_settings
from tests.containers.conftest import ROOT, Images
from yololine.images import IMAGES

Fake = Callable[..., None]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Puts programs made up by a test in the place of all others."""
    programs = tmp_path / "programs"
    programs.mkdir()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("YOLOLINE_CACHE", str(tmp_path / "cache"))

    def put(**scripts: str) -> None:
        for name, script in scripts.items():
            program = programs / name.replace("_", "-")
            program.write_text(f"#!/bin/sh\n{script}\n")
            program.chmod(0o755)

    return put


NO_DAEMON = "echo 'Cannot connect to the Docker daemon' >&2; exit 1"
EMPTY = """case "$1" in
inspect) exit 1;;
pull) echo 'no such host' >&2; exit 125;;
build) echo 'STEP 3: RUN false'; exit 7;;
esac"""
"""A builder with no image and no registry, whose every build fails."""


@pytest.mark.parametrize(
    ("programs", "arguments", "says"),
    [
        ({}, [], ["podman is not installed", "apt-get install podman"]),
        ({"docker": NO_DAEMON}, [], ["Cannot connect to the Docker daemon", "apt-get install"]),
        ({"podman": EMPTY}, ["--builder", "docker"], ["docker is not installed"]),
        ({"podman": EMPTY}, ["--base-image", "r.example.com/b:1"], ["no such host", "Log in"]),
        ({"podman": EMPTY}, [], ["debootstrap", "BASE_IMAGE=..."]),
    ],
    ids=["nothing", "no daemon", "not the one asked for", "base not there", "no debootstrap"],
)
def test_refusals(
    fake: Fake,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    programs: dict[str, str],
    arguments: list[str],
    says: list[str],
) -> None:
    monkeypatch.setattr(packages, "SYSTEM_PROGRAMS", "")
    fake(**programs)
    assert images.main(["data", *arguments]) == 1
    error = capsys.readouterr().err
    assert all(words in error for words in says), error


def test_stand_in_is_for_root_and_says_what_debootstrap_said(
    fake: Fake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake(podman=EMPTY, debootstrap="echo 'E: no such mirror'; exit 1")
    for uid, says in ((1000, "only for root"), (0, "E: no such mirror")):
        monkeypatch.setattr("os.geteuid", lambda uid=uid: uid)
        assert images.main(["data"]) == 1
        printed = capsys.readouterr()
        assert says in printed.err
        assert "stands in for it" in printed.out
    assert not list(tmp_path.glob("cache/images/*/*"))


def test_failed_build_is_told_by_the_containerfile(
    fake: Fake, capfd: pytest.CaptureFixture[str]
) -> None:
    fake(podman=EMPTY.replace("inspect) exit 1", "inspect) exit 0"))
    assert images.main(["data"]) == 1
    printed = capfd.readouterr()
    assert "STEP 3: RUN false" in printed.out
    assert "containers/data/Containerfile: podman could not build" in printed.err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["data", "dta"], "image 'dta': is none of yololine's; use one of: data, "),
        (["--registry", "https://r.example.com/"], "write for instance r.example.com"),
        (["--tag", "latest"], "names whatever is newest"),
    ],
)
def test_names_that_are_none_are_refused_before_anything_is_built(
    fake: Fake, capsys: pytest.CaptureFixture[str], arguments: list[str], says: str
) -> None:
    fake()
    assert images.main(arguments) == 2
    assert says in capsys.readouterr().err


def working() -> list[str]:
    found = []
    for program in builders.PROGRAMS:
        try:
            found.append(builders.find_builder(program).program)
        except builders.ImageError:
            continue
    return found


@pytest.mark.parametrize("program", working())
def test_each_builder_builds_and_looks_inside(
    images: Images, program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One Containerfile for all; what is secret in a build is in no layer of it."""
    monkeypatch.setenv("BUILDAH_ISOLATION", "chroot")
    builder = builders.find_builder(program)
    if not builder.has(images.base):
        pytest.skip(f"{program} does not share {images.engine}'s images")
    secret = tmp_path / "secret"
    secret.write_text("4711")
    containerfile = tmp_path / "Containerfile"
    containerfile.write_text(
        "ARG BASE_IMAGE=none\nFROM ${BASE_IMAGE}\nARG ANSWER\n"
        "RUN --mount=type=secret,id=site.sh wc -c < /run/secrets/site.sh > /length\n"
        "RUN echo ${ANSWER} > /answer\nUSER 1000\n"
    )
    tag = f"yololine-tests/{program}:tests"
    context = tmp_path / "context"
    context.mkdir()
    builder.build(
        containerfile,
        context,
        tag=tag,
        arguments={"BASE_IMAGE": images.base, "ANSWER": tmp_path.name},
        labels={},
        secrets={"site.sh": secret},
    )
    assert builder.has(tag)
    program_text = (
        "from pathlib import Path; import os; print(os.getuid(), *(Path(p).read_text().strip() "
        "for p in ('/length', '/answer')), Path('/run/secrets/site.sh').exists())"
    )
    assert builder.python(tag, program_text).split() == ["0", "4", tmp_path.name, "False"]
    subprocess.run([program, "rmi", tag], capture_output=True, check=True)
    assert not builder.has(tag)


def test_site_settings_become_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pip's file counts for uv too; a variable wins over it; what is not there is not set."""
    authorities = tmp_path / "authorities.pem"
    authorities.write_text("")
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nindex-url = https://user:p'w@index.example.com/pypi\n"
        f"extra-index-url =\n    https://a.example.com\n    https://b.example.com\n"
        f"cert = {authorities}\n"
    )
    for name in (*site_settings._PASSED_ON, *site_settings._AUTHORITY_FILES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("UV_INDEX", "https://other.example.com")
    monkeypatch.setenv("https_proxy", "http://proxy.example.com:3128")
    secrets = site_settings.site_secrets(tmp_path)
    assert secrets["ca.crt"] == authorities
    command = ["sh", "-c", f". {secrets['site.sh']}; env"]
    done = subprocess.run(command, env={}, capture_output=True, text=True, check=True)
    found = dict(line.split("=", 1) for line in done.stdout.splitlines())
    expected = {
        "PIP_INDEX_URL": "https://user:p'w@index.example.com/pypi",
        "UV_DEFAULT_INDEX": "https://user:p'w@index.example.com/pypi",
        "PIP_EXTRA_INDEX_URL": "https://a.example.com https://b.example.com",
        "UV_INDEX": "https://other.example.com",
        "https_proxy": "http://proxy.example.com:3128",
        "PIP_CERT": "/run/secrets/ca.crt",
        "SSL_CERT_FILE": "/run/secrets/ca.crt",
    }
    assert {name: found.get(name) for name in expected} == expected
    assert "PIP_TRUSTED_HOST" not in found


def test_containerfiles_differ_only_in_what_an_image_is() -> None:
    files = {name: (ROOT / "containers" / name / "Containerfile").read_text() for name in IMAGES}
    assert check_containers.divergences(files) == []
    label = files["data"].replace("CPU only", "by hand").replace("NO_ALBUM", "SOME_ALBUM")
    assert check_containers.divergences(files | {"data": label}) == []
    changed = files["train"].replace("--require-hashes --no-deps -r", "--no-deps -r")
    ((name, line, message),) = check_containers.divergences(files | {"train": changed})
    assert name == "train"
    assert changed.splitlines()[line - 1].startswith("RUN")
    assert "containers/data/Containerfile" in message


def test_missing_programs_are_named_and_installed_only_in_ci(
    fake: Fake, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(packages, "SYSTEM_PROGRAMS", "")
    fake(apt_get=f'echo "$@" >> {tmp_path}/called')
    monkeypatch.delenv("CI", raising=False)
    assert packages.main() == 1
    assert "podman is missing: builds the images" in capsys.readouterr().err
    assert not (tmp_path / "called").exists()
    monkeypatch.setenv("CI", "true")
    assert packages.main() == 1
    wanted = " ".join(packages.wanted())
    assert (tmp_path / "called").read_text().splitlines() == [
        "update --quiet",
        f"install --quiet --yes --no-install-recommends {wanted}",
    ]
    fake(**dict.fromkeys(packages.wanted(), "true"))
    assert packages.main() == 0
