"""The output of an embedded run, in files: `run.log` with all of it, `<step>.log` for each step."""

from __future__ import annotations

import re
import threading
from contextlib import ExitStack, suppress
from datetime import datetime
from pathlib import Path
from typing import IO

from yololine.runs.package import step_name
from yololine.telemetry.records import now

RUN_LOG = "run.log"

# kfp.local's own lines begin with the time; what a step prints is indented.
_BEGUN = re.compile(r"\d\d:\d\d:\d\d\.\d+ - INFO - Executing task '([^']+)'")
_ENDED = re.compile(r"\d\d:\d\d:\d\d\.\d+ - \w+ - Task '([^']+)' finished with status (\w+)")
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_INDENT = "    "


class RunLogs(threading.Thread):
    """Reads a run's output to its end, so that the run never waits for a reader.

    Attributes:
        folder: Where the logs are; it exists.
        begun: Step -> when it was started.
        failed: Steps that kfp.local calls failed.
        step: The step that is being run, empty between steps.
    """

    def __init__(self, output: IO[bytes], folder: Path) -> None:
        super().__init__(name="run-logs", daemon=True)
        self.folder = folder
        self.begun: dict[str, datetime] = {}
        self.failed: set[str] = set()
        self.step = ""
        self._output = output
        self.start()

    def path(self, step: str = "") -> Path:
        """The log of a step, or of the run where the step has none."""
        file = self.folder / f"{step}.log"
        return file if step and file.exists() else self.folder / RUN_LOG

    def last_line(self, step: str = "") -> str:
        """The last line with anything in it: of a traceback, the error."""
        with suppress(OSError):
            lines = self.path(step).read_text(errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""

    def run(self) -> None:
        """Copy lines until every process of the run has closed its output."""
        with ExitStack() as files:
            files.enter_context(self._output)
            run_log = self._open(files, RUN_LOG)
            step_log: IO[bytes] | None = None
            for raw in self._output:
                line = _ESCAPES.sub("", raw.decode(errors="replace"))
                if begun := _BEGUN.match(line):
                    self.step = step_name(begun[1])
                    self.begun[self.step] = now()
                    step_log = self._open(files, f"{self.step}.log")
                # A full disk loses lines, not the run.
                with suppress(OSError):
                    if run_log:
                        run_log.write(line.encode())
                    if step_log and line.startswith(_INDENT):
                        step_log.write(line.removeprefix(_INDENT).encode())
                if ended := _ENDED.match(line):
                    if ended[2] == "FAILURE":
                        self.failed.add(step_name(ended[1]))
                    self.step, step_log = "", None

    def _open(self, files: ExitStack, name: str) -> IO[bytes] | None:
        with suppress(OSError):
            return files.enter_context((self.folder / name).open("ab", buffering=0))
        return None
