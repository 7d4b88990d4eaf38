"""What Prometheus reads at /metrics, beside kserve's own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

# A time series for each of the others, that nobody asks for.
disable_created_metrics()  # type: ignore[no-untyped-call]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
STAGES = ("decode", "queue", "infer", "postprocess", "total")
_SCORE_EDGES = np.arange(0.05, 1.0, 0.05)

REQUESTS = Counter("yololine_requests", "Requests answered, by route and status", ["route", "code"])
LATENCY = Histogram(
    "yololine_stage_seconds",
    "Seconds of a picture in each stage; of a request in total",
    ["stage"],
    buckets=_SECONDS,
)
QUEUE = Gauge("yololine_queue_pictures", "Pictures that wait for an inference")
IN_FLIGHT = Gauge("yololine_requests_in_flight", "Requests being read, waiting or worked on")
BATCH = Histogram(
    "yololine_batch_pictures", "Pictures in one inference", buckets=(1, 2, 4, 8, 16, 32, 64)
)
DETECTIONS = Counter("yololine_detections", "Detections answered, by class", ["class_name"])
SCORES = Histogram(
    "yololine_detection_score",
    "Scores of the detections answered, by class: a shift of them is a sign of drift",
    ["class_name"],
    buckets=tuple(round(float(edge), 2) for edge in (*_SCORE_EDGES, 1.0)),
)
PICTURES = Counter("yololine_pictures", "Pictures answered, with and without detections", ["found"])
MODEL = Gauge(
    "yololine_model_info",
    "The model that is served",
    ["name", "version", "engine", "device", "precision"],
)
READY = Gauge("yololine_ready", "1 while it is ready, 0 before and while it drains")

_stages = {stage: LATENCY.labels(stage) for stage in STAGES}


def stage(name: str, seconds: float) -> None:
    """Note one stage of one picture, or the total of a request."""
    _stages[name].observe(seconds)


def watch_queue(length: Callable[[], int]) -> None:
    """Read the queue's length whenever it is asked for."""
    QUEUE.set_function(length)


class DetectionMetrics:
    """Counts what is answered, class by class, with nothing looked up for each detection."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        self._counters = [DETECTIONS.labels(name) for name in class_names]
        self._scores = [SCORES.labels(name) for name in class_names]
        self._found = {found: PICTURES.labels("yes" if found else "no") for found in (True, False)}

    def count(self, class_ids: np.ndarray, scores: np.ndarray) -> None:
        """Note one picture's detections: class ids (n,) and scores (n,)."""
        self._found[len(scores) > 0].inc()
        for class_id, score in zip(class_ids.tolist(), scores.tolist(), strict=True):
            self._counters[class_id].inc()
            self._scores[class_id].observe(score)
