"""A folder in which a page's commands are typed, one after another, as its reader would.

A command finds only the programs of this folder's `bin`: those below are the real ones, the
others are stand-ins (`stand_ins.py`) that check what they are asked. A program that is neither is
not found, and so fails the page.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from tests.docs.blocks import ROOT, Command, blocks, commands
from tests.docs.stand_ins import STAND_INS

OWN = ("kfp", "python", "yololine")
"""Programs of this environment."""
SYSTEM = (
    *("bash", "cat", "cp", "curl", "env", "grep", "head", "ls", "mkdir", "mktemp", "mv", "rm"),
    *("sed", "sh"),
    *("sha256sum", "sort", "tail", "uname", "wc"),
)
"""Programs that every system has, and that do no harm in a folder of a test."""
CLONE = ("components", "containers", "examples", "manifests", "pipelines")
"""Folders of the repository that commands name: a page is typed in a clone."""
COLUMNS = "100"
BACKGROUND = " &"
"""At the end of a command: a server, which is left running until the page ends."""
WAIT_SECONDS = 120


class Workspace:
    """A clone's folder and a shell in it: `cd` and `export` last from command to command."""

    def __init__(
        self,
        folder: Path,
        *,
        environ: Mapping[str, str] = {},
        addresses: Mapping[str, str] = {},
    ) -> None:
        """Make the folder.

        Args:
            folder: Where; it may hold what an earlier page left.
            environ: Variables that the reader's machine has set.
            addresses: Texts of the pages, for instance http://localhost:8080, and what they stand
                for here.
        """
        self.folder = folder
        self.addresses = addresses
        for name in CLONE:
            if not (folder / name).exists():
                shutil.copytree(
                    ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
                )
        self._bin = _programs(folder / ".venv" / "bin")
        self._state = folder.parent / f"{folder.name}-state.sh"
        self._environ = {
            "PATH": str(self._bin),
            "HOME": str(folder),
            "COLUMNS": COLUMNS,
            "LANG": "C.UTF-8",
            **environ,
        }
        self._state.write_text(f"cd {shlex.quote(str(folder))}\n", encoding="utf-8")

    def follow(self, page: Path) -> None:
        """Do what a page says, in its order.

        Raises:
            AssertionError: A command fails, or prints something else than the page shows.
        """
        with ExitStack() as servers:
            for block in blocks(page):
                if block.file:
                    self._write(block.file, block.text)
                elif block.language == "python":
                    self._write("block.py", block.text)
                    self.run(Command(where=block.where, text="python block.py", output=""))
                elif block.language == "console":
                    for command in commands(block):
                        if command.text.endswith(BACKGROUND):
                            servers.enter_context(self.running(command))
                        else:
                            self.run(command)

    @contextmanager
    def running(self, command: Command) -> Iterator[None]:
        """Start a server, and go on once it has printed what the page shows; end it at the end."""
        typed = self._here(command.text.removesuffix(BACKGROUND))
        bash = shutil.which("bash")
        assert bash
        with tempfile.TemporaryFile("w+") as printed:
            server = subprocess.Popen(
                [bash, "--norc", "-c", f". {shlex.quote(str(self._state))}\n{typed}"],
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                deadline = time.monotonic() + WAIT_SECONDS
                while True:
                    over = server.poll() is not None or time.monotonic() > deadline
                    printed.seek(0)
                    told = printed.read()
                    assert not over, (
                        f"{command.where}: $ {typed}\n{told}\nended, or is not what the page shows:"
                        f"\n{command.output}"
                    )
                    if shows(self._here(command.output), told):
                        break
                    time.sleep(0.05)
                yield
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(server.pid, signal.SIGTERM)
                server.wait()

    def run(self, command: Command) -> None:
        """Type one command; where the page shows an error, it must fail, and else succeed."""
        script = "\n".join(
            [
                f". {shlex.quote(str(self._state))}",
                "{",
                self._here(command.text),
                "}",
                "code=$?",
                f"{{ export -p; echo cd '\"'$PWD'\"'; }} >{shlex.quote(str(self._state))}",
                "exit $code",
            ]
        )
        bash = shutil.which("bash")
        assert bash
        done = subprocess.run(
            [bash, "--norc", "-c", script],
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        told = f"{command.where}: $ {command.text}\n{done.stdout}"
        assert done.returncode != 127, f"{told}\nneither a program that is run nor a stand-in"
        refused = any(line.startswith("error: ") for line in command.output.splitlines())
        assert (done.returncode != 0) == refused, f"{told}\nexit code {done.returncode}"
        assert shows(self._here(command.output), done.stdout), (
            f"{told}\nis not what the page shows:\n{command.output}"
        )

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self._here(text), encoding="utf-8")

    def _here(self, text: str) -> str:
        for told, meant in self.addresses.items():
            text = text.replace(told, meant)
        return text


def shows(expected: str, printed: str) -> bool:
    """Whether a page's output is what was printed; `...` stands for anything, even for nothing."""
    if not expected:
        return True
    pattern = re.escape("\n".join(line.rstrip() for line in expected.splitlines()))
    pattern = pattern.replace(re.escape("..."), ".*?")
    text = "\n".join(line.rstrip() for line in printed.splitlines())
    return re.fullmatch(pattern, text, re.DOTALL) is not None


def _programs(folder: Path) -> Path:
    """A folder with nothing but the programs that a page may call."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    here = Path(sys.executable).parent
    python = shlex.quote(sys.executable)
    stand_in = f"PYTHONPATH={shlex.quote(str(ROOT))} exec {python} -m tests.docs.stand_ins"
    # A link to an environment's Python would not be that environment's.
    calls = {name: f"exec {shlex.quote(str(here / name))}" for name in OWN}
    calls |= {name: f"{stand_in} {name}" for name in STAND_INS}
    for name, call in calls.items():
        program = folder / name
        program.write_text(f'#!/bin/sh\n{call} "$@"\n', encoding="utf-8")
        program.chmod(0o755)
    for name in SYSTEM:
        if path := shutil.which(name):
            (folder / name).symlink_to(path)
    return folder
