"""`make servers`: finds a server or builds it, and says in words where it can do neither."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT


class Machine:
    """A machine with nothing on PATH but what a test puts there, and an empty cache."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "bin"
        self.path.mkdir()
        self.server = folder / "cache" / "servers" / "minio"

    def install(self, name: str, script: str) -> None:
        program = self.path / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def make_servers(self) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, ROOT / "scripts" / "servers.py"],
            env={"PATH": str(self.path), "YOLOLINE_CACHE": str(self.server.parents[1])},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_go_it_is_said(machine: Machine) -> None:
    done = machine.make_servers()
    assert done.returncode == 1
    assert done.stdout == (
        f"servers: neither Go nor minio is on PATH, and {machine.server} does not exist; install "
        "Go 1.24 or newer, or tests marked 'server' are skipped\n"
    )


def test_without_go_an_installed_server_is_found(machine: Machine) -> None:
    machine.install("minio", "echo RELEASE.2025")
    for _ in range(2):  # the second time it is in the cache
        assert machine.make_servers().returncode == 0
        assert machine.server.resolve() == machine.path / "minio"
    (machine.path / "minio").rename(machine.path / "elsewhere")
    assert machine.make_servers().returncode == 1
    (machine.path / "elsewhere").rename(machine.path / "minio")
    assert machine.make_servers().returncode == 0


def test_what_go_builds_is_kept(machine: Machine) -> None:
    machine.install("minio", "echo another release")
    machine.install("go", 'echo "$@"; echo "echo built" >"$GOBIN/minio"')
    done = machine.make_servers()
    assert done.returncode == 0
    assert "install -trimpath -ldflags=-s -w github.com/minio/minio@v0.0.0-2026" in done.stdout
    assert machine.server.read_text() == "echo built\n"
    machine.install("go", "exit 1")
    done = machine.make_servers()
    assert (done.returncode, done.stdout) == (0, f"servers: minio is at {machine.server}\n")


def test_a_build_that_fails_leaves_nothing(machine: Machine) -> None:
    machine.install("go", 'echo part >"$GOBIN/minio"; echo "dial tcp: no route" >&2; exit 3')
    done = machine.make_servers()
    assert done.returncode == 1
    assert "dial tcp: no route" in done.stdout
    assert "building minio failed with status 3; see Go's own messages above" in done.stdout
    assert list(machine.server.parent.iterdir()) == []
