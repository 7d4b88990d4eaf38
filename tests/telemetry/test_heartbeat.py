from __future__ import annotations

import threading

from yololine.errors import StoreUnavailable
from yololine.telemetry.heartbeat import beating


def test_it_beats_until_the_block_is_over_whatever_the_store_says() -> None:
    beaten = threading.Semaphore(0)

    def beat() -> None:
        beaten.release()
        raise StoreUnavailable("s3://x", rule="does not answer", remedy="start it")

    with beating(beat, seconds=0.01):
        for _ in range(3):
            assert beaten.acquire(timeout=30)
    (thread,) = [t for t in threading.enumerate() if t.name == "heartbeat"] or [None]
    if thread:
        thread.join(timeout=30)
        assert not thread.is_alive()


def test_a_short_block_has_no_beat() -> None:
    beats: list[int] = []
    with beating(lambda: beats.append(1), seconds=60):
        pass
    assert beats == []
