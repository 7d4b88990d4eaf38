from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.deployment.site import picture
from yololine.deployment.endpoint import Endpoint, content_type, find_endpoint
from yololine.errors import DeploymentError

Reply = tuple[int, dict[str, str], bytes]


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[BaseHTTPRequestHandler], Reply]], str]]:
    """Starts a server, and gives its address."""
    servers = []

    def start(answer: Callable[[BaseHTTPRequestHandler], Reply]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.do_GET()

            def do_GET(self) -> None:
                status, headers, body = answer(self)
                self.send_response(status)
                for key, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(key, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://169.254.169.254", "is never asked"),
        ("http://[fd00:ec2::254]/x", "is never asked"),
        ("http://0xA9FEA9FE", "is never asked"),
        ("http://metadata.google.internal", "is never asked"),
        ("file:///etc/passwd", "is no address of a service"),
        ("http://user:secret@castings", "is no address of a service"),
        ("castings-predictor.team-a", "is no address of a service"),
    ],
)
def test_where_nothing_is_ever_asked(url: str, words: str) -> None:
    with pytest.raises(DeploymentError, match=words) as raised:
        Endpoint(url, service_name="castings")
    assert "secret@" not in str(raised.value)


def test_a_picture_goes_as_it_is_and_detections_come_back(
    serve: Callable[..., str],
) -> None:
    asked = []

    def answer(request: BaseHTTPRequestHandler) -> Reply:
        asked.append((request.path, request.headers["Content-Type"]))
        prediction = {
            "boxes_xyxy": [[1, 2, 3, 4]],
            "scores": [0.5],
            "class_ids": [1],
            "class_names": ["pore"],
        }
        body = {"predictions": [prediction], "model_version": "v1"}
        return 200, {}, json.dumps(body).encode()

    endpoint = Endpoint(serve(answer) + "/", service_name="castings")
    found = endpoint.detect(picture(3), {"min_score": 0.25})
    assert asked == [("/v1/models/castings:predict?min_score=0.25", "image/jpeg")]
    assert found.version == "v1"
    assert found.detections.boxes_xyxy.tolist() == [[1, 2, 3, 4]]
    assert found.detections.class_ids.tolist() == [1]
    assert found.class_names == ("pore",)


NAMELESS = {"boxes_xyxy": [[1, 2, 3, 4]], "scores": [1], "class_ids": [1], "class_names": []}


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        ((302, {"Location": "http://127.0.0.1:9/"}, b""), "answers 302"),
        ((200, {}, b"<html>"), "answers with no JSON"),
        ((200, {}, b"[]"), "answers with no detections"),
        ((200, {}, b'{"predictions": [{}, {}]}'), "answers with no detections"),
        ((200, {}, b'{"predictions": [{"boxes_xyxy": [1], "scores": [1]}]}'), "no detections"),
        ((200, {}, json.dumps({"predictions": [NAMELESS]}).encode()), "no detections"),
        ((503, {}, b"queue is full"), r"answers 503 \(queue is full\)"),
    ],
)
def test_what_is_no_answer(serve: Callable[..., str], reply: Reply, words: str) -> None:
    endpoint = Endpoint(serve(lambda _: reply), service_name="castings")
    with pytest.raises(DeploymentError, match=words):
        endpoint.detect(picture(3), {})


def test_the_first_address_that_can_be_reached_is_taken(serve: Callable[..., str]) -> None:
    url = serve(lambda _: (404, {}, b""))
    closed = "http://127.0.0.1:9"
    service: dict[str, Any] = {"metadata": {"name": "castings"}}
    with pytest.raises(DeploymentError, match="has no address yet"):
        find_endpoint(service)
    service["status"] = {"address": {"url": closed}}
    with pytest.raises(DeploymentError, match=f"cannot be reached from here, at {closed}"):
        find_endpoint(service)
    service["status"]["url"] = url
    assert find_endpoint(service).url == url


@pytest.mark.parametrize(
    ("start", "name"),
    [
        (b"\xff\xd8\xff\xe0", "image/jpeg"),
        (b"\x89PNG\r\n", "image/png"),
        (b"RIFF0000WEBP", "image/webp"),
        (b"II*\x00", "image/tiff"),
        (b"BM12", "image/bmp"),
        (b"", "application/octet-stream"),
    ],
)
def test_what_a_picture_is(start: bytes, name: str) -> None:
    assert content_type(start) == name
