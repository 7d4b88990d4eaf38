"""Check or repair the locks: each requirements file, resolved with hashes.

    python scripts/locks.py            compare; exit 1 and name what is stale
    python scripts/locks.py --fix      rewrite what is stale
    python scripts/locks.py --upgrade  move every pin to its newest release

A lock is resolved on top of what it already pins, so a pin moves only where an input demands
it, or by --upgrade. Requirement files rather than a uv.lock, because that one records the address
of the index it was resolved against, and a mirror's address is of no use to anybody else.
"""

from __future__ import annotations

import argparse
import difflib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A requirements file, and the file it resolves into."""

    source: Path
    target: Path

    @property
    def overrides(self) -> list[Path]:
        """Return what no resolution takes, then what this one does without."""
        common = ROOT / "requirements" / "overrides.txt"
        own = self.source.with_name(common.name)
        return [file for file in dict.fromkeys((common, own)) if file.exists()]


def locks() -> list[Lock]:
    """List the locks in the order they depend on each other: all are held to dev.txt."""
    requirements = ROOT / "requirements"
    images = sorted((ROOT / "containers").glob("*/requirements.in"))
    sources = [requirements / "dev.in", requirements / "build.in", *images]
    return [Lock(source=source, target=source.with_suffix(".txt")) for source in sources]


def uv() -> str:
    """Return the uv that belongs to this interpreter's environment, or the one on PATH."""
    own = Path(sysconfig.get_path("scripts")) / "uv"
    found = str(own) if own.exists() else shutil.which("uv")
    if found is None:
        sys.exit("locks: uv is neither in this environment nor on PATH; run `make setup`")
    return found


def resolve(lock: Lock, *, upgrade: bool) -> str:
    """Return the text the lock should have."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / lock.target.name
        if lock.target.exists():
            # uv keeps to the pins and hashes that it finds in its output file.
            shutil.copyfile(lock.target, output)
        result = subprocess.run(
            [
                uv(),
                "pip",
                "compile",
                "--quiet",
                "--universal",
                "--python-version=3.11",
                "--generate-hashes",
                *(f"--override={file.relative_to(ROOT)}" for file in lock.overrides),
                # The project itself is built from the checkout.
                "--no-emit-package=yololine",
                # Nothing of the machine that resolved it: no index, no command line with paths.
                "--no-emit-index-url",
                "--no-emit-find-links",
                "--custom-compile-command=make fix",
                *(["--upgrade"] if upgrade else []),
                f"--output-file={output}",
                str(lock.source.relative_to(ROOT)),
            ],
            cwd=ROOT,  # `.[data]` in a requirements file is relative to here
            stdout=subprocess.DEVNULL,  # uv prints what it also writes
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        if result.returncode != 0:
            sys.exit(f"locks: {lock.source.relative_to(ROOT)} does not resolve:\n{result.stderr}")
        return output.read_text(encoding="utf-8")


def main() -> int:
    """Compare each lock with its resolution, or rewrite it."""
    parser = argparse.ArgumentParser(description="Check or repair the locks.")
    parser.add_argument("--fix", action="store_true", help="rewrite what is stale")
    parser.add_argument("--upgrade", action="store_true", help="move every pin; implies --fix")
    options = parser.parse_args()
    stale = 0
    for lock in locks():
        name = str(lock.target.relative_to(ROOT))
        current = lock.target.read_text(encoding="utf-8") if lock.target.exists() else ""
        wanted = resolve(lock, upgrade=options.upgrade)
        if wanted == current:
            continue
        if options.fix or options.upgrade:
            lock.target.write_text(wanted, encoding="utf-8")
            print(f"locks: rewrote {name}")
            continue
        stale += 1
        changes = difflib.unified_diff(
            current.splitlines(), wanted.splitlines(), name, f"{name} resolved", n=0, lineterm=""
        )
        print("\n".join(line for line in changes if "--hash=" not in line))
        print(f"locks: {name} is not what {lock.source.name} resolves to; run make fix")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
