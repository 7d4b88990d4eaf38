"""KServe's v1 protocol: instances in, predictions out; or one bare picture in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from yololine.serving.documents import dump, read_object
from yololine.serving.parameters import class_min_scores_of_query
from yololine.serving.pictures import Limits
from yololine.serving.refusals import BadRequest
from yololine.serving.workers import Found

_EXAMPLE = '{"instances": [{"image": {"b64": "..."}}]}'


def read_json(body: bytes, limits: Limits) -> tuple[list[bytes], dict[str, Any]]:
    """Pictures and parameters of a JSON body.

    Raises:
        Refusal: It breaks a rule.
    """
    document = read_object(body)
    for key in document:
        if key not in ("instances", "parameters"):
            raise BadRequest(f"key {key[:80]!r}: is not known; write {_EXAMPLE}")
    instances = document.get("instances")
    if not isinstance(instances, list):
        raise BadRequest(f"instances: must be a list; write {_EXAMPLE}")
    limits.check_count(len(instances))
    parameters = document.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise BadRequest('parameters: must be an object; write {"min_score": 0.25}')
    pictures = []
    for place, instance in enumerate(instances):
        where = f"instances[{place}].image.b64"
        image = instance.get("image") if isinstance(instance, dict) else None
        if not isinstance(image, dict) or "b64" not in image:
            raise BadRequest(f"{where}: is missing; write {_EXAMPLE}")
        pictures.append(limits.from_base64(image["b64"], where))
    return pictures, parameters


def read_query(query: bytes) -> dict[str, object]:
    """Parameters of a URL, ?min_score=0.3&class_min_scores=scratch:0.4.

    Raises:
        BadRequest: It cannot be read, or names something twice.
    """
    if not query:
        return {}
    try:
        given = parse_qs(
            query.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            errors="strict",
            max_num_fields=200,
        )
    except (ValueError, UnicodeDecodeError):
        raise BadRequest("query: cannot be read; write ?min_score=0.3&max_detections=100") from None
    parameters: dict[str, object] = {}
    for name, values in given.items():
        if name == "class_min_scores":
            parameters[name] = class_min_scores_of_query(values)
        elif len(values) > 1:
            raise BadRequest(f"query: {name[:80]} stands there {len(values)} times; leave one")
        else:
            parameters[name] = values[0]
    return parameters


def answer(name: str, version: str, class_names: tuple[str, ...], found: Sequence[Found]) -> bytes:
    """The JSON of an answer."""
    predictions = [
        {
            "boxes_xyxy": each.detections.boxes_xyxy,
            "scores": each.detections.scores,
            "class_ids": each.detections.class_ids,
            "class_names": [class_names[i] for i in each.detections.class_ids.tolist()],
            "width": each.width,
            "height": each.height,
        }
        for each in found
    ]
    return dump({"predictions": predictions, "model_name": name, "model_version": version})
