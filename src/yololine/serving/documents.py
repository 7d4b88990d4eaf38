"""JSON bodies."""

from __future__ import annotations

from typing import Any

import orjson

from yololine.serving.refusals import BadRequest

_STARTS = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG": "image/png",
    b"RIFF": "image/webp",
    b"BM": "image/bmp",
    b"II*": "image/tiff",
    b"MM\0*": "image/tiff",
}


def read_object(body: bytes | memoryview) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BadRequest: It is none.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        start = bytes(body[:4])
        for magic, content_type in _STARTS.items():
            if start.startswith(magic):
                raise BadRequest(
                    f"body: is a picture, not JSON; send it with Content-Type: {content_type}"
                ) from None
        raise BadRequest(f"body: is no JSON ({error}); mend it") from None
    if not isinstance(value, dict):
        raise BadRequest("body: is JSON, but no object; write {...}")
    return value


def dump(value: object) -> bytes:
    """JSON of plain values and of numpy arrays."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)
