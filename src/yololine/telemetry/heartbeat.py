"""A sign of life now and then, while something long is under way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from yololine.errors import StoreError


@contextmanager
def beating(beat: Callable[[], None], *, seconds: float) -> Iterator[None]:
    """Call `beat` every so many seconds while the block lasts, in a thread of its own.

    A store that cannot be written at the moment costs a beat, and nothing else.
    """
    over = threading.Event()

    def run() -> None:
        while not over.wait(seconds):
            with suppress(StoreError):
                beat()

    thread = threading.Thread(target=run, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
