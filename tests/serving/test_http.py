"""What is refused over HTTP, with which status and which words; nothing is a 500."""

from __future__ import annotations

import base64
import json
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serving.models import NAME
from tests.serving.pictures import JPEG, PNG_BOMB, encoded, pixels
from tests.serving.running import Running

V1 = f"/v1/models/{NAME}:predict"
V2 = f"/v2/models/{NAME}/infer"
B64 = base64.b64encode(JPEG).decode()


@pytest.fixture(scope="module")
def client(predictor: Running) -> Iterator[httpx.Client]:
    with predictor.client() as client:
        yield client


def instances(*texts: object, **more: Any) -> dict[str, Any]:
    return {"instances": [{"image": {"b64": text}} for text in texts], **more}


def inputs(**changes: Any) -> dict[str, Any]:
    given = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [B64], **changes}
    return {"inputs": [{name: value for name, value in given.items() if value is not None}]}


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header says so, and that holds next to nothing."""
    return png(width, height, zlib.compress(bytes(100)))


def png(width: int, height: int, packed_rows: bytes, *, colour_type: int = 2) -> bytes:
    """A PNG of 8 bits a value: of RGB, or of greys with colour type 0."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = zlib.crc32(kind + data).to_bytes(4, "big")
        return len(data).to_bytes(4, "big") + kind + data + crc

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, colour_type, 0, 0, 0])
    rows = chunk(b"IDAT", packed_rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rows + chunk(b"IEND", b"")


def check(answer: httpx.Response, status: int, words: str) -> None:
    assert answer.status_code == status, answer.text
    assert words in answer.json()["error"]
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json()) == ["error"]
    for secret in ("Traceback", "/work", "/tmp", "site-packages", 'File "'):
        assert secret not in answer.text


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"", 400, "body: is no JSON"),
        (b"{", 400, "body: is no JSON"),
        (b"[]", 400, "no object"),
        (b"\xff\xfe", 400, "body: is no JSON"),
        (b"[" * 5000, 400, "body: is no JSON"),
        (JPEG, 400, "is a picture, not JSON; send it with Content-Type: image/jpeg"),
        ({}, 400, "instances: must be a list"),
        ({"instances": {}}, 400, "instances: must be a list"),
        ({"instances": []}, 400, "0 pictures"),
        ({"instances": [1]}, 400, "instances[0].image.b64: is missing"),
        ({"instances": [{"image": B64}]}, 400, "instances[0].image.b64: is missing"),
        ({"instances": [{"b64": B64}]}, 400, "instances[0].image.b64: is missing"),
        (instances(B64, 7), 400, "instances[1].image.b64: must be base64 text"),
        (instances("***"), 400, "is no base64"),
        (instances("é" * 40), 400, "is no base64"),
        (instances(B64[:-2]), 400, "is no base64"),
        (instances(B64[:40] + "\n" + B64[40:]), 400, "is no base64 without line breaks"),
        (instances(""), 400, "has 0 bytes"),
        (instances("AAAA"), 400, "no picture"),
        (instances(base64.b64encode(JPEG[:300]).decode()), 400, "picture"),
        (instances(base64.b64encode(encoded(kind="PNG")[:80]).decode()), 400, "picture"),
        (instances("A" * 200_000), 413, "at most 100000"),
        (instances(*[B64] * 5), 413, "5 pictures: at most 4"),
        (
            instances(base64.b64encode(png_claiming(100_000, 100_000)).decode()),
            413,
            "picture of 100000x100000 pixels: at most 1000000",
        ),
        (instances(base64.b64encode(png_claiming(0, 5)).decode()), 400, "picture"),
        (instances(B64, x=1), 400, "key 'x'"),
        (instances(B64, parameters=[]), 200, ""),
        (instances(B64, parameters=[1]), 400, "parameters: must be an object"),
        (instances(B64, parameters={"min_scores": 1}), 400, "parameter 'min_scores': is not known"),
        (instances(B64, parameters={"min_score": 1.5}), 400, "min_score=1.5: must be a number"),
        (instances(B64, parameters={"min_score": True}), 400, "min_score=True"),
        (instances(B64, parameters={"min_score": "nan"}), 400, "min_score='nan'"),
        (instances(B64, parameters={"iou_threshold": -1}), 400, "iou_threshold=-1"),
        (instances(B64, parameters={"max_detections": 0}), 400, "max_detections=0"),
        (instances(B64, parameters={"max_detections": 1.5}), 400, "whole number"),
        (instances(B64, parameters={"deadline_seconds": 0}), 400, "deadline_seconds=0"),
        (instances(B64, parameters={"class_min_scores": 1}), 400, "class_min_scores=1"),
        (instances(B64, parameters={"class_min_scores": "{"}), 400, "is no JSON"),
        (instances(B64, parameters={"class_min_scores": {"dent": 1}}), 400, "'dent' is no class"),
        (instances(B64, parameters={"class_min_scores": {"scratch": 2}}), 400, "scratch=2"),
    ],
)
def test_v1_json(body: Any, status: int, words: str, client: httpx.Client) -> None:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = client.post(V1, content=content, headers={"Content-Type": "application/json"})
    if status == 200:
        assert answer.status_code == 200, answer.text
    else:
        check(answer, status, words)


