"""The wish to stop a run, and the end of its processes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from yololine.telemetry.orphans import kill_run_processes


class StopRequests:
    """SIGINT, SIGTERM and SIGHUP, noted while the block lasts instead of raised.

    Attributes:
        signal: The first that came.
        at_once: Ctrl-C was pressed after that.
    """

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self.at_once = False

    def request(self, received: signal.Signals) -> None:
        """Note a signal, or what amounts to one."""
        self.at_once = self.at_once or (self.signal is not None and received is signal.SIGINT)
        self.signal = self.signal or received

    def _note(self, number: int, _: FrameType | None) -> None:
        self.request(signal.Signals(number))

    def __enter__(self) -> StopRequests:
        self._before = {
            number: signal.signal(number, self._note)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
            # An ignored one is meant to be: nohup, a script's background job.
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


class Screen:
    """Calls of the view for as long as it can write; once it cannot, the run is to stop."""

    def __init__(self, stop: StopRequests) -> None:
        self._stop = stop
        self._gone = False

    def tell(self, call: Callable[[], None]) -> None:
        """Make the call, unless an earlier one failed."""
        if self._gone:
            return
        try:
            call()
        except (OSError, SystemExit):  # the latter is how rich answers a closed pipe
            self._gone = True
            self._stop.request(signal.SIGPIPE)


def ask_to_stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the run's process group, as a pod's steps get it."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)


def end_processes(process: subprocess.Popen[bytes], lock: Path) -> None:
    """Kill what is left of a run, whatever session or parent it has by now."""
    kill_run_processes(lock)
    # Where there is no /proc to find them by, the group is what is known of them.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
