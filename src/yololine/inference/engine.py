"""What runs a detector: one interface, and the choice of the fastest engine of a machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from yololine.errors import UsageError
from yololine.inference.layout import Layout
from yololine.inference.precision import Precision


class Engine(Protocol):
    """A detector that is loaded and ready to run.

    Attributes:
        name: `openvino` or `onnxruntime`.
        version: Of that package.
        device: `CPU`, `CUDA` or `TensorRT`.
        precision: `bf16` takes half the time of `f32` on a processor that has it, and gives scores
            that differ by a hundredth or two.
        layout: Of the output: `raw` (n, 4 + classes, anchors) or `end2end` (n, detections, 6).
        image_size: Side of the square input, pixels.
        any_shape: Whether `run` takes rectangles too, whose sides are multiples of 32 pixels, and
            not only the square.
        streams: How many calls of `run` at once are worth it.
        max_batch: How many pictures in one call are worth it.
    """

    name: str
    version: str
    device: str
    precision: Precision
    layout: Layout
    image_size: int
    any_shape: bool
    streams: int
    max_batch: int

    def run(self, batch: np.ndarray) -> np.ndarray:
        """The raw output for a batch (n, 3, h, w) float32 in 0..1.

        Any number of threads may call it at once. What a picture gives does not depend on the
        others of its batch.
        """
        ...


Loader = Callable[..., Engine]


def load_engine(
    model: Path,
    *,
    image_size: int,
    class_count: int,
    engine: str = "auto",
    streams: int | None = None,
    precision: Literal["auto", "f32", "bf16"] = "f32",
) -> Engine:
    """Load a model, and learn its output's layout by running it once.

    Args:
        model: The `.onnx` file.
        image_size: Side of the square input, pixels.
        class_count: Classes of the detector.
        engine: `openvino`, `onnxruntime`, or `auto`: ONNX Runtime where it drives an NVIDIA
            device, else OpenVINO, else ONNX Runtime.
        streams: How many calls at once share the cores; by default as many as there are cores,
            which gives the most pictures a second. 1 gives the single picture all of them.
        precision: `f32` is the exact one. `bf16` or `auto` is bf16 where engine and processor have
            it, f32 elsewhere. Evaluation takes `auto` and the predictor what evaluation took, so
            that what is gated is what answers.

    Raises:
        UsageError: There is no such engine, or it is not installed.
        EvaluationError: The file is no ONNX model, or its input or output has another shape.
    """
    installed = [name for name in _LOADERS if importlib.util.find_spec(name)]
    if engine not in {"auto", *installed}:
        raise UsageError(
            f"engine {engine!r}",
            rule="is not installed" if engine in _LOADERS else "is none of yololine's",
            remedy=f"use one of: {', '.join(['auto', *installed])}",
        )
    if not installed:
        raise UsageError("engine 'auto'", rule="finds none", remedy="pip install 'yololine[serve]'")
    arguments: dict[str, Any] = {
        "image_size": image_size,
        "class_count": class_count,
        "streams": streams,
        "half": precision != "f32",
    }
    if engine != "auto":
        return _LOADERS[engine](model, **arguments)
    if "onnxruntime" in installed and _nvidia():
        loaded = _onnxruntime(model, **arguments)
        if loaded.device != "CPU":
            return loaded
    return _LOADERS[installed[0]](model, **arguments)


def _nvidia() -> bool:
    """Whether a driver's device is there; asking ONNX Runtime instead means loading it."""
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/dxg"))


def _openvino(model: Path, **arguments: Any) -> Engine:
    from yololine.inference.openvino_engine import OpenvinoEngine

    return OpenvinoEngine(model, **arguments)


def _onnxruntime(model: Path, *, half: bool, **arguments: Any) -> Engine:  # noqa: ARG001 (f32 only)
    from yololine.inference.onnxruntime_engine import OnnxruntimeEngine

    return OnnxruntimeEngine(model, **arguments)


_LOADERS: dict[str, Loader] = {"openvino": _openvino, "onnxruntime": _onnxruntime}
"""By the name of the package that is asked for; the faster one on processors first."""