@pytest.mark.parametrize(
    ("picture", "query", "headers", "status", "words"),
    [
        (b"", "", {}, 400, "has 0 bytes"),
        (b"GIF89a" + bytes(100), "", {}, 400, "picture"),
        (JPEG[:400], "", {}, 400, "picture"),
        (JPEG, "?min_score", {}, 400, "query: cannot be read"),
        (JPEG, "?min_score=", {}, 400, "min_score=''"),
        (JPEG, "?min_score=%ff", {}, 400, "query: cannot be read"),
        (JPEG, "?min_score=0.1&min_score=0.2", {}, 400, "stands there 2 times"),
        (JPEG, "?class_min_scores=scratch", {}, 400, "must be a class and its score"),
        (JPEG, "?class_min_scores=scratch:high", {}, 400, "scratch='high'"),
        (JPEG, "?" + "&".join(f"a{n}=1" for n in range(300)), {}, 400, "query"),
        (JPEG, "", {"Content-Encoding": "gzip"}, 415, "content encoding 'gzip'"),
        (JPEG, "", {"Content-Type": "multipart/form-data; boundary=x"}, 415, "multipart"),
        (JPEG, "", {"X-Deadline-Seconds": "soon"}, 400, "deadline_seconds='soon'"),
        (bytes(150_000), "", {}, 413, "body: is larger than 100000 bytes"),
    ],
)
def test_v1_picture(
    picture: bytes,
    query: str,
    headers: dict[str, str],
    status: int,
    words: str,
    client: httpx.Client,
) -> None:
    answer = client.post(
        V1 + query, content=picture, headers={"Content-Type": "image/jpeg", **headers}
    )
    check(answer, status, words)


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({}, 400, "inputs: must be a list"),
        ({"inputs": []}, 400, "0 inputs"),
        ({"inputs": [1]}, 400, "inputs: must be a list of objects"),
        ({"inputs": [*inputs()["inputs"]] * 2}, 400, "2 inputs"),
        (inputs(name="picture"), 400, "input 'picture': is not known"),
        (inputs(name=["image"]), 400, "is not known"),
        (inputs(datatype="FP32"), 400, "of type 'FP32': must be BYTES"),
        (inputs(shape="1"), 400, "whole numbers"),
        (inputs(shape=[-1]), 400, "whole numbers"),
        (inputs(shape=[1.0]), 400, "whole numbers"),
        (inputs(shape=[2]), 400, "holds 1 elements"),
        (inputs(shape=[]), 400, "holds 1 elements"),
        (inputs(data=None), 400, "neither data nor binary_data_size"),
        (inputs(data=B64), 400, "neither data nor binary_data_size"),
        (inputs(data=[[[1]]]), 400, "must be base64 text"),
        (inputs(shape=[5], data=[B64] * 5), 413, "5 pictures"),
        (inputs(parameters=1), 400, "parameters of the input"),
        (inputs(parameters={"binary_data_size": 3}), 400, "both data and binary_data_size"),
        (inputs(data=None, parameters={"binary_data_size": 3}), 400, "must be the 0 bytes"),
        (inputs(parameters={"min_score": 0.5}), 400, "'min_score' of a tensor: is the request's"),
        (inputs() | {"id": 7}, 400, "id: must be text"),
        (inputs() | {"outputs": [{"name": "masks"}]}, 400, "output 'masks'"),
        (inputs() | {"outputs": [7]}, 400, "outputs: must be a list"),
        (inputs() | {"parameters": {"min_score": 7}}, 400, "min_score=7"),
        (inputs(name="pixels", datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2]), 400, "3 whole"),
        (
            inputs(name="pixels", datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, 256]),
            400,
            "below 0 or above 255",
        ),
        (
            inputs(name="pixels", datatype="UINT8", shape=[1, 1, 1, 3], data=[1, 2, 2.5]),
            400,
            "whole numbers",
        ),
        (
            inputs(name="pixels", datatype="UINT8", shape=[1, 1, 1, 3], data=[1, [2], 10**30]),
            400,
            "whole numbers",
        ),
        (
            inputs(name="pixels", datatype="UINT8", shape=[1, 10**9, 10**9, 3], data=[1]),
            413,
            "at most 1000000 pixels",
        ),
        (inputs(name="pixels", datatype="UINT8", shape=[1, 0, 5, 3], data=[]), 400, "must be [n"),
        (inputs(name="pixels", datatype="UINT8", shape=[3], data=[1, 2, 3]), 400, "must be [n"),
    ],
)
def test_v2_json(body: Any, status: int, words: str, client: httpx.Client) -> None:
    check(client.post(V2, json=body), status, words)


