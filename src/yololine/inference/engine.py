"""ONNX Runtime as an engine: float32 batches in, raw outputs out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

# Official builds report usage to their maker unless told otherwise before they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

from yololine import resources
from yololine.errors import EvaluationError

MAX_END2END = 300
"""Detections an NMS-free export gives, whatever the picture."""


class OnnxEngine:
    """A detector in ONNX Runtime on the processor.

    Attributes:
        layout: `raw` (n, 4 + classes, anchors) or `end2end` (n, detections, 6).
    """

    def __init__(self, model: Path, *, image_size: int, class_count: int) -> None:
        """Load a model and learn its output's layout by running it once.

        Args:
            model: The `.onnx` file.
            image_size: Side of the square input, pixels.
            class_count: Classes of the detector.

        Raises:
            EvaluationError: The file is no ONNX model, or its input or output has another shape.
        """
        options = onnxruntime.SessionOptions()
        # Its own default counts the host's cores, whatever the container may use.
        options.intra_op_num_threads = resources.cores()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                str(model), options, providers=["CPUExecutionProvider"]
            )
            self._input = self._session.get_inputs()[0].name
            probe = self.run(np.zeros((1, 3, image_size, image_size), np.float32))
        except Exception as error:  # onnxruntime's exceptions share no public base
            words = " ".join(str(error).split())[:200]
            raise EvaluationError(
                model.name,
                rule=f"is no model that ONNX Runtime runs on a (1, 3, {image_size}, {image_size}) "
                f"batch ({words})",
                remedy="export it again",
            ) from error
        self.layout = _layout(probe.shape, class_count)

    def run(self, batch: np.ndarray) -> np.ndarray:
        """The output for a batch (n, 3, s, s) float32 in 0..1."""
        (output, *_) = self._session.run(None, {self._input: batch})
        return np.asarray(output)


def _layout(shape: tuple[int, ...], class_count: int) -> str:
    if len(shape) == 3 and shape[1] == 4 + class_count and shape[2] != 6:
        return "raw"
    if len(shape) == 3 and shape[2] == 6 and shape[1] <= MAX_END2END:
        return "end2end"
    raise EvaluationError(
        f"output {shape}",
        rule=f"is neither (n, {4 + class_count}, anchors) nor (n, detections, 6)",
        remedy="export a detection model for these classes",
    )
