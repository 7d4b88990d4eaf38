"""`make servers`: finds a server or builds it, and says in words where it can do neither."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from scripts import servers
from scripts.servers import KUBERNETES
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
        "servers: no Go is on PATH to build minio, etcd, kube-apiserver, kube-controller-manager, "
        "kube-scheduler, kwok; install Go 1.26 or newer, or tests marked 'server' that need one "
        "are skipped\n"
    )


def test_without_go_an_installed_server_is_found(machine: Machine) -> None:
    """MinIO alone: of Kubernetes, tests need this release and no other."""
    machine.install("minio", "echo RELEASE.2025")
    for _ in range(2):  # the second time it is in the cache
        assert "Go is on PATH to build etcd, " in machine.make_servers().stdout
        assert machine.server.resolve() == machine.path / "minio"
    (machine.path / "minio").rename(machine.path / "elsewhere")
    assert "Go is on PATH to build minio, " in machine.make_servers().stdout
    (machine.path / "elsewhere").rename(machine.path / "minio")
    assert "Go is on PATH to build etcd, " in machine.make_servers().stdout


BUILDS = """echo "$@"
for word; do
    if [ "$last" = -o ]; then output=$word; fi
    last=$word
done
echo built >"${output:-$GOBIN/minio}"
"""
"""What a go does that is asked for one program."""


def test_what_go_builds_is_kept(machine: Machine) -> None:
    machine.install("minio", "echo another release")
    machine.install("go", BUILDS)
    done = machine.make_servers()
    assert done.returncode == 0, done.stdout
    assert "install -trimpath -ldflags=-s -w github.com/minio/minio@v0.0.0-2026" in done.stdout
    assert "k8s.io/kubernetes/cmd/kube-apiserver" in done.stdout
    (kubernetes,) = machine.server.parent.glob("kubernetes-*")
    built = [machine.server, *(kubernetes / name for name in KUBERNETES)]
    assert [path.read_text() for path in built] == ["built\n"] * 6
    machine.install("go", "exit 1")
    done = machine.make_servers()
    assert done.returncode == 0
    assert done.stdout.splitlines() == [f"servers: {path.name} is at {path}" for path in built]


def test_a_build_that_fails_leaves_nothing(machine: Machine) -> None:
    machine.install("go", 'echo part >"$GOBIN/minio"; echo "dial tcp: no route" >&2; exit 3')
    done = machine.make_servers()
    assert done.returncode == 1
    assert "dial tcp: no route" in done.stdout
    assert "building minio failed with status 3; see Go's own messages above" in done.stdout
    assert not list(machine.server.parent.iterdir())


def test_another_release_of_kubernetes_is_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = servers.kubernetes_folder()
    for name in ("go.mod", "go.sum"):
        lock = (servers.KUBERNETES_LOCK / name).read_text()
        (tmp_path / name).write_text(lock.replace("k8s.io/kubernetes v1.36.2", "k8s.io/x v2"))
    monkeypatch.setattr(servers, "KUBERNETES_LOCK", tmp_path)
    assert servers.kubernetes_folder() != before
