"""Requests that nobody means: bad ones of every kind, made from a seed."""

from __future__ import annotations

import base64
import json
import random
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.serving.models import NAME

_WORDS = ["", "a", "image", "pixels", "BYTES", "UINT8", "nan", "\0", "é" * 9, "../" * 5, "x" * 300]
_NUMBERS = [0, -1, 1, 3, 2**31, 2**63, 10**40, 0.5, -0.0, 1e308, True, False, None]
_PATHS = [
    f"/v1/models/{NAME}:predict",
    f"/v2/models/{NAME}/infer",
    f"/v2/models/{NAME}",
    "/",
    "/metrics",
    "/v2/health/ready",
]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One request, as bytes of HTTP/1.1 where `raw` is there."""

    method: str = "POST"
    path: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    raw: bytes | None = None

    def bytes_of_it(self) -> bytes:
        """What goes over the wire; the connection ends behind it."""
        if self.raw is not None:
            return self.raw
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        head += f"Content-Length: {len(self.body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return head.encode("latin-1", "replace") + b"\r\n" + self.body


def requests(pictures: list[bytes], *, seed: int, count: int) -> Iterator[Request]:
    """So many requests.

    Args:
        pictures: Good ones, to begin from.
        seed: Of the chance.
        count: How many.
    """
    chance = random.Random(seed)
    makers = [_picture, _v1, _v2, _v2_binary, _query, _head, _wire]
    for _ in range(count):
        yield chance.choice(makers)(chance, chance.choice(pictures))


def send(request: Request, port: int, *, timeout_seconds: float) -> int:
    """The status of the answer; 0 where the server only hung up.

    Raises:
        TimeoutError: It did neither.
    """
    told = b""
    with socket.create_connection(("127.0.0.1", port), timeout=timeout_seconds) as connection:
        try:
            connection.sendall(request.bytes_of_it())
            if request.raw is not None:
                # It may be no whole request: the server would wait for the rest.
                connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                told += chunk
        except (ConnectionError, BrokenPipeError):
            pass
    while told.startswith(b"HTTP/1.1 100 "):
        told = told.partition(b"\r\n\r\n")[2]
    return int(told[9:12]) if told.startswith(b"HTTP/1.1 ") else 0


def _damaged(chance: random.Random, data: bytes) -> bytes:
    broken = bytearray(data)
    for _ in range(chance.choice([0, 1, 3, 30])):
        if broken:
            broken[chance.randrange(len(broken))] = chance.randrange(256)
    kind = chance.randrange(5)
    if kind == 0:
        return bytes(broken[: chance.randrange(len(broken) + 1)])
    if kind == 1:
        return chance.randbytes(chance.randrange(500))
    if kind == 2:
        at = chance.randrange(len(broken) + 1)
        return bytes(broken[:at] + chance.randbytes(9) + broken[at:])
    return bytes(broken)


def _anything(chance: random.Random, depth: int = 0) -> object:
    kind = chance.randrange(6 if depth < 4 else 2)
    if kind == 0:
        return chance.choice(_NUMBERS)
    if kind == 1:
        return chance.choice(_WORDS)
    if kind == 2:
        return [_anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {
        chance.choice([*_WORDS, "instances", "inputs", "b64", "shape", "data", "name"]): _anything(
            chance, depth + 1
        )
        for _ in range(chance.randrange(4))
    }


def _changed(chance: random.Random, value: object) -> object:
    """The value with something in it replaced, or taken out."""
    if chance.random() < 0.15:
        return _anything(chance)
    if isinstance(value, dict) and value:
        changed = dict(value)
        key = chance.choice(list(changed))
        if chance.random() < 0.15:
            del changed[key]
        else:
            changed[key] = _changed(chance, changed[key])
        return changed
    if isinstance(value, list) and value:
        items = list(value)
        place = chance.randrange(len(items))
        items[place] = _changed(chance, items[place])
        return items * chance.choice([1, 1, 1, 2, 40])
    return value if chance.random() < 0.5 else _anything(chance)


def _picture(chance: random.Random, picture: bytes) -> Request:
    kind = chance.choice(["jpeg", "png", "tiff", "webp", "bmp", "x", "*"])
    headers = {"Content-Type": f"image/{kind}"}
    return Request(path=_PATHS[0], headers=headers, body=_damaged(chance, picture))


def _json(chance: random.Random, path: str, document: object) -> Request:
    body = json.dumps(_changed(chance, document)).encode()
    if chance.random() < 0.2:
        body = _damaged(chance, body)
    kinds = ["application/json", "text/plain", "application/x-www-form-urlencoded", ""]
    return Request(path=path, headers={"Content-Type": chance.choice(kinds)}, body=body)


def _b64(chance: random.Random, picture: bytes) -> str:
    return base64.b64encode(_damaged(chance, picture)).decode()


def _v1(chance: random.Random, picture: bytes) -> Request:
    parameters = {
        "min_score": 0.1,
        "iou_threshold": 0.5,
        "max_detections": 10,
        "class_min_scores": {"scratch": 0.5},
    }
    instances = [{"image": {"b64": _b64(chance, picture)}}]
    return _json(chance, _PATHS[0], {"instances": instances, "parameters": parameters})


def _v2(chance: random.Random, picture: bytes) -> Request:
    if chance.random() < 0.5:
        given = {
            "name": "image",
            "datatype": "BYTES",
            "shape": [1],
            "data": [_b64(chance, picture)],
        }
    else:
        given = {"name": "pixels", "datatype": "UINT8", "shape": [1, 2, 2, 3], "data": [7] * 12}
    outputs = [{"name": "boxes", "parameters": {"binary_data": True}}]
    document = {"id": "1", "inputs": [given], "outputs": outputs, "parameters": {"min_score": 0.1}}
    return _json(chance, _PATHS[1], document)


def _v2_binary(chance: random.Random, picture: bytes) -> Request:
    raw = len(picture).to_bytes(4, "little") + picture
    size = {"binary_data_size": len(raw)}
    given = {"name": "image", "datatype": "BYTES", "shape": [1], "parameters": size}
    document = json.dumps({"inputs": [_changed(chance, given)]}).encode()
    length = len(document) + chance.choice([0, 0, 0, 1, -1, 10**6])
    headers = {"Inference-Header-Content-Length": str(length)}
    return Request(path=_PATHS[1], headers=headers, body=document + _damaged(chance, raw))


def _query(chance: random.Random, picture: bytes) -> Request:
    alphabet = "min_score=0.5&class_min_scores=scratch:%20%ff?#;+"
    query = "".join(chance.choice(alphabet) for _ in range(chance.randrange(60)))
    path = f"{_PATHS[0]}?{query.replace(' ', '')}"
    return Request(path=path, headers={"Content-Type": "image/jpeg"}, body=picture)


def _head(chance: random.Random, picture: bytes) -> Request:
    names = ["Content-Type", "X-Request-Id", "X-Deadline-Seconds", "Content-Encoding", "Accept"]
    values = [*_WORDS, "0", "1e9", "gzip", "image/jpeg", "text/html", "-1"]
    headers = {
        chance.choice(names): chance.choice(values).replace("\0", "\x01")
        for _ in range(chance.randrange(4))
    }
    path = chance.choice([*_PATHS, "/page/../x", "//", "/%00", "/v2/models/%2f/infer"])
    method = chance.choice(["GET", "POST", "PUT", "HEAD", "OPTIONS", "DELETE", "PATCH", "BREW"])
    return Request(method=method, path=path, headers=headers, body=picture)


def _wire(chance: random.Random, picture: bytes) -> Request:
    whole = _picture(chance, picture).bytes_of_it()
    kind = chance.randrange(3)
    if kind == 0:
        raw = chance.randbytes(chance.randrange(1, 300))
    elif kind == 1:
        raw = whole[: chance.randrange(1, len(whole))]
    else:
        sizes = b"%x" % chance.choice([3, 0, 2**40])
        raw = (
            (
                f"POST {_PATHS[0]} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                "Content-Type: image/jpeg\r\n\r\n"
            ).encode()
            + sizes
            + b"\r\nabc\r\n0\r\n\r\n"
        )
    return Request(path=_PATHS[0], raw=raw)
