"""A compiled pipeline that trains nothing, and the command that runs it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"


@pytest.fixture(scope="session")
def fake_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled pipeline of fake_line.py."""
    # In a process of its own: kfp's compiler warns, and a warning is an error here.
    package = tmp_path_factory.mktemp("package") / "fake.yaml"
    subprocess.run([sys.executable, str(HERE / "fake_line.py"), str(package)], check=True)
    return package


class Command:
    """`yololine run` for the fake pipeline, in a folder, with all its processes marked."""

    def __init__(self, package: Path, folder: Path) -> None:
        """Prepare it; nothing is started."""
        self.folder = folder
        self.store = folder / "store"
        self.scratch = folder / "tmp"
        self.scratch.mkdir()
        self._mark = f"YOLOLINE_TEST_MARK={uuid4().hex}"
        name, mark = self._mark.split("=")
        self.environ = {
            **os.environ,
            "PYTHONPATH": str(SOURCE),
            "TMPDIR": str(self.scratch),
            name: mark,
        }
        self.argv = [sys.executable, str(HERE / "drive.py"), str(package), "--source-uri", "raw"]
        self.argv += ["--store-uri", "store"]

    def run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run to the end."""
        return subprocess.run(
            [*self.argv, *options],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def show(self, *argv: str) -> subprocess.CompletedProcess[str]:
        """`yololine show` for the run's store."""
        return subprocess.run(
            [sys.executable, "-m", "yololine", "show", "--store-uri", "store", *argv],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
        )

    def start(self, *options: str) -> subprocess.Popen[str]:
        """Start with its output in a pipe."""
        return subprocess.Popen(
            [*self.argv, *options],
            cwd=self.folder,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def processes(self) -> dict[int, str]:
        """All that is alive of it: pid -> command line."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if self._mark.encode() in (entry / "environ").read_bytes().split(b"\0"):
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    found[int(entry.name)] = line
            except OSError:
                continue
        return found


@pytest.fixture
def command(fake_package: Path, tmp_path: Path) -> Iterator[Command]:
    """The command in an empty folder; a process that is left behind fails the test."""
    made = Command(fake_package, tmp_path)
    yield made
    assert made.processes() == {}