def binary(raw: bytes, **changes: Any) -> tuple[bytes, int]:
    document = inputs(data=None, parameters={"binary_data_size": len(raw)}, **changes)
    head = json.dumps(document).encode()
    return head + raw, len(head)


def element(data: bytes) -> bytes:
    return len(data).to_bytes(4, "little") + data


@pytest.mark.parametrize(
    ("body", "length", "status", "words"),
    [
        (binary(element(JPEG))[0], "x", 400, "Inference-Header-Content-Length"),
        (binary(element(JPEG))[0], "0", 400, "must be from 1"),
        (binary(element(JPEG))[0], "99999999", 400, "must be from 1"),
        (binary(element(JPEG))[0], "9" * 400, 400, "must be from 1"),
        (binary(element(JPEG))[0], "5", 400, "body: is no JSON"),
        (*binary(element(JPEG)[:-1]), 400, "is cut short"),
        (*binary(element(JPEG) + b"\1\2"), 400, "within an element's length"),
        (*binary(b"\xff\xff\xff\xff"), 400, "is cut short"),
        (*binary(element(JPEG) * 2), 400, "holds 2 elements"),
        (*binary(element(b"")), 400, "has 0 bytes"),
        (*binary(element(bytes(100_001))), 413, "at most 100000"),
        (*binary(element(b"x") * 9, shape=[9]), 413, "5 pictures"),
        (*binary(b"123", name="pixels", datatype="UINT8", shape=[1, 2, 2, 3]), 400, "needs 12"),
    ],
)
def test_v2_binary(
    body: bytes, length: object, status: int, words: str, client: httpx.Client
) -> None:
    headers = {
        "Content-Type": "application/octet-stream",
        "Inference-Header-Content-Length": str(length),
    }
    check(client.post(V2, content=body, headers=headers), status, words)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nowhere", 404, "/nowhere: is not here"),
        ("GET", V1, 405, "method GET: is not taken here; use POST"),
        ("PUT", V2, 405, "use POST"),
        ("POST", "/v2/health/live", 405, "use GET"),
        ("POST", "/v1/models/other:predict", 404, "the model is 'steel'"),
        ("POST", "/v2/models/other/infer", 404, "the model is 'steel'"),
        ("GET", "/v2/models/other", 404, "the model is 'steel'"),
        ("POST", f"/v2/models/{NAME}/versions/9/infer", 404, "version '9': is not here"),
        ("GET", f"/v2/models/{NAME}/versions/9/ready", 404, "version '9': is not here"),
        ("POST", f"/v2/repository/models/{NAME}/unload", 404, "is not here"),
        ("POST", f"/v1/models/{NAME}:explain", 404, "is not here"),
        ("GET", "/docs", 404, "is not here"),
        ("GET", "/openapi.json", 404, "is not here"),
        ("GET", "/page/../settings.py", 404, "is not here"),
        ("GET", "/page/%2e%2e/settings.py", 404, "is no file of the page"),
        ("GET", "/page/nothing.js", 404, "is no file of the page"),
    ],
)
def test_paths(method: str, path: str, status: int, words: str, client: httpx.Client) -> None:
    check(client.request(method, path), status, words)


