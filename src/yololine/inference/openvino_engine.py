"""OpenVINO as an engine, on the processor."""

from __future__ import annotations

import functools
import importlib
import queue
import sys
from pathlib import Path
from typing import Any

import numpy as np

from yololine import resources
from yololine.inference.layout import in_steps, layout_of, not_runnable
from yololine.inference.precision import Precision


class OpenvinoEngine:
    """A detector in OpenVINO: one picture per core at once, each on one core.

    On processors pictures in a batch gain nothing over pictures side by side.
    """

    name = "openvino"
    device = "CPU"
    max_batch = 1

    def __init__(
        self,
        model: Path,
        *,
        image_size: int,
        class_count: int,
        streams: int | None = None,
        half: bool = False,
    ) -> None:
        """Load a model; the arguments and errors are `load_engine`'s; half asks for bf16."""
        self.version = str(_openvino().__version__).split("-")[0]
        self.image_size = image_size
        self.streams = streams or resources.cores()
        try:
            core = _core()
            # The processor's own: to imitate it would be slow.
            has_half = "BF16" in core.get_property(self.device, "OPTIMIZATION_CAPABILITIES")
            self.precision: Precision = "bf16" if half and has_half else "f32"
            graph = core.read_model(model)
            given = graph.input(0).partial_shape
            self.any_shape = bool(given[2].is_dynamic and given[3].is_dynamic)
            side = -1 if self.any_shape else image_size
            # Only what varies: another size would run, and be wrong where the graph counts on its.
            fixed = zip(given, (1, 3, side, side), strict=True)
            graph.reshape([wanted if own.is_dynamic else own for own, wanted in fixed])
            compiled = core.compile_model(
                graph,
                self.device,
                {
                    # By default it would be whatever the processor has, and nobody would know.
                    "INFERENCE_PRECISION_HINT": self.precision,
                    "NUM_STREAMS": str(self.streams),
                    "INFERENCE_NUM_THREADS": str(max(self.streams, resources.cores())),
                    # Two containers on one host would be pinned to the same cores.
                    "ENABLE_CPU_PINNING": "NO",
                },
            )
            self._requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
            for _ in range(self.streams):
                self._requests.put(compiled.create_infer_request())
            shape = self.run(np.zeros((1, 3, image_size, image_size), np.float32)).shape
        except Exception as error:  # of OpenVINO's exceptions all are plain RuntimeErrors
            raise not_runnable(model, "OpenVINO", image_size, error) from error
        self.layout = layout_of(shape, class_count)

    def run(self, batch: np.ndarray) -> np.ndarray:
        """The raw output for a batch (n, 3, h, w) float32 in 0..1; as many at once as `streams`."""
        return in_steps(batch, self.max_batch, self._run_one)

    def _run_one(self, batch: np.ndarray) -> np.ndarray:
        request = self._requests.get()
        try:
            request.infer([batch], share_inputs=True, share_outputs=True)
            # The request's own memory is the next picture's.
            return np.array(request.get_output_tensor(0).data)
        finally:
            self._requests.put(request)


@functools.cache
def _core() -> Any:
    """OpenVINO's entry, one for the process.

    Each gives its thread a stack for signals. Where one ends after another has begun, the older
    stack is put back, though it may be gone: the next signal then ends the process.
    """
    return _openvino().Core()


def _openvino() -> Any:
    """The package without its model converter, whose import is reported to its maker.

    openvino goes without it where it cannot be imported.
    """
    converter = "openvino.tools.ovc"
    if "openvino" not in sys.modules and converter not in sys.modules:
        sys.modules[converter] = None  # type: ignore[assignment]
        try:
            return importlib.import_module("openvino")
        finally:
            del sys.modules[converter]
    return importlib.import_module("openvino")
