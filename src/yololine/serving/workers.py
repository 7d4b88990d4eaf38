"""The bounded queue of pictures, and the threads that decode, infer and answer them.

A picture's whole way lies in one thread: nothing is handed over in the middle, and what waits is
the encoded picture, not the megabytes it decodes to. Where an inference takes several pictures,
those that wait are taken together.
"""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from yololine.inference.postprocess import Detections
from yololine.serving import metrics
from yololine.serving.parameters import Thresholds
from yololine.serving.refusals import DeadlineExceeded, QueueFull

Picture = bytes | np.ndarray
"""Encoded, or RGB pixels (h, w, 3) uint8."""


@dataclass(frozen=True, slots=True)
class Found:
    """One picture's detections, and its size in pixels."""

    detections: Detections
    width: int
    height: int


class Order:
    """A request for some pictures, answered together: `answer` is a future of theirs in order.

    It does not hold the pictures: they go with their jobs.
    """

    def __init__(
        self,
        count: int,
        thresholds: Thresholds,
        deadline: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Prepare one, on the event loop.

        Args:
            count: Of its pictures, at least 1.
            thresholds: For each of them.
            deadline: On time.monotonic()'s clock.
            loop: The caller's.
        """
        self.thresholds = thresholds
        self.deadline = deadline
        self.queued = time.monotonic()
        self.dropped = False
        """Nobody waits for it any more."""
        self.answer: asyncio.Future[list[Found]] = loop.create_future()
        self._loop = loop
        self._found: list[Found | None] = [None] * count
        self._left = count

    def settle(self, place: int, outcome: Found | Exception) -> None:
        """Note what became of one picture, from any thread: the first error is the answer."""
        try:
            self._loop.call_soon_threadsafe(self._settle, place, outcome)
        except RuntimeError:
            # The loop is closed: the server ended without waiting.
            self.dropped = True

    def _settle(self, place: int, outcome: Found | Exception) -> None:
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.dropped = True
            self.answer.set_exception(outcome)
            return
        self._found[place] = outcome
        self._left -= 1
        if not self._left:
            self.answer.set_result([found for found in self._found if found])


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """One picture of an order."""

    order: Order
    place: int
    picture: Picture

    def settle(self, outcome: Found | Exception) -> None:
        """Note what became of it, from any thread."""
        self.order.settle(self.place, outcome)


class Workers:
    """Threads that work off a bounded queue."""

    def __init__(
        self,
        work: Callable[[list[Job]], None],
        *,
        threads: int,
        queue_length: int,
        max_batch: int,
        max_wait_seconds: float,
    ) -> None:
        """Start them.

        Args:
            work: Settles each of the jobs it is given, in any thread.
            threads: How many work at once.
            queue_length: Jobs that may wait.
            max_batch: Jobs that are worked on together, at most.
            max_wait_seconds: How long to wait for more of them.
        """
        self.threads = threads
        self._work = work
        self._queue_length = queue_length
        self._max_batch = max_batch
        self._max_wait_seconds = max_wait_seconds
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._seconds_each = 0.0
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{number}", daemon=True)
            for number in range(threads)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that wait."""
        return len(self._waiting)

    @property
    def retry_after_seconds(self) -> int:
        """About how long what waits will take."""
        return max(1, math.ceil(len(self._waiting) * self._seconds_each / len(self._threads)))

    def submit(self, order: Order, pictures: Sequence[Picture]) -> None:
        """Queue all pictures of an order, or none.

        Raises:
            QueueFull: There is no room for them.
        """
        with self._changed:
            if len(self._waiting) + len(pictures) > self._queue_length:
                raise QueueFull(
                    f"{len(pictures)} more pictures: {len(self._waiting)} of at most "
                    f"{self._queue_length} wait already; try again later",
                    retry_after_seconds=self.retry_after_seconds,
                )
            for place, picture in enumerate(pictures):
                self._waiting.append(Job(order, place, picture))
            self._changed.notify(len(pictures))

    def drop(self, order: Order) -> None:
        """Take an order's jobs out of the queue: nobody waits for them."""
        order.dropped = True
        with self._changed:
            if any(job.order is order for job in self._waiting):
                self._waiting = deque(job for job in self._waiting if job.order is not order)

    def close(self) -> None:
        """End the threads; what waits is settled first."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while jobs := self._take():
            started = time.monotonic()
            for job in jobs:
                metrics.stage("queue", started - job.order.queued)
                if started > job.order.deadline:
                    job.settle(DeadlineExceeded("deadline: passed while the request waited"))
            alive = [job for job in jobs if not job.order.dropped and started <= job.order.deadline]
            if not alive:
                continue
            try:
                self._work(alive)
            except Exception as error:  # noqa: BLE001 (its request's; the thread serves others too)
                for job in alive:
                    job.settle(error)
            each = (time.monotonic() - started) / len(alive)
            self._seconds_each += 0.1 * (each - self._seconds_each)

    def _take(self) -> list[Job]:
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._changed.wait()
            jobs = [self._waiting.popleft()]
            until = time.monotonic() + self._max_wait_seconds
            while len(jobs) < self._max_batch:
                if self._waiting:
                    jobs.append(self._waiting.popleft())
                    continue
                left = until - time.monotonic()
                if self._closed or left <= 0:
                    break
                self._changed.wait(left)
            return jobs