@pytest.mark.parametrize(
    ("given", "same"),
    [("abc-1", True), ("x" * 128, True), ("x" * 129, False), ("with space", False), ("", False)],
)
def test_request_ids_go_in_and_out(given: str, same: bool, client: httpx.Client) -> None:
    answer = client.get("/v2/health/live", headers={"X-Request-Id": given})
    assert (answer.headers["x-request-id"] == given) is same
    assert answer.headers["x-request-id"]


def logged(running: Running, words: str, count: int) -> list[str]:
    """Lines of its log with these words, once there are as many: it writes them a moment later."""
    while len(lines := [line for line in list(running.lines) if words in line]) < count:
        time.sleep(0.02)
    return lines


def test_every_request_is_a_line_of_the_log(predictor: Running, client: httpx.Client) -> None:
    client.post(V1, json=instances("***"), headers={"X-Request-Id": "a-line-of-the-log"})
    client.get("/v2/health/live")
    (line,) = map(json.loads, logged(predictor, "a-line-of-the-log", 1))
    assert line["message"] == "request"
    assert (line["method"], line["path"], line["status"]) == ("POST", V1, 400)
    assert "is no base64" in line["reason"]


def test_a_fault_of_the_server_says_nothing_of_it(predictor: Running, client: httpx.Client) -> None:
    answer = client.post(
        V1,
        content=encoded(255),
        headers={"Content-Type": "image/jpeg", "X-Request-Id": "http-fault"},
    )
    check(answer, 500, "")
    words = "internal error: the server's log tells of request http-fault"
    assert answer.json() == {"error": words}
    lines = [json.loads(line) for line in logged(predictor, "http-fault", 2)]
    assert "holds NaN or infinity" in lines[0]["traceback"]
    assert client.get("/v2/health/ready").status_code == 200


def test_a_body_in_chunks_is_cut_off_at_the_limit(client: httpx.Client) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(60):
            yield bytes(10_000)

    answer = client.post(V1, content=endless(), headers={"Content-Type": "image/jpeg"})
    check(answer, 413, "body: is larger than 100000 bytes")


def test_a_large_body_is_refused_before_it_is_sent(predictor: Running) -> None:
    with socket.create_connection(("127.0.0.1", predictor.http_port), timeout=30) as connection:
        connection.sendall(
            f"POST {V1} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
            "Content-Length: 99999999999\r\nExpect: 100-continue\r\n\r\n".encode()
        )
        told = connection.recv(65536)
        assert told.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in told


