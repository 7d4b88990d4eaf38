"""What a worker does with the pictures it takes: decode, infer, find detections."""

from __future__ import annotations

import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from yololine import resources
from yololine.errors import EvaluationError, UsageError
from yololine.inference.detector import Detector, by_shape
from yololine.inference.postprocess import Detections, detections
from yololine.inference.preprocess import Prepared
from yololine.serving import metrics
from yololine.serving.parameters import Thresholds
from yololine.serving.pictures import Limits
from yololine.serving.refusals import QueueFull, Refusal, Unavailable, in_words
from yololine.serving.workers import Found, Job

LARGE_PIXELS = 20_000_000
"""Pictures above this are worked on one at a time: each takes some ten bytes a pixel meanwhile."""
LARGE_WAITING = 8
"""Of them, beside the queue; each takes about a second."""


class Detecting:
    """A detector at work for many requests, each with thresholds of its own."""

    def __init__(self, detector: Detector, limits: Limits, *, max_batch: int) -> None:
        self._detector = detector
        self._limits = limits
        self._counts = metrics.DetectionMetrics(detector.class_names)
        self._large: deque[Job] = deque()
        self._large_at_work = False
        self._large_turn = threading.Lock()
        self._decoders = ThreadPoolExecutor(resources.cores(), "decoder") if max_batch > 1 else None

    def work(self, jobs: list[Job]) -> None:
        """Settle each of the jobs, or leave a large one to the thread that has another."""
        of_size = {True: list[Job](), False: list[Job]()}
        for job in jobs:
            try:
                of_size[self._is_large(job.picture)].append(job)
            except Refusal as refusal:
                job.settle(refusal)
        if of_size[False]:
            self._work(of_size[False])
        for job in of_size[True]:
            self._work_in_turn(job)

    def _is_large(self, picture: bytes | np.ndarray) -> bool:
        if isinstance(picture, np.ndarray):
            return False
        try:
            return self._limits.check_header(picture) > LARGE_PIXELS
        except MemoryError:
            raise _no_memory() from None

    def _work_in_turn(self, job: Job) -> None:
        """Work off large pictures in one thread, so that the others go on with small ones."""
        with self._large_turn:
            if len(self._large) >= LARGE_WAITING:
                job.settle(
                    QueueFull(
                        f"picture of more than {LARGE_PIXELS} pixels: {LARGE_WAITING} of them wait "
                        "already; try again later, or scale it down",
                        retry_after_seconds=LARGE_WAITING,
                    )
                )
                return
            self._large.append(job)
            if self._large_at_work:
                return
            self._large_at_work = True
        while following := self._following_large():
            if following.order.dropped:
                continue
            try:
                self._work([following])
            except Exception as error:  # noqa: BLE001 (its request's; the next one's turn comes)
                following.settle(error)

    def _following_large(self) -> Job | None:
        with self._large_turn:
            self._large_at_work = bool(self._large)
            return self._large.popleft() if self._large else None

    def _work(self, jobs: list[Job]) -> None:
        prepared = (
            self._decoders.map(self._prepare, jobs)
            if self._decoders and len(jobs) > 1
            else map(self._prepare, jobs)
        )
        good: list[tuple[Job, Prepared]] = []
        for job, ready in zip(jobs, prepared, strict=True):
            if isinstance(ready, Refusal):
                job.settle(ready)
            else:
                good.append((job, ready))
        for same in by_shape([ready for _, ready in good]):
            self._infer([good[index] for index in same])

    def _prepare(self, job: Job) -> Prepared | Refusal:
        started = time.perf_counter()
        try:
            return self._detector.prepare(job.picture)
        except UsageError as error:
            return in_words(error)
        except MemoryError:
            return _no_memory()
        finally:
            metrics.stage("decode", time.perf_counter() - started)

    def _infer(self, same: list[tuple[Job, Prepared]]) -> None:
        started = time.perf_counter()
        outputs = self._detector.run([ready for _, ready in same])
        inferred = time.perf_counter()
        metrics.BATCH.observe(len(same))
        metrics.stage("infer", inferred - started)
        for (job, ready), output in zip(same, outputs, strict=True):
            try:
                found = find(output, ready, self._detector.engine.layout, job.order.thresholds)
            except EvaluationError as error:
                # A picture's own: the others of its batch are answered.
                job.settle(error)
                continue
            self._counts.count(found.class_ids, found.scores)
            job.settle(Found(found, ready.place.width, ready.place.height))
        metrics.stage("postprocess", (time.perf_counter() - inferred) / len(same))


def _no_memory() -> Unavailable:
    return Unavailable(
        "picture: there is no memory for it now; try later, or scale it down",
        retry_after_seconds=1,
    )


def find(output: np.ndarray, ready: Prepared, layout: str, wanted: Thresholds) -> Detections:
    """Detections in one picture's raw output, by a request's own thresholds."""
    min_score = wanted.min_score
    if (class_scores := wanted.class_min_scores) is not None:
        # Before suppression and the limit of their number, as the score for all classes is.
        output = output.copy()
        if layout == "end2end":
            own = class_scores[output[:, 5].astype(np.int32).clip(0, len(class_scores) - 1)]
            output[output[:, 4] < own, 4] = -1
        else:
            output[4:][output[4:] < class_scores[:, None]] = -1
        min_score = float(class_scores.min())
    return detections(
        output,
        ready.place,
        layout=layout,
        min_score=min_score,
        iou_threshold=wanted.iou_threshold,
        max_detections=wanted.max_detections,
    )
