from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

from yololine.inference.postprocess import Detections
from yololine.serving.parameters import Thresholds
from yololine.serving.refusals import BadRequest, DeadlineExceeded, QueueFull
from yololine.serving.workers import Found, Job, Order, Workers

THRESHOLDS = Thresholds(min_score=0.25, iou_threshold=0.5, max_detections=300)
NOTHING = Detections(
    boxes_xyxy=np.zeros((0, 4), np.float32),
    scores=np.zeros(0, np.float32),
    class_ids=np.zeros(0, np.int32),
)


def answer(jobs: list[Job]) -> None:
    """Of each picture, its length as its width."""
    for job in jobs:
        job.settle(Found(NOTHING, len(job.picture), 1))


@contextmanager
def at_work(
    work: Callable[[list[Job]], None], *, threads: int = 1, max_batch: int = 1, length: int = 4
) -> Iterator[Workers]:
    workers = Workers(
        work, threads=threads, queue_length=length, max_batch=max_batch, max_wait_seconds=0.5
    )
    try:
        yield workers
    finally:
        workers.close()


def order(count: int, *, seconds: float = 60) -> Order:
    return Order(count, THRESHOLDS, time.monotonic() + seconds, asyncio.get_running_loop())


def test_pictures_are_answered_in_their_order() -> None:
    async def ask() -> list[int]:
        with at_work(answer, threads=3) as workers:
            asked = order(4)
            workers.submit(asked, [b"x" * size for size in (3, 1, 4, 2)])
            return [found.width for found in await asked.answer]

    assert asyncio.run(ask()) == [3, 1, 4, 2]


def test_a_full_queue_takes_all_of_a_request_or_nothing() -> None:
    go = threading.Event()

    def wait(jobs: list[Job]) -> None:
        go.wait()
        answer(jobs)

    async def ask() -> None:
        with at_work(wait) as workers:
            first = order(1)
            workers.submit(first, [b"in work"])
            while workers.waiting:
                await asyncio.sleep(0.001)
            second = order(3)
            workers.submit(second, [b"waits"] * 3)
            with pytest.raises(QueueFull, match="2 more pictures: 3 of at most 4") as caught:
                workers.submit(order(2), [b"too many"] * 2)
            assert caught.value.retry_after_seconds == 1
            assert workers.waiting == 3
            workers.drop(second)
            assert workers.waiting == 0
            go.set()
            await first.answer

    asyncio.run(ask())


def test_what_is_late_is_not_worked_on() -> None:
    async def ask() -> None:
        with at_work(answer) as workers:
            late = order(1, seconds=-1)
            workers.submit(late, [b"x"])
            with pytest.raises(DeadlineExceeded):
                await late.answer

    asyncio.run(ask())


def test_what_waits_is_taken_together() -> None:
    sizes = []

    def note(jobs: list[Job]) -> None:
        sizes.append(len(jobs))
        answer(jobs)

    async def ask() -> None:
        with at_work(note, max_batch=3) as workers:
            asked = [order(2), order(1)]
            for one, pictures in zip(asked, ([b"a", b"b"], [b"c"]), strict=True):
                workers.submit(one, pictures)
            await asyncio.gather(*(one.answer for one in asked))

    asyncio.run(ask())
    assert sizes == [3]


@pytest.mark.parametrize("error", [BadRequest("bad"), RuntimeError("broken")])
def test_one_error_is_the_answer_and_ends_nothing_else(error: Exception) -> None:
    def fail(jobs: list[Job]) -> None:
        if jobs[0].picture == b"bad":
            raise error
        answer(jobs)

    async def ask() -> None:
        with at_work(fail) as workers:
            bad, good = order(2), order(1)
            workers.submit(bad, [b"x", b"bad"])
            workers.submit(good, [b"x"])
            with pytest.raises(type(error), match=str(error)):
                await bad.answer
            assert len(await good.answer) == 1

    asyncio.run(ask())


def test_what_waits_is_answered_before_the_end() -> None:
    async def ask() -> None:
        with at_work(answer) as workers:
            asked = [order(1) for _ in range(4)]
            for one in asked:
                workers.submit(one, [b"x"])
        await asyncio.gather(*(one.answer for one in asked))

    asyncio.run(ask())
