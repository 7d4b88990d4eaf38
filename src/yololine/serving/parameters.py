"""What a request says about its answer: thresholds and a deadline."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import orjson

from yololine.serving.refusals import BadRequest

NAMES = ("min_score", "iou_threshold", "max_detections", "class_min_scores", "deadline_seconds")
_OF_THE_PROTOCOL = frozenset(
    # https://github.com/kserve/open-inference-protocol and Triton's extensions of it: clients send
    # these unasked.
    {
        "binary_data_output",
        "content_type",
        "headers",
        "priority",
        "sequence_end",
        "sequence_id",
        "sequence_start",
        "timeout",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What is a detection.

    Attributes:
        min_score: 0..1, for classes without their own.
        class_min_scores: (classes,) float32 where the request names some, else None.
        iou_threshold: 0..1, overlap above which the weaker of two boxes of a class is dropped.
        max_detections: For each picture.
    """

    min_score: float
    class_min_scores: np.ndarray | None = None
    iou_threshold: float
    max_detections: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """A request's wishes."""

    thresholds: Thresholds
    deadline_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads parameters for one model."""

    defaults: Thresholds
    deadline_seconds: float
    """At most, and where a request says none."""
    class_names: tuple[str, ...]

    def read(self, given: Mapping[str, object]) -> Parameters:
        """Parameters from JSON, a query or a v2 request; numbers may come as text.

        Raises:
            BadRequest: A name is unknown, or a value out of its range.
        """
        if not given:
            return Parameters(thresholds=self.defaults, deadline_seconds=self.deadline_seconds)
        for name in given:
            if name not in NAMES and name not in _OF_THE_PROTOCOL:
                raise BadRequest(f"parameter {_short(name)}: is not known; use {', '.join(NAMES)}")
        defaults = self.defaults
        min_score = _number(given, "min_score", defaults.min_score, 0, 1)
        count = _number(given, "max_detections", defaults.max_detections, 1, 300)
        if count != int(count):
            raise BadRequest(f"max_detections={count}: must be a whole number; use {int(count)}")
        deadline = _number(given, "deadline_seconds", self.deadline_seconds, 0.001, math.inf)
        return Parameters(
            thresholds=Thresholds(
                min_score=min_score,
                class_min_scores=self._class_min_scores(given.get("class_min_scores"), min_score),
                iou_threshold=_number(given, "iou_threshold", defaults.iou_threshold, 0, 1),
                max_detections=int(count),
            ),
            deadline_seconds=min(deadline, self.deadline_seconds),
        )

    def _class_min_scores(self, given: object, min_score: float) -> np.ndarray | None:
        if isinstance(given, str):
            try:
                given = orjson.loads(given)
            except orjson.JSONDecodeError:
                raise BadRequest(
                    f"class_min_scores={_short(given)}: is no JSON; write for instance "
                    f'{{"{self.class_names[0]}": 0.4}}'
                ) from None
        if not given and (given is None or isinstance(given, dict)):
            return None
        if not isinstance(given, dict):
            raise BadRequest(
                f"class_min_scores={_short(given)}: must map class names to scores; write for "
                f'instance {{"{self.class_names[0]}": 0.4}}'
            )
        scores = np.full(len(self.class_names), min_score, np.float32)
        for name in given:
            if name not in self.class_names:
                raise BadRequest(
                    f"class_min_scores: {_short(name)} is no class of this model; use "
                    f"{', '.join(self.class_names[:20])}"
                )
            scores[self.class_names.index(name)] = _number(given, name, 0, 0, 1)
        return scores


def check_of_tensor(given: Iterable[str]) -> None:
    """Refuse a tensor's parameters that would have no effect there.

    Raises:
        BadRequest: One is of the request as a whole.
    """
    for name in given:
        if name in NAMES:
            raise BadRequest(f"parameter {name!r} of a tensor: is the request's; move it there")


def class_min_scores_of_query(texts: list[str]) -> dict[str, object]:
    """`scratch:0.4`, each once or more; the last colon counts, for a name may hold some."""
    scores: dict[str, object] = {}
    for text in texts:
        name, colon, score = text.rpartition(":")
        if not colon:
            raise BadRequest(
                f"class_min_scores={_short(text)}: must be a class and its score; write for "
                "instance class_min_scores=scratch:0.4, once for each class"
            )
        scores[name] = score
    return scores


def _number(
    given: Mapping[str, object], name: str, default: float, at_least: float, at_most: float
) -> float:
    value = given.get(name)
    if value is None:
        return default
    number = math.nan
    if isinstance(value, str):
        with suppress(ValueError):
            number = float(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:  # an integer of hundreds of digits
            number = math.inf
    if not at_least <= number <= at_most or math.isinf(number):
        ranged = f"from {at_least} to {at_most}"
        limits = ranged if at_most < math.inf else f"of at least {at_least}"
        raise BadRequest(f"{name}={_short(value)}: must be a number {limits}; change it")
    return number


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
