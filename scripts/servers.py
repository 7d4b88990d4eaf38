"""Find or build the real servers the tests talk to, once, in a cache that later runs reuse.

Tests run against a real MinIO and a real Kubernetes API rather than stand-ins, since ETags,
multipart limits, conflicts and error codes are what breaks in the field. Neither is packaged for
Python; their Go modules are served, so the Go toolchain builds them (minutes on two cores, then
never again). Without Go, a MinIO that is on PATH serves as well, if it is not too old.

Exit status: 0 when every server is in the cache, 1 when one is not. Without Go the tests
that need a server are skipped with that reason; under CI=true they fail.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The last published MinIO source. A pseudo-version, because the Go module proxy does not serve the
# project's release tags (RELEASE.*), which are not semantic versions.
MINIO = "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c"
KUBERNETES_LOCK = ROOT / "requirements" / "servers"
"""A Go module of no code: which releases, and the checksum of every module they are made of."""
KUBERNETES = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    # Stands in for the kubelets: says of pods that they run.
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
}
_SMALL = ("-trimpath", "-ldflags=-s -w")


def folder() -> Path:
    """Return the folder of server binaries; `YOLOLINE_CACHE` moves it."""
    cache = os.environ.get("YOLOLINE_CACHE")
    root = Path(cache).expanduser() if cache else Path.home() / ".cache" / "yololine"
    return root / "servers"


def kubernetes_folder() -> Path:
    """Return the folder of etcd and Kubernetes as this checkout locks them.

    It is named by the lock's content: with another release, the servers are built anew.
    """
    digest = hashlib.sha256()
    for name in ("go.mod", "go.sum"):
        digest.update((KUBERNETES_LOCK / name).read_bytes())
    return folder() / f"kubernetes-{digest.hexdigest()[:12]}"


def build(name: str, target: Path, arguments: Sequence[str]) -> None:
    """Build one server; `target` appears whole or not at all.

    Args:
        name: Of the program.
        target: The file to make.
        arguments: Of go; it leaves the program in GOBIN, or where `{output}` stands.
    """
    print(f"servers: building {name} from {arguments[-1]} (minutes, once)", flush=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    # Beside the target, so that the rename below stays on one file system and is atomic.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch:
        made = Path(scratch) / name
        subprocess.run(
            ["go", *(word.format(output=made) for word in arguments)],
            env={**os.environ, "GOBIN": scratch, "CGO_ENABLED": "0"},
            check=True,
        )
        made.replace(target)


def find_minio(target: Path) -> bool:
    """Where there is no Go, take the MinIO that is on PATH; return whether there is one."""
    installed = shutil.which("minio")
    if installed is None:
        return False
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)  # a link to one that is gone
    target.symlink_to(Path(installed).absolute())
    print(f"servers: minio is {installed}, of whatever release; Go would build {MINIO}")
    return True


def main() -> int:
    """Build what the cache lacks."""
    kubernetes = kubernetes_folder()
    wanted = {folder() / "minio": ["install", *_SMALL, MINIO]}
    for name, package in KUBERNETES.items():
        # `-C` comes first; with it, go reads that folder's go.mod and go.sum, and changes neither.
        command = ["build", "-C", str(KUBERNETES_LOCK), "-mod=readonly", "-buildvcs=false"]
        wanted[kubernetes / name] = [*command, *_SMALL, "-o", "{output}", package]
    lacking = []
    for target, arguments in wanted.items():
        name = target.name
        if target.exists():
            print(f"servers: {name} is at {target}")
            continue
        if shutil.which("go") is None:
            if name != "minio" or not find_minio(target):
                lacking.append(name)
            continue
        try:
            build(name, target, arguments)
        except subprocess.CalledProcessError as error:
            print(
                f"servers: building {name} failed with status {error.returncode}; "
                "see Go's own messages above",
                file=sys.stderr,
            )
            return 1
    if lacking:
        print(
            f"servers: no Go is on PATH to build {', '.join(lacking)}; install Go 1.26 or newer, "
            "or tests marked 'server' that need one are skipped",
            file=sys.stderr,
        )
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
