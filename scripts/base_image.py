"""The image that the others start from; where it cannot be had, a Debian in its place."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from scripts.builders import Builder, ImageError
from scripts.packages import search_path

SUITE = "bookworm"
"""The Debian of the default base; its python3 is 3.11."""
STAND_IN = f"localhost/yololine-base:{SUITE}"
PUBLIC_MIRROR = "http://deb.debian.org/debian"

# What Debian's slim images leave out, too, and what the machine is called that made it, how it
# resolves names, what it wrote down. The licences stay.
_SLIM = f"""
rm -rf /etc/hostname /etc/resolv.conf /var/log/* /var/cache/apt/* /var/cache/debconf/*-old \\
    /var/lib/apt/lists/* /usr/share/info/* /usr/share/locale/* /usr/share/man/*
find /usr/share/doc -depth ! -type d ! -name copyright -delete
echo deb {PUBLIC_MIRROR} {SUITE} main > /etc/apt/sources.list
"""


def base_image(builder: Builder, *, asked: str | None, default: str) -> str:
    """Return the name of a base that this machine has now, saying so where it is a stand-in.

    Args:
        builder: What will use it.
        asked: The base a user named; nothing stands in for that one.
        default: The Containerfiles' own.

    Raises:
        ImageError: There is none.
    """
    wanted = asked or default
    if builder.has(wanted):
        return wanted
    print(f"images: fetching {wanted}", flush=True)
    reason = builder.pull(wanted)
    if not reason:
        return wanted
    if asked:
        raise ImageError(
            f"BASE_IMAGE={asked} is not here and cannot be fetched: {reason}. Log in to its "
            f"registry, load it (`{builder.program} load`), or name another"
        )
    print(
        f"images: {wanted} cannot be fetched: {reason}\n"
        f"images: a Debian {SUITE} made here stands in for it, as {STAND_IN}. It serves to try "
        "and to test; for a cluster name a base that is kept up to date: BASE_IMAGE=...",
        flush=True,
    )
    if not builder.has(STAND_IN):
        _make(builder, instead_of=wanted)
    return STAND_IN


def _make(builder: Builder, *, instead_of: str) -> None:
    cache = os.environ.get("YOLOLINE_CACHE")
    root = Path(cache).expanduser() if cache else Path.home() / ".cache" / "yololine"
    folder = root / "images" / f"debian-{SUITE}-{platform.machine()}"
    archive = folder / "rootfs.tar"
    if not archive.exists():
        _bootstrap(archive, instead_of=instead_of)
    print(f"images: {STAND_IN} is made of {archive}", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        containerfile = Path(scratch) / "Containerfile"
        containerfile.write_text(f'FROM scratch\nADD {archive.name} /\nCMD ["python3"]\n')
        builder.build(containerfile, folder, tag=STAND_IN, arguments={}, secrets={})


def _bootstrap(archive: Path, *, instead_of: str) -> None:
    """Make a root file system of Debian with Python; `archive` appears whole or not at all."""
    remedy = f"or load {instead_of} from elsewhere, or name another base: BASE_IMAGE=..."
    path = search_path()
    debootstrap = shutil.which("debootstrap", path=path)
    if debootstrap is None:
        raise ImageError(
            f"no debootstrap to make a base with: sudo apt-get install debootstrap, {remedy}"
        )
    if os.geteuid() != 0:
        raise ImageError(f"debootstrap makes a base only for root: run this as root, {remedy}")
    archive.parent.mkdir(parents=True, exist_ok=True)
    mirror = _mirror()
    print(f"images: making a Debian {SUITE} from {mirror} (a minute, once)", flush=True)
    # Beside the archive, so that the rename below stays on one file system and is atomic.
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix=".making-") as scratch:
        rootfs = Path(scratch) / "rootfs"
        done = subprocess.run(
            [
                debootstrap,
                "--variant=minbase",
                "--include=ca-certificates,python3,python3-venv",
                SUITE,
                rootfs,
                mirror,
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PATH": path},
            check=False,
        )
        if done.returncode != 0:
            last = "\n".join(done.stdout.splitlines()[-5:])
            raise ImageError(f"debootstrap could not make a base from {mirror}:\n{last}\n{remedy}")
        # In there, since a link of its file system may point anywhere.
        subprocess.run(["chroot", rootfs, "sh", "-ec", _SLIM], env={"PATH": path}, check=True)
        packed = Path(scratch) / archive.name
        subprocess.run(["tar", "-C", rootfs, "--sort=name", "-cf", packed, "."], check=True)
        packed.replace(archive)


def _mirror() -> str:
    """The mirror that this machine's own apt uses, where it is a Debian of the same suite."""
    if shutil.which("apt-get"):
        done = subprocess.run(
            ["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)", "Created-By: Packages"],
            capture_output=True,
            text=True,
            check=False,
        )
        for line in done.stdout.splitlines():
            codename, _, site = line.partition(" ")
            if codename == SUITE:
                return site
    return PUBLIC_MIRROR
