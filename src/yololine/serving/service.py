"""The one thing both protocols talk to: takes pictures, gives detections, knows if it is ready."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from yololine.registry.versions import Version
from yololine.serving import metrics
from yololine.serving.detecting import Detecting
from yololine.serving.loading import Loaded
from yololine.serving.parameters import Parameters, Reader, Thresholds
from yololine.serving.pictures import Limits
from yololine.serving.refusals import DeadlineExceeded, QueueFull, Unavailable, UnknownModel
from yololine.serving.settings import Settings
from yololine.serving.workers import Found, Order, Picture, Workers


class State(Enum):
    """How far a predictor's life has come."""

    LOADING = "loading"
    READY = "ready"
    LEAVING = "leaving"
    """Told to stop: not ready any more, but whoever still asks is answered."""
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class _Model:
    loaded: Loaded
    reader: Reader
    workers: Workers


class Service:
    """A predictor without its protocols. Everything here runs on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.limits = Limits.of(settings)
        self.state = State.LOADING
        self.in_flight = 0
        """Requests that are being read, wait or are worked on."""
        self._bytes_in_flight = 0
        self._model: _Model | None = None
        self.name = settings.model_name or ""
        metrics.IN_FLIGHT.set_function(lambda: self.in_flight)
        metrics.READY.set_function(lambda: self.ready)
        metrics.watch_queue(lambda: self._model.workers.waiting if self._model else 0)

    @property
    def ready(self) -> bool:
        """Whether traffic should be sent here."""
        return self.state is State.READY

    @property
    def version(self) -> Version:
        """What is served.

        Raises:
            Unavailable: It is not loaded yet.
        """
        return self._served().loaded.version

    @property
    def platform(self) -> str:
        """The engine's name and device."""
        engine = self._served().loaded.detector.engine
        return f"{engine.name}_{engine.device.lower()}"

    def check_model(self, name: str, version: str | None) -> None:
        """Hold what a request names against what is served; a version need not be named.

        Raises:
            UnknownModel: It is another.
            Unavailable: None is loaded yet.
        """
        served = self.version.version
        if name != self.name:
            raise UnknownModel(f"model {name[:80]!r}: is not here; this is {self.name!r}")
        if version and version != served:
            raise UnknownModel(f"version {version[:80]!r}: is not here; this is {served!r}")

    def start(self, loaded: Loaded) -> None:
        """Serve a model from now on."""
        engine = loaded.detector.engine
        max_batch = self.settings.max_batch or engine.max_batch
        self.name = self.name or loaded.version.name
        reader = Reader(
            defaults=Thresholds(
                min_score=self.settings.min_score,
                iou_threshold=self.settings.iou_threshold,
                max_detections=self.settings.max_detections,
            ),
            deadline_seconds=self.settings.deadline_seconds,
            class_names=loaded.version.class_names,
        )
        workers = Workers(
            Detecting(loaded.detector, self.limits, max_batch=max_batch).work,
            # On a device of its own, one more than it runs at once: it decodes meanwhile. On a
            # processor one more would only take turns with the others, and some would wait long.
            threads=engine.streams + (engine.device != "CPU"),
            queue_length=self.settings.queue_length,
            max_batch=max_batch,
            max_wait_seconds=self.settings.max_wait_ms / 1000,
        )
        self._model = _Model(loaded, reader, workers)
        metrics.MODEL.labels(
            self.name, loaded.version.version, engine.name, engine.device, engine.precision
        ).set(1)
        self.state = State.READY

    def leave(self) -> None:
        """Not ready any more, but still answering."""
        self.state = State.LEAVING

    def close(self) -> None:
        """Answer what waits, and nothing after it."""
        self.state = State.CLOSED
        if self._model:
            self._model.workers.close()

    def read_parameters(self, given: dict[str, object]) -> Parameters:
        """A request's parameters.

        Raises:
            BadRequest: One is not known or out of its range.
            Unavailable: The model is not loaded yet.
        """
        return self._served().reader.read(given)

    def admit(self) -> None:
        """Refuse at a request's first bytes what would be refused once all of them are read.

        Raises:
            Unavailable: Not loaded yet, or closed.
            QueueFull: As many requests as may are in flight.
        """
        workers = self._served().workers
        room = self.settings.queue_length + workers.threads
        if self.in_flight > room or workers.waiting >= self.settings.queue_length:
            raise QueueFull(
                f"request: {workers.waiting} of at most {self.settings.queue_length} pictures "
                "wait already; try again later",
                retry_after_seconds=workers.retry_after_seconds,
            )

    def hold(self, size_bytes: int) -> None:
        """Count bytes of a request that is being read.

        Raises:
            QueueFull: All requests together hold as many as they may.
        """
        self._bytes_in_flight += size_bytes
        if self._bytes_in_flight > self.settings.max_bytes_in_flight:
            raise QueueFull(
                f"requests of {self._bytes_in_flight} bytes: at most "
                f"{self.settings.max_bytes_in_flight} at once; try again later",
                retry_after_seconds=1,
            )

    def release(self, size_bytes: int) -> None:
        """Those bytes are done with."""
        self._bytes_in_flight -= size_bytes

    async def detect(
        self, pictures: Sequence[Picture], thresholds: Thresholds, *, started: float, seconds: float
    ) -> list[Found]:
        """Detections of each picture. A caller that is cancelled drops what waits.

        Args:
            pictures: At least one.
            thresholds: For each of them.
            started: When the request came, on time.monotonic()'s clock.
            seconds: After which there must be an answer.

        Raises:
            Refusal: The queue is full, the deadline passed, a picture cannot be read.
        """
        workers = self._served().workers
        loop = asyncio.get_running_loop()
        deadline = started + seconds
        order = Order(len(pictures), thresholds, deadline, loop)
        workers.submit(order, pictures)
        timer = loop.call_later(deadline - time.monotonic(), _expire, order, seconds)
        try:
            return await order.answer
        finally:
            timer.cancel()
            if not order.answer.done() or order.answer.cancelled() or order.dropped:
                workers.drop(order)

    def _served(self) -> _Model:
        if self.state is State.CLOSED:
            raise Unavailable("server: is stopping; ask another", retry_after_seconds=1)
        if not self._model:
            raise Unavailable("model: is not loaded yet; try again later", retry_after_seconds=1)
        return self._model


def _expire(order: Order, seconds: float) -> None:
    order.dropped = True
    if not order.answer.done():
        order.answer.set_exception(
            DeadlineExceeded(
                f"deadline of {seconds:g} seconds: passed; send fewer requests at once, or start "
                "more replicas"
            )
        )
