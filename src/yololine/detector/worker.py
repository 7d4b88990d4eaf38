"""The trainer's process: `python -m yololine.detector.worker JOB.json`.

It is a process of its own so that the step outlives it: a crash, a kill for memory or a hung
device ends the worker, and the step starts another from the newest checkpoint in the store.
It speaks to the step through a file of JSON lines, one event a line.
"""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

from yololine.detector.checkpoints import Checkpoint, push_checkpoint
from yololine.detector.config import TrainingConfig
from yololine.errors import TrainerDied, YololineError
from yololine.frozen import Frozen
from yololine.storage import open_store
from yololine.telemetry.orphans import end_with_run
from yololine.telemetry.records import EpochProgress


class Job(Frozen):
    """What the step asks of the worker."""

    store_uri: str
    training_key: str
    architecture: str
    config: TrainingConfig
    data_yaml: Path
    start_state: Path | None
    resume_from: Path | None
    resumed: Checkpoint | None
    """What `resume_from` holds."""
    folder: Path
    device: str
    workers: int
    events: Path


def main() -> None:
    """Train what the job file says; exit 0 when the last epoch's checkpoint is in the store."""
    job = Job.model_validate_json(Path(sys.argv[1]).read_bytes())
    end_with_run()
    stop_requested = False

    def request_stop(*_: Any) -> None:
        # Only a flag: a checkpoint that is on its way to the store arrives whole.
        nonlocal stop_requested
        stop_requested = True

    signal.signal(signal.SIGTERM, request_stop)
    signal.signal(signal.SIGINT, request_stop)

    from yololine.detector import ultralytics

    store = open_store(job.store_uri)
    newest = job.resumed
    curves = list(newest.curves if newest else ())

    def on_epoch(progress: EpochProgress) -> None:
        curves.append(progress)

    def on_checkpoint(file: Path, fitness: float, last: bool) -> None:
        nonlocal newest
        # Of equals the later: while nothing is found yet, all epochs score 0.
        best = newest if newest and newest.best_fitness > fitness else None
        newest = push_checkpoint(
            store,
            job.training_key,
            file,
            fitness=fitness,
            best_epoch=best.best_epoch if best else curves[-1].epoch,
            best_fitness=best.best_fitness if best else fitness,
            last=last,
            transferred_tensors=job.resumed.transferred_tensors
            if job.resumed
            else ultralytics.transferred_tensors(),
            curves=tuple(curves),
        )
        say(job.events, event="epoch", progress=curves[-1].model_dump())

    try:
        ultralytics.train(
            architecture=job.architecture,
            data_yaml=job.data_yaml,
            config=job.config,
            start_state=job.start_state,
            resume_from=job.resume_from,
            folder=job.folder,
            device=job.device,
            workers=job.workers,
            on_epoch=on_epoch,
            on_checkpoint=on_checkpoint,
            stopping=lambda: stop_requested,
        )
    except YololineError as error:
        say_error(job.events, error)
        raise SystemExit(error.exit_code) from None
    except Exception as error:
        words = " ".join(str(error).split())[:300]
        say_error(
            job.events,
            TrainerDied(
                "trainer",
                rule=f"{type(error).__name__}: {words}",
                remedy="read the trainer's lines in the log",
            ),
        )
        raise


def say_error(events: Path, error: YololineError) -> None:
    """Append an error in its own words."""
    say(
        events,
        event="error",
        kind=error.kind,
        value=error.value,
        rule=error.rule,
        remedy=error.remedy,
    )


def say(events: Path, **event: Any) -> None:
    """Append one event; whichever of several ranks has one speaks."""
    with events.open("a") as file:
        file.write(json.dumps(event) + "\n")


if __name__ == "__main__":
    main()
