"""Find or build the real servers the tests talk to, once, in a cache that later runs reuse.

Tests run against a real MinIO rather than a stand-in, since ETags, multipart limits and
error codes are what breaks in the field. MinIO is not packaged for Python; its Go module is
served, so the Go toolchain builds it (two to three minutes on two cores, then never again).
Without Go, one that is on PATH serves as well, if it is not too old.

Exit status: 0 when every server is in the cache, 1 when one is not. Without Go the tests
that need a server are skipped with that reason; under CI=true they fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

SERVERS = {
    # The last published MinIO source. A pseudo-version, because the Go module proxy does not
    # serve the project's release tags (RELEASE.*), which are not semantic versions.
    "minio": "github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c",
}


def folder() -> Path:
    """Return the folder of server binaries; `YOLOLINE_CACHE` moves it."""
    cache = os.environ.get("YOLOLINE_CACHE")
    root = Path(cache).expanduser() if cache else Path.home() / ".cache" / "yololine"
    return root / "servers"


def build(name: str, module: str, target: Path) -> None:
    """Build one server from its Go module; `target` appears whole or not at all."""
    print(f"servers: building {name} from {module} (minutes, once)", flush=True)
    # Beside the target, so that the rename below stays on one file system and is atomic.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{name}-") as scratch:
        subprocess.run(
            ["go", "install", "-trimpath", "-ldflags=-s -w", module],
            env={**os.environ, "GOBIN": scratch, "CGO_ENABLED": "0"},
            check=True,
        )
        (Path(scratch) / name).replace(target)


def main() -> int:
    """Build what the cache lacks."""
    servers = folder()
    for name, module in SERVERS.items():
        target = servers / name
        if target.exists():
            print(f"servers: {name} is at {target}")
            continue
        installed = shutil.which(name)
        servers.mkdir(parents=True, exist_ok=True)
        if shutil.which("go") is None and installed:
            target.unlink(missing_ok=True)  # a link to one that is gone
            target.symlink_to(Path(installed).absolute())
            print(f"servers: {name} is {installed}, of whatever release; Go would build {module}")
            continue
        if shutil.which("go") is None:
            print(
                f"servers: neither Go nor {name} is on PATH, and {target} does not exist; install "
                "Go 1.24 or newer, or tests marked 'server' are skipped",
                file=sys.stderr,
            )
            return 1
        try:
            build(name, module, target)
        except subprocess.CalledProcessError as error:
            print(
                f"servers: building {name} failed with status {error.returncode}; "
                "see Go's own messages above",
                file=sys.stderr,
            )
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
