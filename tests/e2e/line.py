"""Drive the real command, and read what a run left behind."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from yololine.storage import open_store
from yololine.telemetry.journal import read_run
from yololine.telemetry.records import StepRecord, StepState

MADE = {StepState.DONE}
REUSED = {StepState.REUSED}


@dataclass(frozen=True, kw_only=True)
class Line:
    """A finished command and its run's journal."""

    exit_code: int
    output: str
    run_id: str
    store_uri: str
    records: dict[str, StepRecord]

    def states(self, *steps: str) -> set[StepState]:
        """The states of the steps named, or of all."""
        return {self.records[step].state for step in steps or self.records}

    @property
    def report(self) -> str:
        """The run report's HTML."""
        path = f"runs/{self.run_id}/report.html"
        return open_store(self.store_uri).read_bytes(path).decode()

    @property
    def version(self) -> str:
        """The registered version's name."""
        return str(self.records["register_model"].facts["version"])


def command(**parameters: object) -> list[str]:
    """`yololine run training` with these parameters."""
    options = [
        text
        for name, value in parameters.items()
        for text in (f"--{name.replace('_', '-')}", str(value))
    ]
    return [sys.executable, "-m", "yololine", "run", "training", *options]


def run_line(cwd: Path | None = None, **parameters: object) -> Line:
    """Run the line to its end."""
    before = set(run_ids(str(parameters["store_uri"])))
    done = subprocess.run(
        command(**parameters),
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )
    store_uri = str(parameters["store_uri"])
    new = [run_id for run_id in run_ids(store_uri) if run_id not in before]
    run_id = new[-1] if new else ""
    return Line(
        exit_code=done.returncode,
        output=done.stdout + done.stderr,
        run_id=run_id,
        store_uri=store_uri,
        records=read_run(open_store(store_uri), run_id) if run_id else {},
    )


def run_ids(store_uri: str) -> list[str]:
    """Runs with a journal, oldest first."""
    paths = open_store(store_uri).paths("runs")
    return sorted({path.split("/")[1] for path in paths if "/steps/" in path})


def source_of(folder: Path, *, seed: int = 3) -> str:
    """A small made-up source: 24 images, faults among them."""
    from yololine.sample import generate_sample

    generate_sample(folder, images=24, image_size_wh=(96, 96), seed=seed)
    return str(folder)
