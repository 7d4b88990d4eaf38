"""Registered versions to serve: what they find follows from the picture; nothing was trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from yololine.evaluation.golden import SHOWN_SCORE, Golden, GoldenImage
from yololine.inference.decoding import probe
from yololine.inference.detector import IOU_THRESHOLD, Detector
from yololine.inference.engine import load_engine
from yololine.registry.versions import Version, register
from yololine.storage.local import LocalStore

NAME = "steel"
CLASS_NAMES = ("scratch", "pit: deep")
IMAGE_SIZE = 64
KEY = "0123456789abcdef" * 4
ANCHORS = 8


def bright_model(file: Path, *, most: float = 0.95, matrices: int = 0, side: int = 1024) -> Path:
    """A model that scores a scratch as high as the picture is bright, and a pit at 0.3.

    In a picture brighter than `most` it finds what is no number. The scratch lies at
    (8, 8, 24, 24) of the model's input, the pit at (32, 32, 56, 40).

    Args:
        file: Where it is written.
        most: Brightness that it bears; 1 is white.
        matrices: Multiplications of square matrices that only cost time.
        side: Of those matrices.
    """
    constant = np.zeros((1, 4 + len(CLASS_NAMES), ANCHORS), np.float32)
    constant[0, :4, 0] = 16, 16, 16, 16
    constant[0, :4, 1] = 44, 36, 24, 8
    constant[0, 5, 1] = 0.3
    constant[0, 2:4, 2:] = 1
    bright = np.zeros_like(constant)
    bright[0, 4, 0] = 1
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["mean"], axes=[1, 2, 3], keepdims=0),
        # The square root of what is below 0 is no number.
        helper.make_node("Sub", ["most", "mean"], ["spare"]),
        helper.make_node("Sqrt", ["spare"], ["root"]),
        helper.make_node("Mul", ["root", "zero"], ["none"]),
        helper.make_node("Add", ["mean", "none"], ["checked"]),
        helper.make_node("Reshape", ["checked", "column"], ["means"]),
    ]
    initializers = [
        numpy_helper.from_array(np.array([-1, 1, 1]), "column"),
        numpy_helper.from_array(constant, "constant"),
        numpy_helper.from_array(bright, "bright"),
        numpy_helper.from_array(np.array([most], np.float32), "most"),
        numpy_helper.from_array(np.zeros(1, np.float32), "zero"),
    ]
    means = "means"
    if matrices:
        work = np.full((side, side), 1 / side, np.float32)
        initializers.append(numpy_helper.from_array(work, "work"))
        nodes.append(helper.make_node("Mul", ["work", "means"], ["step0"]))
        for step in range(matrices):
            nodes.append(helper.make_node("MatMul", [f"step{step}", "work"], [f"step{step + 1}"]))
        nodes += [
            helper.make_node("ReduceMean", [f"step{matrices}"], ["left"], axes=[1, 2], keepdims=1),
            helper.make_node("Mul", ["left", "zero"], ["nothing"]),
            helper.make_node("Add", ["means", "nothing"], ["later"]),
        ]
        means = "later"
    nodes += [
        helper.make_node("Mul", [means, "bright"], ["scored"]),
        helper.make_node("Add", ["scored", "constant"], ["output0"]),
    ]
    graph = helper.make_graph(
        nodes,
        "bright",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ("n", 3, "h", "w"))],
        [helper.make_tensor_value_info("output0", TensorProto.FLOAT, ("n", *constant.shape[1:]))],
        initializers,
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), file)
    return file


def register_model(store: Path, model: Path, *, key: str = KEY, name: str = NAME) -> Version:
    """Register a model in a store that is a folder."""
    metrics = model.with_name("metrics.json")
    metrics.write_text("{}")
    return register(
        LocalStore(store),
        name=name,
        key=key,
        promoted=True,
        files={"model.onnx": model, "metrics.json": metrics},
        class_names=CLASS_NAMES,
        image_size=IMAGE_SIZE,
        metrics={},
    )


def golden_of(model: Path, pictures: Mapping[str, bytes]) -> Golden:
    """A golden set of encoded pictures by their names, found by the code that evaluates."""
    engine = load_engine(model, image_size=IMAGE_SIZE, class_count=len(CLASS_NAMES))
    detector = Detector(engine, CLASS_NAMES)
    images = []
    for name, data in pictures.items():
        header = probe(data)
        (found,) = detector.detect([detector.prepare(data)], min_score=SHOWN_SCORE)
        images.append(
            GoldenImage(
                file_name=name,
                image_bytes=data,
                width=header.width,
                height=header.height,
                detections=found,
            )
        )
    return Golden(
        images=tuple(images),
        class_names=CLASS_NAMES,
        min_score=SHOWN_SCORE,
        iou_threshold=IOU_THRESHOLD,
    )
