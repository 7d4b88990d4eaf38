"""How every step runs: find the result or make it, publish it, and leave a record either way.

results/<step>/<key>/<file>...       what the step made
results/<step>/<key>/manifest.json   what those files must hold, written last
"""

from __future__ import annotations

import errno
import importlib.metadata
import io
import json
import logging
import os
import platform
import re
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn, TypeVar

from pydantic import ValidationError

import yololine
from yololine.errors import (
    DatasetError,
    NotFound,
    StoreError,
    StoreRefused,
    Terminated,
    YololineError,
    legible,
)
from yololine.frozen import Frozen
from yololine.reporting.pages import render_step_page
from yololine.steps.keys import result_key
from yololine.storage import FileRef, Store, open_store, publish_files
from yololine.telemetry.heartbeat import beating
from yololine.telemetry.journal import RUN_ID_VARIABLE, read_record, write_record
from yololine.telemetry.orphans import end_with_run
from yololine.telemetry.records import EpochProgress, ErrorRecord, StepRecord, StepState, now
from yololine.telemetry.results import Result, read_result, result_folder
from yololine.telemetry.runs import BEAT_SECONDS, EXIT_HANDLER

LOG = logging.getLogger("yololine")


@dataclass(kw_only=True)
class Made:
    """What a step's own code hands to `perform` for publishing."""

    manifest: Callable[[dict[str, FileRef]], Frozen]
    """Called with the references of the published files."""
    digest: str = ""
    facts: Frozen | dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    """Name below the result's folder -> file."""
    exhibits: dict[str, bytes] = field(default_factory=dict)
    """Name -> JPEG."""


class Step:
    """One step of one run, from its first line to its record's last state."""

    def __init__(
        self,
        name: str,
        store: Store,
        run_id: str,
        *,
        parameters: dict[str, Any],
        packages: tuple[str, ...],
    ) -> None:
        self.name = name
        self.store = store
        self.run_id = run_id
        self._lock = threading.Lock()
        earlier = _earlier(store, run_id, name)
        self.record = StepRecord(
            step=name,
            run_id=run_id,
            state=StepState.RUNNING,
            attempt=earlier.attempt + 1 if earlier else 1,
            earlier=(*earlier.earlier, earlier.as_attempt()) if earlier else (),
            started_at=now(),
            parameters=parameters,
            versions=_versions(packages),
        )

    def takes(self, inputs: dict[str, str], *, upstream: dict[str, str]) -> None:
        """Say what goes in: digests by name, and the steps that made it with their results' keys.

        Once the step is running, so that a manifest it cannot read is its own failure.
        """
        self.update(inputs=inputs, upstream=upstream)

    def update(self, **changes: Any) -> None:
        """Change the record and write it; a last state brings its moment with it."""
        if changes.get("state", StepState.RUNNING) is not StepState.RUNNING:
            changes.setdefault("finished_at", now())
        with self._lock:
            self.record = self.record.model_copy(update={**changes, "seen_at": now()})
            write_record(self.store, self.record)

    def note(self, sentence: str) -> None:
        """Keep a sentence that a person should read, in the record and in the log."""
        sentence = legible(sentence)  # file names are in it
        LOG.info("%s: %s", self.name, sentence)
        self.update(notes=(*self.record.notes, sentence))

    def progress(self, epoch: EpochProgress) -> None:
        """Record a finished training epoch."""
        self.update(progress=epoch)
        map50 = "-" if epoch.map50 is None else f"{epoch.map50:.3f}"
        LOG.info(
            "epoch %d/%d  box %s  cls %s  dfl %s  mAP50 %s  %.1f s",
            epoch.epoch,
            epoch.epochs,
            epoch.box_loss,
            epoch.cls_loss,
            epoch.dfl_loss,
            map50,
            epoch.seconds,
        )


