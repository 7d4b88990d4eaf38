"""Tensors of the Open Inference Protocol (v2), as HTTP and gRPC share them.

https://github.com/kserve/open-inference-protocol and its binary tensor extension.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from yololine.serving.pictures import Limits
from yololine.serving.refusals import BadRequest
from yololine.serving.workers import Found, Picture

IMAGE = "image"
PIXELS = "pixels"
INPUTS = (
    {"name": IMAGE, "datatype": "BYTES", "shape": [-1]},
    {"name": PIXELS, "datatype": "UINT8", "shape": [-1, -1, -1, 3]},
)
OUTPUTS = (
    {"name": "boxes", "datatype": "FP32", "shape": [-1, 4]},
    {"name": "scores", "datatype": "FP32", "shape": [-1]},
    {"name": "class_ids", "datatype": "INT32", "shape": [-1]},
    {"name": "image_index", "datatype": "INT32", "shape": [-1]},
    {"name": "class_names", "datatype": "BYTES", "shape": [-1]},
)
OUTPUT_NAMES = tuple(str(output["name"]) for output in OUTPUTS)
_DATATYPES = {IMAGE: "BYTES", PIXELS: "UINT8"}
_RULE = "send one input, 'image' (BYTES, [n]) or 'pixels' (UINT8, [n, height, width, 3])"


@dataclass(frozen=True, slots=True)
class Tensor:
    """An output, ready for both forms.

    Attributes:
        values: An array, or texts for BYTES.
    """

    name: str
    datatype: str
    shape: list[int]
    values: np.ndarray | tuple[str, ...]

    def raw(self) -> bytes:
        """Little-endian; texts each behind their length."""
        if isinstance(self.values, np.ndarray):
            return self.values.tobytes()
        parts = [text.encode() for text in self.values]
        return b"".join(struct.pack("<I", len(part)) + part for part in parts)


def check_head(name: object, datatype: object, shape: object, *, inputs: int) -> list[int]:
    """The shape of the one input a request has, if its name and type are known.

    Raises:
        BadRequest: They are not.
    """
    if inputs != 1:
        raise BadRequest(f"{inputs} inputs: {_RULE}")
    if not isinstance(name, str) or name not in _DATATYPES:
        raise BadRequest(f"input {str(name)[:80]!r}: is not known; {_RULE}")
    if datatype != _DATATYPES[name]:
        raise BadRequest(
            f"input {name!r} of type {str(datatype)[:20]!r}: must be {_DATATYPES[name]}; {_RULE}"
        )
    if not isinstance(shape, list) or not all(
        isinstance(side, int) and not isinstance(side, bool) and side >= 0 for side in shape
    ):
        raise BadRequest(f"input {name!r}: its shape must be whole numbers; {_RULE}")
    return shape


def check_image_count(shape: list[int], given: int, limits: Limits) -> None:
    """Hold the number of encoded pictures against the shape and the limit.

    Raises:
        Refusal: They do not agree, or there are too many.
    """
    if not shape or math.prod(shape) != given:
        raise BadRequest(f"input 'image' of shape {shape}: holds {given} elements; make them agree")
    limits.check_count(given)


def split_bytes(raw: bytes | memoryview, limits: Limits) -> list[bytes]:
    """The elements of a binary BYTES tensor: each behind its length, 4 bytes, little-endian.

    Raises:
        Refusal: It is cut short, or an element is too large.
    """
    elements: list[bytes] = []
    at = 0
    while at < len(raw):
        if len(elements) == limits.max_batch_images:
            limits.check_count(len(elements) + 1)
        if at + 4 > len(raw):
            raise BadRequest("input 'image': ends within an element's length; send it whole")
        (size,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + size > len(raw):
            raise BadRequest(
                f"input 'image': element {len(elements)} of {size} bytes is cut short; send each "
                "behind its length, 4 bytes, little-endian"
            )
        limits.check_bytes(size)
        elements.append(bytes(raw[at : at + size]))
        at += size
    return elements


def check_pixels(shape: list[int], limits: Limits) -> tuple[int, int, int]:
    """n, height and width of a 'pixels' tensor.

    Raises:
        Refusal: It is of another shape, or too large.
    """
    if len(shape) != 4 or shape[3] != 3 or not all(shape):
        raise BadRequest(f"input 'pixels' of shape {shape[:8]}: must be [n, height, width, 3]")
    count, height, width, _ = shape
    limits.check_count(count)
    limits.check_pixels(width, height)
    return count, height, width


def pixels_of_raw(raw: bytes | memoryview, shape: list[int], limits: Limits) -> list[Picture]:
    """Pictures of a binary 'pixels' tensor.

    Raises:
        Refusal: Its size is not that of its shape, or it is too large.
    """
    count, height, width = check_pixels(shape, limits)
    if len(raw) != math.prod(shape):
        raise BadRequest(
            f"input 'pixels' of shape {shape}: needs {math.prod(shape)} bytes, but has {len(raw)}"
        )
    return list(np.frombuffer(raw, np.uint8).reshape(count, height, width, 3))


def pixels_of_numbers(numbers: object, shape: list[int], limits: Limits) -> list[Picture]:
    """Pictures of a 'pixels' tensor written as numbers, nested or not.

    Raises:
        Refusal: They are not whole numbers from 0 to 255, or not as many as the shape says.
    """
    count, height, width = check_pixels(shape, limits)
    try:
        values = np.asarray(numbers)
    except (ValueError, OverflowError):  # lists of different lengths, integers of any size
        values = np.empty(0)
    if values.dtype.kind not in "iu" or values.size != math.prod(shape):
        raise BadRequest(
            f"input 'pixels' of shape {shape}: needs {math.prod(shape)} whole numbers from 0 to "
            "255; send them as binary data"
        )
    if values.min() < 0 or values.max() > 255:
        raise BadRequest("input 'pixels': holds numbers below 0 or above 255; send 8-bit RGB")
    return list(values.astype(np.uint8).reshape(count, height, width, 3))


def outputs(
    found: Sequence[Found], class_names: tuple[str, ...], names: Sequence[str] = OUTPUT_NAMES
) -> list[Tensor]:
    """The outputs of a request's pictures, one behind the other."""
    counts = [len(each.detections.scores) for each in found]
    total = sum(counts)
    boxes = np.concatenate([each.detections.boxes_xyxy for each in found])
    scores = np.concatenate([each.detections.scores for each in found])
    class_ids = np.concatenate([each.detections.class_ids for each in found])
    index = np.repeat(np.arange(len(found), dtype=np.int32), counts)
    made = {
        "boxes": Tensor("boxes", "FP32", [total, 4], _plain(boxes, np.float32)),
        "scores": Tensor("scores", "FP32", [total], _plain(scores, np.float32)),
        "class_ids": Tensor("class_ids", "INT32", [total], _plain(class_ids, np.int32)),
        "image_index": Tensor("image_index", "INT32", [total], index),
        "class_names": Tensor("class_names", "BYTES", [len(class_names)], class_names),
    }
    return [made[name] for name in names]


def check_output_name(name: object) -> str:
    """The name of an output a request asks for.

    Raises:
        BadRequest: There is none of this name.
    """
    if not isinstance(name, str) or name not in OUTPUT_NAMES:
        raise BadRequest(f"output {str(name)[:80]!r}: is not known; use {', '.join(OUTPUT_NAMES)}")
    return name


def _plain(values: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    return np.ascontiguousarray(values, dtype)