def test_large_headers_are_refused(client: httpx.Client) -> None:
    whole = {f"x-{number}": "y" * 1000 for number in range(60)}
    assert client.get("/v2/health/live", headers=whole).status_code == 200
    answer = client.post(V1, json=instances(B64), headers={**whole, "x-more": "y" * 6000})
    check(answer, 431, "headers: are larger than 65536 bytes")
    assert answer.headers["connection"] == "close"


def test_health_may_be_asked_without_a_body(client: httpx.Client) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", f"/v2/models/{NAME}/ready"):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path


def peak_memory_mib(running: Running) -> int:
    status = Path(f"/proc/{running.process.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc to tell of memory")
def test_decompression_bombs_cost_nothing(predictor: Running, client: httpx.Client) -> None:
    """Whole ones too, whose every pixel is there."""
    side = 9000
    packer = zlib.compressobj(9)
    rows = b"".join(packer.compress(bytes(side + 1)) for _ in range(side)) + packer.flush()
    whole = png(side, side, rows, colour_type=0)
    assert len(whole) < 100_000
    before = peak_memory_mib(predictor)
    for picture in (PNG_BOMB, whole):
        answer = client.post(V1, content=picture, headers={"Content-Type": "image/png"})
        check(answer, 413, "at most 1000000 pixels")
    assert peak_memory_mib(predictor) - before < side * side / 2**20 / 2


def test_a_damaged_picture_that_can_be_read_is_answered(client: httpx.Client) -> None:
    # libjpeg tells standard error of it; the log is looked at where the predictor ends.
    extra = JPEG[:-2] + b"\x12\x13\x14" + JPEG[-2:]
    answer = client.post(V1, content=extra, headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "raw",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET \xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT example.com:80 HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_http_is_no_fault_of_the_server(raw: bytes, predictor: Running) -> None:
    with socket.create_connection(("127.0.0.1", predictor.http_port), timeout=30) as connection:
        connection.sendall(raw)
        told = connection.recv(65536)
        assert told == b"" or told.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")), told
    with predictor.client() as client:
        assert client.get("/v2/health/ready").status_code == 200


def test_the_page_needs_nothing_from_elsewhere(client: httpx.Client) -> None:
    answer = client.get("/", headers={"Accept": "text/html,*/*"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert client.get("/").json() == {"status": "alive"}


def test_thresholds_of_classes_hold_beside_the_general_one(client: httpx.Client) -> None:
    def classes(parameters: dict[str, Any]) -> list[str]:
        answer = client.post(V1, json=instances(B64, parameters=parameters))
        (prediction,) = answer.json()["predictions"]
        names: list[str] = prediction["class_names"]
        return names

    assert classes({}) == ["scratch", "pit: deep"]
    assert classes({"min_score": 0.5}) == ["scratch"]
    assert classes({"min_score": 0.5, "class_min_scores": {"pit: deep": 0.2}}) == [
        "scratch",
        "pit: deep",
    ]
    assert classes({"class_min_scores": {"scratch": 0.9}}) == ["pit: deep"]
    assert classes({"max_detections": 1}) == ["scratch"]
    # The limit of their number comes after the thresholds.
    assert classes({"max_detections": 1, "class_min_scores": {"scratch": 0.9}}) == ["pit: deep"]
    assert classes({"min_score": "0.5"}) == ["scratch"]


def test_pixels_as_numbers(client: httpx.Client) -> None:
    picture = pixels(100, size_wh=(32, 64))
    body = inputs(name="pixels", datatype="UINT8", shape=[1, 64, 32, 3], data=[picture.tolist()])
    answer = client.post(V2, json=body)
    assert answer.status_code == 200, answer.text
    boxes = next(o for o in answer.json()["outputs"] if o["name"] == "boxes")
    assert boxes["datatype"] == "FP32"
    assert np.prod(boxes["shape"]) == len(boxes["data"])
