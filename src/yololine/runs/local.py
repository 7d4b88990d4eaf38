"""Run a compiled pipeline on this machine, and see to it that nothing of it is left behind."""

from __future__ import annotations

import json
import os
import platform
import secrets
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from yololine.errors import RunError, YololineError
from yololine.runs.follow import FollowedJournal
from yololine.runs.killed import LOCK, SCRATCH_PREFIX, SCRATCH_RECORD, end_killed_runs
from yololine.runs.logs import RunLogs
from yololine.runs.outcome import Run, RunOutcome
from yololine.runs.package import Package
from yololine.runs.parameters import with_absolute_paths
from yololine.runs.stopping import Screen, StopRequests, ask_to_stop, end_processes
from yololine.runs.view import View
from yololine.storage import Store, open_store
from yololine.storage.local import LocalStore
from yololine.telemetry.journal import RUN_ID_VARIABLE, report_path, write_run_record
from yololine.telemetry.orphans import RUN_LOCK_VARIABLE, held_run_lock
from yololine.telemetry.records import STEPS, StepState, now
from yololine.telemetry.runs import DEPLOYMENT, EXIT_HANDLER, RunRecord, RunState

GRACE_SECONDS = 30.0
"""How long a step may take to save what it has when it is told to stop: what a pod has, too."""

_DRAW_SECONDS = 0.25


def run_locally(
    package: Package, arguments: Mapping[str, Any], *, view: View, command: str
) -> RunOutcome:
    """Run a pipeline under kfp.local to its end, or until SIGINT, SIGTERM or SIGHUP.

    To be called in the main thread, since it takes these signals meanwhile: the first one lets the
    running step save what it has, Ctrl-C after that kills it.

    Args:
        package: The compiled pipeline; `store_uri` is one of its parameters.
        arguments: A value for each of its parameters.
        view: Told what happens.
        command: What the user entered; it goes on from where this run ends.

    Raises:
        RunError: There is no place for the run's logs.
        StoreError: The store cannot be written. Whatever goes wrong after that is in the outcome.
    """
    arguments = with_absolute_paths(arguments)
    store = open_store(arguments["store_uri"])
    store.check_writable()
    run = _new_run(package, arguments, store, command)
    told = _told(run, arguments)
    began = time.monotonic()
    try:
        # The lock is held until all is written: who finds it abandoned ends the run in our place.
        with _scratch(told) as scratch:
            with StopRequests() as stop:
                screen = Screen(stop)
                job = _prepare(package, arguments, run, scratch)
                write_run_record(store, told)
                view.begin(run)
                process = _start(job, run, scratch)
                try:
                    assert process.stdout
                    logs = RunLogs(process.stdout, run.logs)
                    journal = FollowedJournal(store, run, logs)
                    stopped_by = _watch(process, journal, view, screen, stop)
                finally:
                    end_processes(process, scratch / LOCK)
                # Not for ever: a process that shed session and environment may still hold the pipe.
                logs.join(timeout=5)
            # From here on Ctrl-C is Ctrl-C again: nothing runs that it could leave behind.
            state = RunState.SUCCEEDED
            if process.returncode:
                state = RunState.TERMINATED if stopped_by else RunState.FAILED
            notes = journal.complete(stopped_by)
            try:
                ended = told.model_copy(update={"state": state, "finished_at": now()})
                write_run_record(store, ended)
            except YololineError as error:
                notes.append(f"how the run ended is not kept: {error}")
            report = _report(store, run, journal, state, notes)
        outcome = RunOutcome(
            run=run,
            state=state,
            exit_code=_exit_code(state, stopped_by),
            seconds=time.monotonic() - began,
            records=journal.records,
            failure=journal.failure() if state is RunState.FAILED else None,
            report=report,
            notes=tuple(notes),
        )
        screen.tell(lambda: view.end(outcome))
    finally:
        with suppress(OSError, SystemExit):
            view.close()
    return outcome


def _watch(
    process: subprocess.Popen[bytes],
    journal: FollowedJournal,
    view: View,
    screen: Screen,
    stop: StopRequests,
) -> signal.Signals | None:
    """Show the run until it has ended, or has had its time to stop; return what stopped it."""
    deadline = float("inf")
    asked: signal.Signals | None = None
    while not (stop.at_once or time.monotonic() > deadline):
        with suppress(subprocess.TimeoutExpired):
            process.wait(_DRAW_SECONDS)
            break
        screen.tell(lambda: view.show(journal.records))
        if stop.signal and not asked:
            asked = stop.signal
            deadline = time.monotonic() + GRACE_SECONDS
            ask_to_stop(process)
            screen.tell(
                lambda: view.say("Stopping: the running step saves what it has. Ctrl-C kills it.")
            )
    return asked


