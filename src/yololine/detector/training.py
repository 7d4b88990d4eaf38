"""Training that survives its trainer: a worker process, watched, and started again.

KFP repeats a step whose pod was lost, and on a stock installation not one whose code failed. So
the step itself repeats what is worth repeating, from the newest checkpoint in the store.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yololine import errors, resources
from yololine.detector.checkpoints import Checkpoint, fetch_best, fetch_newest
from yololine.detector.config import TrainingConfig
from yololine.detector.worker import Job
from yololine.errors import OutOfMemory, TrainerDied, TrainingError, YololineError
from yololine.frozen import Frozen
from yololine.storage import Store
from yololine.telemetry.records import EpochProgress

POLL_SECONDS = 0.2
GRACE_SECONDS = 20.0
"""Between asking the worker to stop and killing it; Kubernetes gives the step 30 s."""


class Training(Frozen):
    """What happened until the last epoch."""

    curves: tuple[EpochProgress, ...]
    best_epoch: int
    """The epoch whose weights were written."""
    starts: int
    """How often a trainer was started in this step; 0 where all epochs lay in the store."""
    resumed_from_epoch: int
    """Epochs that lay in the store when this step began."""
    device: str
    transferred_tensors: int
    notes: tuple[str, ...]


def train(
    *,
    store: Store,
    training_key: str,
    architecture: str,
    data_yaml: Path,
    config: TrainingConfig,
    start_state: Path | None,
    gpu_count: int,
    weights_out: Path,
    retries: int,
    retry_wait_seconds: float,
    on_epoch: Callable[[EpochProgress], None],
    on_note: Callable[[str], None],
) -> Training:
    """Train to the end, across failures of the trainer, and write the best weights.

    The end is the last epoch, or an earlier one where the option `patience` says so. Batches are
    drawn by the seed anew in each start, so a training that went on from a checkpoint is not
    equal to one that was never interrupted.

    Args:
        store: Holds the checkpoints of `training_key`; training goes on from the newest.
        training_key: Names the training by everything that shapes its result.
        architecture: A name of `ARCHITECTURES`.
        data_yaml: The materialised images and labels.
        config: What to do.
        start_state: Tensors to start from, or None for random weights.
        gpu_count: Accelerators asked for; fewer are used where fewer are visible, and the
            processor where there is none.
        weights_out: Where the best epoch's weights go.
        retries: How often a failed trainer is started again, 0 or more.
        retry_wait_seconds: Pause before each of these starts.
        on_epoch: Called after each epoch whose checkpoint is in the store.
        on_note: Called with a sentence for each thing survived.

    Raises:
        OutOfMemory: The trainer was killed for memory, or a batch did not fit; not repeated.
        NotFinite: The loss or a weight became NaN or infinite; not repeated.
        TrainerDied: It failed `retries + 1` times.
        StoreError: Checkpoints cannot be written.
    """
    notes: list[str] = []

    def note(sentence: str) -> None:
        notes.append(sentence)
        on_note(sentence)

    device, devices = _device(gpu_count)
    if gpu_count > 0 and device == "cpu":
        note(f"{gpu_count} accelerator(s) asked for, none visible: trained on the processor")
    if config.batch_size % devices:
        # ultralytics would round down, and the result would not be what its key says.
        raise TrainingError(
            f"batch_size={config.batch_size}",
            rule=f"cannot be dealt out evenly to {devices} accelerators",
            remedy=f"use a multiple of {devices}",
        )
    if devices < gpu_count and device != "cpu":
        note(f"{gpu_count} accelerators asked for, {devices} visible")
    starts, already_done = 0, -1
    with tempfile.TemporaryDirectory(prefix="yololine-train-") as scratch_name:
        scratch = Path(scratch_name)
        last = scratch / "resume.pt"
        while True:
            checkpoint, passed_over = fetch_newest(store, training_key, last)
            for sentence in passed_over:
                note(sentence)
            if already_done < 0:
                already_done = checkpoint.epoch if checkpoint else 0
            if checkpoint and checkpoint.last:
                break
            if starts > retries:
                raise TrainerDied(
                    "trainer ended",
                    rule="the checkpoint of its last epoch is not whole in the store",
                    remedy="run again: the training goes on from the newest whole checkpoint",
                )
            if checkpoint:
                note(f"Went on after epoch {checkpoint.epoch} of {config.epochs}")
            starts += 1
            job = _job(
                store=store,
                training_key=training_key,
                architecture=architecture,
                config=config,
                data_yaml=data_yaml,
                start_state=start_state,
                checkpoint=checkpoint,
                resume_from=last,
                scratch=scratch / f"start-{starts}",
                device=device,
                devices=devices,
            )
            try:
                _run_worker(job, devices, on_epoch)
            except YololineError as error:
                if not error.retryable or starts > retries:
                    raise
                note(
                    f"{error.value}: {error.rule}: started again in {retry_wait_seconds:g} s "
                    f"({starts} of {retries} repeats)"
                )
                time.sleep(retry_wait_seconds)
        if checkpoint.epoch < config.epochs:
            note(f"Ended after epoch {checkpoint.epoch} of {config.epochs}: patience ran out")
        from yololine.detector.ultralytics import finish_checkpoint

        best_file = scratch / "best.pt"
        best, fallen_back = fetch_best(store, training_key, checkpoint, best_file)
        for sentence in fallen_back:
            note(sentence)
        finish_checkpoint(best_file, weights_out)
    return Training(
        curves=checkpoint.curves,
        best_epoch=best.epoch,
        starts=starts,
        resumed_from_epoch=already_done,
        device=device,
        transferred_tensors=checkpoint.transferred_tensors,
        notes=tuple(notes),
    )


def _job(
    *,
    store: Store,
    training_key: str,
    architecture: str,
    config: TrainingConfig,
    data_yaml: Path,
    start_state: Path | None,
    checkpoint: Checkpoint | None,
    resume_from: Path,
    scratch: Path,
    device: str,
    devices: int,
) -> Job:
    scratch.mkdir()
    return Job(
        store_uri=store.uri,
        training_key=training_key,
        architecture=architecture,
        config=config,
        data_yaml=data_yaml,
        start_state=start_state,
        resume_from=resume_from if checkpoint else None,
        resumed=checkpoint,
        folder=scratch / "trainer",
        device=device,
        workers=int(config.options.get("workers", resources.loader_processes(devices))),
        events=scratch / "events.jsonl",
    )


def _run_worker(job: Job, devices: int, on_epoch: Callable[[EpochProgress], None]) -> None:
    """Run one worker to its end, or raise what ended it."""
    job_file = job.events.with_name("job.json")
    job_file.write_text(job.model_dump_json())
    job.events.touch()
    launch = ["-m", "yololine.detector.worker", str(job_file)]
    if devices > 1:
        launch = [
            "-m",
            "torch.distributed.run",
            "--standalone",
            f"--nproc-per-node={devices}",
            *launch,
        ]
    kills_before = resources.oom_kills()
    worker = subprocess.Popen(
        [sys.executable, *launch],
        stdin=subprocess.DEVNULL,
        # Threads that wait by spinning slow a training on all cores tenfold as soon as another
        # process takes one of them.
        env={"OMP_WAIT_POLICY": "passive", **os.environ},
    )
    failure: YololineError | None = None
    try:
        with job.events.open() as events:
            while True:
                ended = worker.poll() is not None
                for line in _whole_lines(events):
                    event = json.loads(line)
                    if event["event"] == "epoch":
                        on_epoch(EpochProgress.model_validate(event["progress"]))
                    else:
                        # What later ranks say is that the first is gone.
                        failure = failure or _error(event)
                if ended:
                    break
                time.sleep(POLL_SECONDS)
    finally:
        _end(worker)
    if worker.returncode == 0:
        return
    kills = resources.oom_kills() - kills_before
    # Of a loader process that was killed for memory the trainer says only that it is gone.
    if failure and not (kills and isinstance(failure, TrainerDied)):
        raise failure
    raise _death(worker.returncode, kills)


def _whole_lines(events: Any) -> list[str]:
    """Lines that are complete; a half-written one is left for the next look."""
    lines: list[str] = []
    while True:
        position = events.tell()
        line = events.readline()
        if not line.endswith("\n"):
            events.seek(position)
            return lines
        lines.append(line)


def _error(event: dict[str, Any]) -> YololineError:
    kind: type[YololineError] = getattr(errors, event["kind"], TrainingError)
    return kind(event["value"], rule=event["rule"], remedy=event["remedy"])


def _death(returncode: int, oom_kills: int) -> YololineError:
    how = (
        f"killed by {signal.Signals(-returncode).name}"
        if returncode < 0
        else f"ended with exit code {returncode}"
    )
    if oom_kills > 0:
        return OutOfMemory(
            f"trainer {how}",
            rule="the container reached its memory limit",
            remedy="raise the memory parameter, or lower batch_size, image_size or "
            "train_options.workers",
        )
    return TrainerDied(
        f"trainer {how}",
        rule="it must finish its epochs",
        remedy="read the trainer's lines above; the run goes on from the last finished epoch",
    )


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Ask the worker to stop and wait; kill it after the grace."""
    if worker.poll() is None:
        worker.terminate()
        try:
            worker.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()


def _device(gpu_count: int) -> tuple[str, int]:
    """The device in ultralytics' words, and how many processes train."""
    import torch

    visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = min(gpu_count, visible)
    if devices < 1:
        return "cpu", 1
    # The environment's own order: CUDA_VISIBLE_DEVICES has already chosen which.
    return ",".join(str(index) for index in range(devices)), devices
