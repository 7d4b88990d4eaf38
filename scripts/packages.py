"""Say which system programs of `requirements/debian.txt` are missing; in CI, install them.

Someone's own machine is theirs: nothing is installed there, and a test that needs what is missing
is skipped with the reason. Where CI=true nothing may be skipped, so apt-get installs it.

Exit status: 0 when every program is there, 1 when one is not.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = Path(__file__).resolve().parent.parent / "requirements" / "debian.txt"
SYSTEM_PROGRAMS = os.pathsep.join(["/usr/sbin", "/sbin"])


def wanted() -> dict[str, str]:
    """Map each package, named like its command, to what it is for."""
    lines = PACKAGES.read_text(encoding="utf-8").splitlines()
    entries = (line.split("#", 1) for line in lines if line and not line.startswith("#"))
    return {package.strip(): reason.strip() for package, reason in entries}


def search_path() -> str:
    """PATH, with the folders that Debian leaves out of a user's: debootstrap and runc are there."""
    return os.pathsep.join([os.environ.get("PATH", os.defpath), SYSTEM_PROGRAMS])


def missing() -> list[str]:
    """Return the packages whose command cannot be found."""
    return [package for package in wanted() if shutil.which(package, path=search_path()) is None]


def install(packages: list[str]) -> None:
    """Install Debian packages, and nothing that they only recommend."""
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["apt-get", "update", "--quiet"],
        ["apt-get", "install", "--quiet", "--yes", "--no-install-recommends", *packages],
    ):
        subprocess.run(command, env=environ, check=True)


def main() -> int:
    """Look for every program; where CI=true, install what is not there."""
    lacking = missing()
    if lacking and os.environ.get("CI") == "true":
        print(f"packages: installing {' '.join(lacking)}", flush=True)
        try:
            install(lacking)
        except (OSError, subprocess.CalledProcessError) as error:
            print(f"packages: {error}; see apt-get's own messages above", file=sys.stderr)
        lacking = missing()
    for package in lacking:
        print(f"packages: {package} is missing: {wanted()[package]}", file=sys.stderr)
    if lacking:
        print(
            "packages: a test that needs one, and finds nothing in its place, cannot run; on "
            f"Debian or Ubuntu: sudo apt-get install {' '.join(lacking)}",
            file=sys.stderr,
        )
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