@contextmanager
def running(
    name: str,
    *,
    store_uri: str,
    beside: str,
    parameters: dict[str, Any] | None = None,
    packages: tuple[str, ...] = (),
) -> Iterator[Step]:
    """A step's record around its code: running, then done, failed or terminated.

    Args:
        name: The step's name.
        store_uri: The run's store.
        beside: Path of one of the step's KFP outputs; it holds the run's id where the environment
            does not.
        parameters: What the step was asked to do, for the report.
        packages: Distributions whose versions shape the result.

    Raises:
        SystemExit: The step failed; its words are in the log and in the record.
    """
    log_to_stdout()
    end_with_run()
    step: Step | None = None
    try:
        with terminable():
            step = Step(
                name,
                open_store(store_uri),
                run_id_of(beside),
                parameters=parameters or {},
                packages=packages,
            )
            step.update()
            _renew_report(step)
            with beating(step.update, seconds=BEAT_SECONDS):
                yield step
            if step.record.state is StepState.RUNNING:
                step.update(state=StepState.DONE)
            _renew_report(step)
    except YololineError as error:
        refuse(name, error, step)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}:
            # Of the store's own disk, the store has said so.
            full = StoreRefused(
                error.filename or tempfile.gettempdir(),
                rule="the disk for temporary files is full",
                remedy="free space there, or set TMPDIR to a folder on a larger disk",
            )
            refuse(name, full, step)
        if step and not isinstance(error, GeneratorExit):
            first = str(error).splitlines()[0] if str(error) else type(error).__name__
            with suppress(StoreError):
                step.update(
                    state=StepState.FAILED,
                    error=ErrorRecord(
                        kind=type(error).__name__,
                        message=f"{type(error).__name__}: {first}",
                        remedy="an error of yololine itself: read the step's log, and report it",
                    ),
                )
                _renew_report(step)
        raise


def perform(
    step: Step,
    *,
    config: dict[str, Any],
    make: Callable[[Path], Made],
    manifest_out: str,
    page_out: str = "",
) -> Result:
    """Return the result of these inputs and this configuration, made only if it is not there.

    Args:
        step: The running step; its inputs and `config` name the result.
        config: What shapes the result beside the inputs.
        make: Makes it in the scratch folder it is given.
        manifest_out: The KFP output that takes the manifest, JSON.
        page_out: The KFP output that takes the step's page, HTML.
    """
    key = result_key(step.name, inputs=step.record.inputs, config=config)
    step.update(key=key)
    result = find_result(step.store, step.name, key)
    reused = result is not None
    if result is None:
        with tempfile.TemporaryDirectory(prefix=f"yololine-{step.name}-") as scratch:
            result = _publish(step, key, make(Path(scratch)))
    else:
        LOG.info("%s: result %s is there and verifies: reused", step.name, key[:12])
    step.update(
        state=StepState.REUSED if reused else StepState.DONE,
        digest=result.digest,
        facts=result.facts,
        exhibits={name: ref.path for name, ref in result.exhibits.items()},
        notes=_joined(result.notes, step.record.notes) if reused else step.record.notes,
        made_in_run=result.made_in_run,
        made_seconds=result.made_seconds,
        versions=result.versions,
    )
    write_text(manifest_out, json.dumps(result.manifest, indent=1))
    if page_out:
        write_page(step, page_out)
    return result


def find_result(store: Store, step: str, key: str) -> Result | None:
    """The published result of a key, if it is there and all of it verifies."""
    result = read_result(store, step, key)
    if result is None:
        return None
    needed = [*result.files.values(), *_own_refs(result.manifest)]
    return result if all(store.verified(ref) for ref in needed) else None


ManifestType = TypeVar("ManifestType", bound=Frozen)


def read_manifest(path: str, kind: type[ManifestType]) -> ManifestType:
    """Read what another step handed on.

    Raises:
        DatasetError: The file is no manifest of this kind.
    """
    try:
        return kind.model_validate_json(Path(path).read_bytes())
    except (OSError, ValidationError) as error:
        raise DatasetError(
            path,
            rule=f"is no {kind.__name__} of this version of yololine",
            remedy="connect the output of the step that makes it",
        ) from error


def write_text(path: str, text: str) -> None:
    """Write a KFP output."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_text(text, encoding="utf-8")


def write_page(step: Step, path: str) -> None:
    """Write the step's page, which KFP shows as an HTML artifact."""
    write_text(path, render_step_page(step.record, read_exhibits(step.store, step.record)))


def read_exhibits(store: Store, record: StepRecord) -> dict[str, bytes]:
    """The record's pictures; one that is no longer there is left out."""
    pictures = {}
    for name, path in record.exhibits.items():
        with suppress(NotFound):
            pictures[name] = store.read_bytes(path)
    return pictures


def run_id_of(beside: str) -> str:
    """The run's id: from the environment, or from the path of one of the step's KFP outputs.

    On a cluster such a path holds the run's UUID, under kfp.local the run's folder.
    """
    given = os.environ.get(RUN_ID_VARIABLE, "")
    if given:
        return given
    uuid = re.search(r"/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/", beside)
    return uuid.group(1) if uuid else Path(beside).parents[1].name


