"""The Open Inference Protocol (v2) over HTTP: JSON, and JSON with binary tensors behind it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from yololine.serving import tensors
from yololine.serving.documents import dump, read_object
from yololine.serving.parameters import check_of_tensor
from yololine.serving.pictures import Limits
from yololine.serving.refusals import BadRequest
from yololine.serving.workers import Found, Picture

JSON_LENGTH_HEADER = b"inference-header-content-length"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An inference request.

    Attributes:
        outputs: Names of those wanted, and whether as binary data.
    """

    id: str
    pictures: list[Picture]
    parameters: dict[str, Any]
    outputs: dict[str, bool] = field(default_factory=dict)


def read(body: bytes, json_length: int | None, limits: Limits) -> Request:
    """A request's body.

    Args:
        body: JSON, and binary tensors behind it.
        json_length: Bytes of the JSON; None where that is all.
        limits: Of its pictures.

    Raises:
        Refusal: It breaks a rule.
    """
    if json_length is not None and not 0 < json_length <= len(body):
        raise BadRequest(
            f"Inference-Header-Content-Length of {json_length}: must be from 1 to the body's "
            f"{len(body)} bytes"
        )
    view = memoryview(body)
    document = read_object(view[:json_length])
    parameters = _parameters(document, "request")
    request_id = document.get("id") or ""
    if not isinstance(request_id, str):
        raise BadRequest("id: must be text")
    inputs = document.get("inputs")
    if not isinstance(inputs, list) or not all(isinstance(each, dict) for each in inputs):
        raise BadRequest('inputs: must be a list of objects; write {"inputs": [{...}]}')
    (given, *_) = inputs or [{}]
    shape = tensors.check_head(
        given.get("name"), given.get("datatype"), given.get("shape"), inputs=len(inputs)
    )
    pictures = _pictures(given, shape, b"" if json_length is None else view[json_length:], limits)
    all_binary = parameters.get("binary_data_output") is True
    return Request(
        id=request_id,
        pictures=pictures,
        parameters=parameters,
        outputs=_outputs(document.get("outputs"), all_binary),
    )


def answer(
    request: Request,
    found: Sequence[Found],
    *,
    name: str,
    version: str,
    class_names: tuple[str, ...],
) -> tuple[bytes, int | None]:
    """An answer's body, and the bytes of JSON in it where binary tensors follow."""
    described: list[dict[str, Any]] = []
    behind: list[bytes] = []
    for tensor in tensors.outputs(found, class_names, tuple(request.outputs)):
        values = tensor.values
        output: dict[str, Any] = {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": tensor.shape,
        }
        if request.outputs[tensor.name]:
            raw = tensor.raw()
            output["parameters"] = {"binary_data_size": len(raw)}
            behind.append(raw)
        else:
            # Row-major and flat, as the protocol prefers it.
            output["data"] = values.ravel() if isinstance(values, np.ndarray) else values
        described.append(output)
    document = {"model_name": name, "model_version": version, "outputs": described}
    if request.id:
        document["id"] = request.id
    head = dump(document)
    return (b"".join([head, *behind]), len(head)) if behind else (head, None)


def _pictures(
    given: dict[str, Any], shape: list[int], behind: bytes | memoryview, limits: Limits
) -> list[Picture]:
    parameters = _parameters(given, "input")
    check_of_tensor(parameters)
    size = parameters.get("binary_data_size")
    if size is not None:
        if "data" in given:
            raise BadRequest("input: has both data and binary_data_size; leave one")
        if not isinstance(size, int) or isinstance(size, bool) or size != len(behind):
            raise BadRequest(
                f"binary_data_size={str(size)[:30]}: must be the {len(behind)} bytes that follow "
                "the JSON"
            )
        if given["name"] == tensors.PIXELS:
            return tensors.pixels_of_raw(behind, shape, limits)
        elements: list[Picture] = list(tensors.split_bytes(behind, limits))
        tensors.check_image_count(shape, len(elements), limits)
        return elements
    if len(behind):
        raise BadRequest(f"{len(behind)} bytes behind the JSON: belong to no input")
    data = given.get("data")
    if not isinstance(data, list):
        raise BadRequest("input: has neither data nor binary_data_size; add one")
    if given["name"] == tensors.PIXELS:
        return tensors.pixels_of_numbers(data, shape, limits)
    texts = _flat(data)
    tensors.check_image_count(shape, len(texts), limits)
    return [limits.from_base64(text, f"data[{place}]") for place, text in enumerate(texts)]


def _flat(data: list[Any]) -> list[Any]:
    while data and all(isinstance(each, list) for each in data):
        data = [inner for each in data for inner in each]
    return data


def _outputs(given: object, all_binary: bool) -> dict[str, bool]:
    if given is None or given == []:
        return dict.fromkeys(tensors.OUTPUT_NAMES, all_binary)
    if not isinstance(given, list) or not all(isinstance(each, dict) for each in given):
        raise BadRequest('outputs: must be a list of objects; write [{"name": "boxes"}]')
    return {
        tensors.check_output_name(each.get("name")): bool(
            _parameters(each, "output").get("binary_data", all_binary)
        )
        for each in given
    }


def _parameters(of: dict[str, Any], what: str) -> dict[str, Any]:
    parameters = of.get("parameters")
    if parameters is None:
        return {}
    if not isinstance(parameters, dict):
        raise BadRequest(f"parameters of the {what}: must be an object")
    return parameters