def _prepare(package: Package, arguments: Mapping[str, Any], run: Run, scratch: Path) -> Path:
    """Make the run's folders, and the file that tells the runner what to do."""
    job = run.folder / "job.json"
    told = {
        "package": str(package.path),
        "arguments": arguments,
        "pipeline_root": str(run.folder / "artifacts"),
        "workspace_root": str(scratch / "workspace"),
    }
    try:
        run.logs.mkdir(parents=True)
        job.write_text(json.dumps(told, indent=1))
    except OSError as error:
        raise RunError(
            run.folder,
            rule=f"cannot take the run's logs and artifacts ({error.strerror})",
            remedy="start the run in a folder you can write",
        ) from error
    return job


def _start(job: Path, run: Run, scratch: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "yololine.runs.embedded", str(job)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # As in a pod: what a step drops into its working folder goes with it, and what lies in the
        # user's is not imported by accident.
        cwd=scratch,
        env={
            **os.environ,
            "PYTHONPATH": _absolute_search_path(os.environ.get("PYTHONPATH", "")),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(scratch),
            RUN_ID_VARIABLE: run.run_id,
            RUN_LOCK_VARIABLE: str(scratch / LOCK),
        },
        # The terminal's Ctrl-C is the supervisor's to pass on.
        start_new_session=True,
    )


def _new_run(package: Package, arguments: Mapping[str, Any], store: Store, command: str) -> Run:
    run_id = f"{package.name}-{now():%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    home = (
        store.root / "runs" if isinstance(store, LocalStore) else Path("yololine-runs").absolute()
    )
    return Run(
        run_id=run_id,
        pipeline=package.name,
        steps=tuple(
            step
            for step in STEPS
            if step in package.steps
            # A pipeline that has no such choice always deploys.
            and (step != DEPLOYMENT or arguments.get("deploy", True))
        ),
        store_uri=store.uri,
        folder=home / run_id,
        command=command,
    )


def _told(run: Run, arguments: Mapping[str, Any]) -> RunRecord:
    return RunRecord(
        run_id=run.run_id,
        pipeline=run.pipeline,
        store_uri=run.store_uri,
        model_name=str(arguments.get("model_name") or arguments.get("model", "")),
        command=run.command,
        logs=str(run.logs),
        host=platform.node(),
        started_at=now(),
    )


def _exit_code(state: RunState, stopped_by: signal.Signals | None) -> int:
    if state is RunState.TERMINATED and stopped_by:
        return 128 + stopped_by
    return 0 if state is RunState.SUCCEEDED else 1


@contextmanager
def _scratch(run: RunRecord) -> Iterator[Path]:
    """The run's temporary folder, with its lock in it; runs that were killed are ended first.

    Under the system's own: short, since multiprocessing makes sockets in it and a socket's path
    has 107 characters at most, and on a disk that knows locks.
    """
    end_killed_runs()
    with tempfile.TemporaryDirectory(prefix=SCRATCH_PREFIX, ignore_cleanup_errors=True) as folder:
        Path(folder, SCRATCH_RECORD).write_text(run.model_dump_json())
        with held_run_lock(Path(folder, LOCK)):
            yield Path(folder)


def _absolute_search_path(search_path: str) -> str:
    return os.pathsep.join(
        str(Path(folder).absolute()) for folder in search_path.split(os.pathsep) if folder
    )


def _report(
    store: Store,
    run: Run,
    journal: FollowedJournal,
    state: RunState,
    notes: list[str],
) -> str:
    """Where the report is.

    Of a run that did not succeed it is written here in any case: the exit handler may have come
    before the records of dead steps were ended.
    """
    handler = journal.records.get(EXIT_HANDLER)
    path = report_path(run.run_id)
    try:
        written = handler and handler.state is StepState.DONE and store.exists(path)
        if written and state is RunState.SUCCEEDED:
            return f"{store.uri}/{path}"
        # Plots and pictures: a second to import, and needed only where something went wrong.
        from yololine import steps

        return steps.report_run_from_journal(store_uri=store.uri, run_id=run.run_id)
    except Exception as error:  # noqa: BLE001, how the run ended is said in any case
        log = run.logs / "report.log"
        with suppress(OSError):
            log.write_text(traceback.format_exc())
        notes.append(f"the report could not be written: {error}; see {log}")
        return ""