def publish_exhibits(step: Step, exhibits: dict[str, bytes]) -> dict[str, FileRef]:
    """Put pictures, JPEG by name, beside the step's result, whether or not that comes to be."""
    folder = result_folder(step.name, step.record.key)
    there = len(step.record.exhibits)
    with tempfile.TemporaryDirectory() as scratch:
        pictures: list[tuple[Path, str]] = []
        for data in exhibits.values():
            picture = Path(scratch, f"{there + len(pictures):03d}.jpg")
            picture.write_bytes(data)
            pictures.append((picture, f"{folder}/exhibits/{picture.name}"))
        refs = publish_files(step.store, pictures)
    return dict(zip(exhibits, refs, strict=True))


def _publish(step: Step, key: str, made: Made) -> Result:
    folder = result_folder(step.name, key)
    exhibits = publish_exhibits(step, made.exhibits)
    refs = publish_files(
        step.store, [(path, f"{folder}/{name}") for name, path in made.files.items()]
    )
    files = dict(zip(made.files, refs, strict=True))
    manifest = made.manifest(files).model_dump(mode="json")
    if "key" in manifest:
        manifest["key"] = key
    finished = now()
    result = Result(
        step=step.name,
        key=key,
        digest=made.digest,
        manifest=manifest,
        facts=made.facts.model_dump(mode="json") if isinstance(made.facts, Frozen) else made.facts,
        files=files,
        exhibits=exhibits,
        inputs=step.record.inputs,
        upstream=step.record.upstream,
        notes=step.record.notes,
        made_in_run=step.run_id,
        made_at=finished,
        made_seconds=round((finished - step.record.started_at).total_seconds(), 2),
        versions=step.record.versions,
    )
    step.store.write_bytes(f"{folder}/manifest.json", result.model_dump_json(indent=1).encode())
    return result


def _own_refs(manifest: dict[str, Any]) -> Iterator[FileRef]:
    """The published files that a manifest names itself.

    What a manifest within it names, the step that made that one has verified.
    """
    for value in manifest.values():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict) and {"path", "sha256", "size_bytes"} <= item.keys():
                yield FileRef(
                    path=item["path"], sha256=item["sha256"], size_bytes=item["size_bytes"]
                )


def _joined(first: tuple[str, ...], second: tuple[str, ...]) -> tuple[str, ...]:
    return (*first, *(sentence for sentence in second if sentence not in first))


def _earlier(store: Store, run_id: str, name: str) -> StepRecord | None:
    with suppress(YololineError):
        return read_record(store, run_id, name)
    return None


def _versions(packages: tuple[str, ...]) -> dict[str, str]:
    found = {"yololine": yololine.__version__, "python": platform.python_version()}
    for package in packages:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[package] = importlib.metadata.version(package)
    return found


def log_to_stdout() -> None:
    """Send the log where KFP's UI and the run's log files read it, as plain lines."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names are in it, and a pod's locale may know no letter beyond ASCII.
        sys.stdout.reconfigure(errors="backslashreplace")
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout, force=True)


def refuse(name: str, error: YololineError, step: Step | None = None) -> NoReturn:
    """Leave the error's words in record and log, and end without a traceback."""
    recorded = False
    if step:
        with suppress(StoreError):
            step.update(
                state=StepState.TERMINATED if isinstance(error, Terminated) else StepState.FAILED,
                error=ErrorRecord(kind=error.kind, message=str(error), remedy=error.remedy),
            )
            recorded = True
    LOG.error("error: %s: %s", name, error)
    if step and recorded:
        _renew_report(step)
    raise SystemExit(error.exit_code) from None


def _renew_report(step: Step) -> None:
    """Keep the run's report as true as the journal: KFP's Retry runs no exit handler again."""
    if step.name == EXIT_HANDLER:
        return
    from yololine.steps.report import renew_report  # it reads what this module writes

    try:
        renew_report(step.store, step.record)
    except Exception as error:  # noqa: BLE001, a page costs no step, and hides no step's error
        LOG.warning("%s: the run report is as it was: %s", step.name, error)


@contextmanager
def terminable() -> Iterator[None]:
    """Turn SIGTERM into an exception, so that what is under way is put in order."""

    def terminate(*_: Any) -> None:
        # Once: a second signal must not cut short what the first one set going.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated(
            "step", rule="was told to stop (SIGTERM)", remedy="run it again: it goes on from here"
        )

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
