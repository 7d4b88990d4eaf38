"""ONNX Runtime as an engine, on the processor or on an NVIDIA device."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

# Official builds report usage to their maker unless told otherwise before they are loaded.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
import onnxruntime

from yololine import resources
from yololine.inference.layout import in_steps, layout_of, not_runnable
from yololine.inference.precision import Precision
from yololine.inference.preprocess import STRIDE_PIXELS

LOG = logging.getLogger(__name__)
_TENSORRT, _CUDA, _CPU = (
    "TensorrtExecutionProvider",
    "CUDAExecutionProvider",
    "CPUExecutionProvider",
)
_DEVICES = {_TENSORRT: "TensorRT", _CUDA: "CUDA", _CPU: "CPU"}
"""Fastest first."""
_DEVICE_BATCH = 16
_DEVICE_STREAMS = 2
"""One picture is copied while another is worked on."""


class OnnxruntimeEngine:
    """A detector in ONNX Runtime, by TensorRT or CUDA where they are there and start."""

    name = "onnxruntime"
    precision: Precision = "f32"
    version = str(onnxruntime.__version__)

    def __init__(
        self, model: Path, *, image_size: int, class_count: int, streams: int | None = None
    ) -> None:
        """Load a model; the arguments and errors are `load_engine`'s."""
        self.image_size = image_size
        try:
            self._session = _device_session(model, image_size) or _cpu_session(model, streams)
            self.device = _DEVICES[self._session.get_providers()[0]]
            on_cpu = self.device == "CPU"
            self.streams = streams or (resources.cores() if on_cpu else _DEVICE_STREAMS)
            given = self._session.get_inputs()[0]
            self._input = given.name
            # A side that varies has a name, and no number.
            batch, _, *sides = given.shape
            self.any_shape = all(not isinstance(side, int) for side in sides)
            self.max_batch = 1 if on_cpu or isinstance(batch, int) else _DEVICE_BATCH
            shape = self.run(np.zeros((1, 3, image_size, image_size), np.float32)).shape
        except Exception as error:  # onnxruntime's exceptions share no public base
            raise not_runnable(model, "ONNX Runtime", image_size, error) from error
        self.layout = layout_of(shape, class_count)

    def run(self, batch: np.ndarray) -> np.ndarray:
        """The raw output for a batch (n, 3, h, w) float32 in 0..1; as many at once as `streams`."""
        return in_steps(batch, self.max_batch, self._run_some)

    def _run_some(self, batch: np.ndarray) -> np.ndarray:
        (output, *_) = self._session.run(None, {self._input: batch})
        return np.asarray(output)


def _cpu_session(model: Path, streams: int | None) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Its own default counts the host's cores, whatever the container may use.
    options.intra_op_num_threads = max(1, resources.cores() // (streams or resources.cores()))
    return onnxruntime.InferenceSession(str(model), options, providers=[_CPU])


def _device_session(model: Path, image_size: int) -> Any:
    """A session on the fastest NVIDIA provider that starts; None where none does."""
    there = [name for name in onnxruntime.get_available_providers() if name in {_TENSORRT, _CUDA}]
    if not there:
        return None
    # TensorRT has no option of its own against 10 bits of mantissa; read when CUDA is loaded.
    os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    given = _cpu_session(model, None).get_inputs()[0]
    settings: dict[str, dict[str, str]] = {_TENSORRT: {}, _CUDA: {"use_tf32": "0"}}
    if all(not isinstance(side, int) for side in (given.shape[0], *given.shape[2:])):
        # One plan for every shape. Without it, TensorRT makes one when it meets a shape: minutes.
        settings[_TENSORRT] = {
            "trt_profile_min_shapes": f"{given.name}:1x3x{STRIDE_PIXELS}x{STRIDE_PIXELS}",
            "trt_profile_opt_shapes": f"{given.name}:1x3x{image_size}x{image_size}",
            "trt_profile_max_shapes": f"{given.name}:{_DEVICE_BATCH}x3x{image_size}x{image_size}",
        }
    for provider in (_TENSORRT, _CUDA):
        if provider not in there:
            continue
        wanted = [(name, settings[name]) for name in (_TENSORRT, _CUDA) if name in there]
        session = _started(model, options, wanted[-1:] if provider == _CUDA else wanted)
        # It goes on without a provider whose libraries or device are not there.
        if session and session.get_providers()[0] == provider:
            return session
    return None


def _started(model: Path, options: Any, wanted: list[tuple[str, dict[str, str]]]) -> Any:
    try:
        return onnxruntime.InferenceSession(
            str(model), options, providers=[*wanted, _CPU], enable_fallback=False
        )
    except Exception as error:  # noqa: BLE001  # onnxruntime's exceptions share no public base
        LOG.warning("onnxruntime does not start %s: %s", wanted[0][0], error)
        return None
