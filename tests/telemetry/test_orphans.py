from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from yololine.telemetry.orphans import (
    RUN_LOCK_VARIABLE,
    end_with_run,
    held_run_lock,
    is_abandoned,
    kill_run_processes,
    run_processes,
)

SUPERVISOR = """
import os, subprocess, sys, time
from pathlib import Path
from yololine.telemetry.orphans import RUN_LOCK_VARIABLE, held_run_lock
lock = Path(sys.argv[1])
with held_run_lock(lock):
    subprocess.Popen(
        [sys.executable, "-c", sys.argv[2]],
        env=os.environ | {RUN_LOCK_VARIABLE: str(lock)},
        start_new_session=True,
    )
    print("started", flush=True)
    sys.stdin.read()
"""
# A step, with a worker in a session of its own that knows nothing of the run.
STEP = """
import subprocess, sys, time
from pathlib import Path
from yololine.telemetry.orphans import end_with_run
end_with_run()
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
time.sleep(600)
"""


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
def test_a_killed_supervisor_takes_its_run_along(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(lock), STEP],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert supervisor.stdin
    assert supervisor.stdout
    with supervisor, supervisor.stdin:
        assert supervisor.stdout.readline() == b"started\n"
        _wait_until(lambda: len(run_processes(lock)) == 2)
        assert not is_abandoned(lock)
        supervisor.kill()
    _wait_until(lambda: run_processes(lock) == [])
    assert is_abandoned(lock)


def test_a_process_that_comes_after_the_end_ends_at_once(tmp_path: Path) -> None:
    late = subprocess.run(
        [sys.executable, "-c", STEP],
        env={**os.environ, RUN_LOCK_VARIABLE: str(tmp_path / "gone")},
        check=False,
        start_new_session=True,
    )
    assert late.returncode == -signal.SIGKILL


def test_what_is_left_of_a_run_is_found_and_killed(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    environ = {**os.environ, RUN_LOCK_VARIABLE: str(lock)}
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(sleeper, env=environ, start_new_session=True) as left:
        _wait_until(lambda: run_processes(lock) == [left.pid])
        assert kill_run_processes(lock)
        assert left.wait() == -signal.SIGKILL


def test_the_lock_is_held_from_its_first_sight_and_gone_in_the_end(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    assert not is_abandoned(lock)
    with held_run_lock(lock):
        assert lock.exists()
        assert not is_abandoned(lock)
    assert list(tmp_path.iterdir()) == []
    lock.touch()
    assert is_abandoned(lock)


def test_outside_of_a_run_nothing_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUN_LOCK_VARIABLE, raising=False)
    end_with_run()  # would end the tests
