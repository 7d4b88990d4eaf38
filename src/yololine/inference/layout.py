"""How a detector's output is laid out, learnt by running it once."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np

from yololine.errors import EvaluationError

MAX_END2END = 300
"""Detections an NMS-free export gives, whatever the picture."""
Layout = Literal["raw", "end2end"]
Run = Callable[[np.ndarray], np.ndarray]


def layout_of(shape: tuple[int, ...], class_count: int) -> Layout:
    """`raw` for an output (n, 4 + classes, anchors), `end2end` for (n, detections, 6).

    Raises:
        EvaluationError: It is neither.
    """
    # No input has six anchors: six columns are a detection each row, also with two classes.
    if len(shape) == 3 and shape[1] == 4 + class_count and shape[2] != 6:
        return "raw"
    if len(shape) == 3 and shape[2] == 6 and shape[1] <= MAX_END2END:
        return "end2end"
    raise EvaluationError(
        f"output {shape}",
        rule=f"is neither (n, {4 + class_count}, anchors) nor (n, detections, 6)",
        remedy="export a detection model for these classes",
    )


def not_runnable(model: Path, runtime: str, image_size: int, error: Exception) -> EvaluationError:
    """The refusal of a model in which the runtime found a fault."""
    # OpenVINO puts the lines of its own source in front.
    said = str(error).replace(str(model), model.name)
    words = " ".join(re.sub(r"Exception from \S+:\d+:|\bat src/\S+", "", said).split())[:200]
    return EvaluationError(
        model.name,
        rule=f"is no model that {runtime} runs on a (1, 3, {image_size}, {image_size}) batch "
        f"({words})",
        remedy="export it again",
    )


def in_steps(batch: np.ndarray, at_most: int, run: Run) -> np.ndarray:
    """The outputs for a batch, of which `run` takes `at_most` pictures at once."""
    if len(batch) <= at_most:
        return run(batch)
    steps = range(0, len(batch), at_most)
    return np.concatenate([run(batch[start : start + at_most]) for start in steps])
