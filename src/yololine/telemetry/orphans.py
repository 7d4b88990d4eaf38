"""No process of a run outlives the command that started it, not even when that is killed.

The supervisor of an embedded run holds an exclusive lock on a file for its life and names the file
in the environment of all it starts. The kernel drops the lock however the supervisor ends, so
whoever gets it knows that the run is over. A pid or a pipe would not do: one is reused, the other
is lost where a step starts processes of its own.
"""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

RUN_LOCK_VARIABLE = "YOLOLINE_RUN_LOCK"
_PROC = Path("/proc")


@contextmanager
def held_run_lock(path: Path) -> Iterator[None]:
    """Hold the run's lock; the file appears locked, and is gone with the block.

    The environment of the run's processes must name it: `RUN_LOCK_VARIABLE=path`.
    """
    unlocked = path.with_name(f".{path.name}")
    with unlocked.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        unlocked.replace(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def is_abandoned(path: Path) -> bool:
    """Whether the lock's file is there and nobody holds it: its supervisor was killed."""
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def end_with_run() -> None:
    """Have this process, and all of its run, killed as soon as the run's supervisor is gone.

    Called by every process of a run; a no-op outside of one, on a cluster for instance, where the
    pod is what ends together.
    """
    path = os.environ.get(RUN_LOCK_VARIABLE)
    if path:
        threading.Thread(
            target=_kill_when_over, args=(Path(path),), name="end-with-run", daemon=True
        ).start()


def run_processes(lock: Path) -> list[int]:
    """Pids of the living processes of a run, this one excepted.

    By their environment, since a launcher of distributed workers gives them sessions of their own,
    and whoever loses its parent has another one. Empty where there is no /proc.
    """
    marker = f"{RUN_LOCK_VARIABLE}={lock}".encode()
    found = []
    for entry in _PROC.glob("[0-9]*"):
        pid = int(entry.name)
        # A process may end meanwhile or belong to somebody else; a zombie's environment is empty.
        with suppress(OSError):
            if pid != os.getpid() and marker in (entry / "environ").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def kill_run_processes(lock: Path, *, timeout_seconds: float = 5.0) -> bool:
    """Kill what is alive of a run, and what that starts meanwhile; say whether all are gone."""
    deadline = time.monotonic() + timeout_seconds
    while pids := run_processes(lock):
        for pid in pids:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def kill_strays(lock: Path) -> None:
    """Kill the processes of a run that do not descend from this one: their parents have died."""
    alive = run_processes(lock)
    parents = _parents()  # after that: of everything alive, then, it knows the parent
    for pid in alive:
        ancestor = pid
        while ancestor > 1 and ancestor != os.getpid():
            ancestor = parents.get(ancestor, 0)
        if ancestor != os.getpid():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _parents() -> dict[int, int]:
    """Pid -> parent's pid, of every process."""
    parents = {}
    for entry in _PROC.glob("[0-9]*"):
        with suppress(OSError):
            # pid (name) state parent ...; the name may hold anything, brackets too
            parents[int(entry.name)] = int(
                (entry / "stat").read_bytes().rpartition(b")")[2].split()[1]
            )
    return parents


def _kill_when_over(lock: Path) -> None:
    # A missing file: the run was over before this process came to look.
    with suppress(OSError), lock.open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
    kill_run_processes(lock)
    # Whatever dropped its environment is still in the session the supervisor made for the run.
    os.killpg(0, signal.SIGKILL)
