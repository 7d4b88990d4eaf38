"""Large pictures have one thread at most."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.serving.pictures import encoded
from yololine.inference.preprocess import Prepared, prepare
from yololine.serving import detecting
from yololine.serving.detecting import LARGE_WAITING, Detecting
from yololine.serving.parameters import Thresholds
from yololine.serving.pictures import Limits
from yololine.serving.refusals import QueueFull
from yololine.serving.workers import Found, Order, Workers

SMALL, LARGE = encoded(size_wh=(8, 8)), encoded(size_wh=(64, 64))
LIMITS = Limits(max_image_bytes=10**6, max_pixels=10**6, max_batch_images=64)
THRESHOLDS = Thresholds(min_score=0.25, iou_threshold=0.5, max_detections=300)


class Engine:
    """Finds nothing."""

    layout = "end2end"
    image_size = 32


class Detector:
    """Large pictures wait in it until they are let go."""

    engine = Engine()
    class_names = ("scratch",)

    def __init__(self) -> None:
        self.go = threading.Event()
        self.at_once = 0
        self.most_at_once = 0

    def prepare(self, picture: bytes) -> Prepared:
        """One picture's."""
        if picture == LARGE:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            self.go.wait()
            self.at_once -= 1
        return prepare(np.zeros((8, 8, 3), np.uint8), 32)

    def run(self, same: list[Prepared]) -> np.ndarray:
        """No detections."""
        return np.zeros((len(same), 1, 6), np.float32)


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch) -> Detector:
    monkeypatch.setattr(detecting, "LARGE_PIXELS", 1000)
    return Detector()


def submit(workers: Workers, *pictures: bytes) -> asyncio.Future[list[Found]]:
    loop = asyncio.get_running_loop()
    order = Order(len(pictures), THRESHOLDS, time.monotonic() + 60, loop)
    workers.submit(order, pictures)
    return order.answer


def started(detector: Any) -> Workers:
    work = Detecting(detector, LIMITS, max_batch=1).work
    return Workers(work, threads=2, queue_length=64, max_batch=1, max_wait_seconds=0)


def test_small_pictures_are_answered_while_large_ones_wait(detector: Detector) -> None:
    async def ask() -> None:
        workers = started(detector)
        try:
            large = [submit(workers, LARGE) for _ in range(4)]
            small = await submit(workers, SMALL, SMALL)
            assert [found.width for found in small] == [8, 8]
            assert not any(answer.done() for answer in large)
            detector.go.set()
            for answer in large:
                assert len(await answer) == 1
        finally:
            detector.go.set()
            workers.close()

    asyncio.run(ask())
    assert detector.most_at_once == 1


def test_no_more_large_pictures_wait_than_may(detector: Detector) -> None:
    async def ask() -> None:
        workers = started(detector)
        try:
            large = [submit(workers, LARGE) for _ in range(LARGE_WAITING + 1)]
            while not detector.at_once or workers.waiting:
                await asyncio.sleep(0.001)
            with pytest.raises(QueueFull, match="of them wait already") as caught:
                await submit(workers, LARGE)
            assert caught.value.retry_after_seconds == LARGE_WAITING
            await submit(workers, SMALL)
            detector.go.set()
            await asyncio.gather(*large)
            # And all is well again.
            await submit(workers, LARGE)
        finally:
            detector.go.set()
            workers.close()

    asyncio.run(ask())
