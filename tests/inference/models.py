"""ONNX models that say what a test wants, whatever picture they are shown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def constant_model(
    output: np.ndarray, file: Path, *, input_shape: tuple[int | str, ...] = ("n", 3, "h", "w")
) -> Path:
    """A model that gives `output`, (1, ...), for each picture of its batch."""
    dimensions: list[int | str] = ["n", *output.shape[1:]]
    given = helper.make_tensor_value_info("images", TensorProto.FLOAT, input_shape)
    made = helper.make_tensor_value_info("output0", TensorProto.FLOAT, dimensions)
    zero = numpy_helper.from_array(np.zeros(1, np.float32), "zero")
    axes = numpy_helper.from_array(np.array([1, 2, 3]), "axes")
    flat = numpy_helper.from_array(np.array([-1, *[1] * (output.ndim - 1)]), "flat")
    graph = helper.make_graph(
        [
            # (n, 3, h, w) -> n zeros -> n outputs
            helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Mul", ["mean", "zero"], ["zeros"]),
            helper.make_node("Reshape", ["zeros", "flat"], ["column"]),
            helper.make_node("Add", ["column", "constant"], ["output0"]),
        ],
        "constant",
        [given],
        [made],
        [numpy_helper.from_array(output.astype(np.float32), "constant"), zero, axes, flat],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), file)
    return file
