"""The protocols as others speak them: kserve's clients, Triton's, and curl."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.http
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

from tests.serving.models import CLASS_NAMES, NAME
from tests.serving.pictures import JPEG, encoded, pixels
from tests.serving.running import Running

VERSION = "0123456789ab"
BOXES = [[8, 8, 24, 24], [32, 32, 56, 40]]


def check(outputs: dict[str, Any], *, pictures: int = 1) -> None:
    """What a bright picture gives, once for each of them."""
    boxes = np.asarray(outputs["boxes"], np.float32).reshape(-1, 4)
    assert boxes.tolist() == BOXES * pictures
    assert np.asarray(outputs["scores"]).ravel() == pytest.approx(
        [200 / 255, 0.3] * pictures, abs=1e-4
    )
    assert np.asarray(outputs["class_ids"]).ravel().tolist() == [0, 1] * pictures
    index = np.asarray(outputs["image_index"]).ravel().tolist()
    assert index == np.repeat(np.arange(pictures), 2).tolist()
    names = [name.decode() if isinstance(name, bytes) else name for name in outputs["class_names"]]
    assert tuple(names) == CLASS_NAMES


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


async def _kserve_rest(running: Running, protocol: str, data: Any) -> Any:
    client = InferenceRESTClient(RESTConfig(protocol=protocol))
    try:
        assert await client.is_server_ready(running.url)
        assert await client.is_server_live(running.url)
        assert await client.is_model_ready(running.url, NAME)
        return await client.infer(running.url, data, model_name=NAME)
    finally:
        await client.close()


def test_kserve_rest_v1(predictor: Running) -> None:
    data = {"instances": [{"image": {"b64": b64(JPEG)}}], "parameters": {"min_score": 0.5}}
    client = InferenceRESTClient(RESTConfig(protocol="v1"))

    async def ask() -> Any:
        try:
            assert await client.is_server_live(predictor.url)
            assert await client.is_model_ready(predictor.url, NAME)
            return await client.infer(predictor.url, data, model_name=NAME)
        finally:
            await client.close()

    answer = asyncio.run(ask())
    (prediction,) = answer["predictions"]
    assert prediction["boxes_xyxy"] == BOXES[:1]
    assert prediction["class_names"] == ["scratch"]
    assert (prediction["width"], prediction["height"]) == (64, 64)
    assert (answer["model_name"], answer["model_version"]) == (NAME, VERSION)


def kserve_input(form: str) -> InferInput:
    if form == "pixels":
        given = InferInput("pixels", [2, 64, 64, 3], "UINT8")
        given.set_data_from_numpy(np.stack([pixels(), pixels()]))
        return given
    given = InferInput("image", [2], "BYTES")
    if form == "text":
        given.data = [b64(JPEG)] * 2
    else:
        given.set_data_from_numpy(np.array([JPEG, JPEG], np.object_))
    return given


@pytest.mark.parametrize("form", ["image", "pixels", "text"])
def test_kserve_rest_v2(form: str, predictor: Running) -> None:
    request = InferRequest(NAME, [kserve_input(form)], request_id="one")
    answer = asyncio.run(_kserve_rest(predictor, "v2", request))
    assert answer.id == "one"
    check({output.name: output.as_numpy() for output in answer.outputs}, pictures=2)


def test_kserve_rest_v2_binary_output(predictor: Running) -> None:
    parameters = {"binary_data_output": True, "min_score": 0.1}
    request = InferRequest(NAME, [kserve_input("image")], parameters=parameters)
    answer = asyncio.run(_kserve_rest(predictor, "v2", request))
    check({output.name: output.as_numpy() for output in answer.outputs}, pictures=2)


@pytest.mark.parametrize("form", ["image", "pixels"])
def test_kserve_grpc(form: str, predictor: Running) -> None:
    async def ask() -> Any:
        client = InferenceGRPCClient(predictor.grpc_address)
        try:
            assert await client.is_server_live()
            assert await client.is_server_ready()
            assert await client.is_model_ready(NAME)
            return await client.infer(
                InferRequest(NAME, [kserve_input(form)], request_id="one", model_version=VERSION)
            )
        finally:
            await client.close()

    answer = asyncio.run(ask())
    assert (answer.id, answer.model_version) == ("one", VERSION)
    check({output.name: output.as_numpy() for output in answer.outputs}, pictures=2)


def triton_input(library: Any, form: str) -> Any:
    if form == "pixels":
        given = library.InferInput("pixels", [1, 64, 64, 3], "UINT8")
        given.set_data_from_numpy(pixels()[None])
        return given
    given = library.InferInput("image", [1], "BYTES")
    given.set_data_from_numpy(np.array([JPEG], np.object_))
    return given


@pytest.mark.parametrize("form", ["image", "pixels"])
@pytest.mark.parametrize("binary", [None, True, False])
def test_triton_http(form: str, binary: bool | None, predictor: Running) -> None:
    names = ("boxes", "scores", "class_ids", "image_index", "class_names")
    outputs = None
    if binary is not None:
        outputs = [
            tritonclient.http.InferRequestedOutput(name, binary_data=binary) for name in names
        ]
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{predictor.http_port}") as client:
        assert client.is_server_live()
        assert client.is_server_ready()
        assert client.is_model_ready(NAME)
        assert client.is_model_ready(NAME, VERSION)
        assert client.get_server_metadata()["name"] == "yololine"
        assert client.get_model_metadata(NAME)["versions"] == [VERSION]
        answer = client.infer(
            NAME,
            [triton_input(tritonclient.http, form)],
            model_version=VERSION,
            outputs=outputs,
            request_id="one",
            parameters={"class_min_scores": json.dumps({"scratch": 0.2})},
        )
    assert answer.get_response()["model_version"] == VERSION
    assert answer.get_response()["id"] == "one"
    check({name: answer.as_numpy(name) for name in names})


def test_triton_http_with_nothing_found(predictor: Running) -> None:
    with tritonclient.http.InferenceServerClient(f"127.0.0.1:{predictor.http_port}") as client:
        answer = client.infer(
            NAME, [triton_input(tritonclient.http, "image")], parameters={"min_score": 0.99}
        )
    assert answer.as_numpy("boxes").shape == (0, 4)
    assert answer.as_numpy("scores").shape == (0,)


@pytest.mark.parametrize("form", ["image", "pixels"])
def test_triton_grpc(form: str, predictor: Running) -> None:
    command = [sys.executable, "-m", "tests.serving.triton_grpc", predictor.grpc_address, form]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, check=True, capture_output=True, cwd=root, timeout=60)
    told = json.loads(done.stdout)
    assert told["up"] == [True, True, True]
    assert told["versions"] == [VERSION]
    check(told["found"])
    assert told["nothing"] == [0, 4]
    assert told["chosen"] == ["scores"]


def curl(running: Running, path: str, *options: str) -> tuple[int, Any]:
    command = ["curl", "-sS", "-w", "\n%{http_code}", f"{running.url}{path}", *options]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    body, _, status = done.stdout.rpartition("\n")
    return int(status), json.loads(body)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
def test_curl_with_a_bare_picture(kind: str, predictor: Running, tmp_path: Path) -> None:
    picture = tmp_path / "picture"
    picture.write_bytes(encoded(kind=kind))
    status, answer = curl(
        predictor,
        f"/v1/models/{NAME}:predict?min_score=0.2&class_min_scores=pit:%20deep:0.31&max_detections=9",
        "--data-binary",
        f"@{picture}",
        "-H",
        f"Content-Type: image/{kind.lower()}",
    )
    assert status == 200, answer
    (prediction,) = answer["predictions"]
    assert prediction["class_names"] == ["scratch"]


def test_curl_with_json(predictor: Running, tmp_path: Path) -> None:
    body = tmp_path / "body.json"
    instances = [{"image": {"b64": b64(encoded(grey))}} for grey in (200, 100)]
    body.write_text(json.dumps({"instances": instances}))
    # Without a content type, curl says that it is a form.
    status, answer = curl(
        predictor, f"/v1/models/{NAME}:predict", "--data-binary", f"@{body}", "-H", "Expect:"
    )
    assert status == 200, answer
    scores = [prediction["scores"][0] for prediction in answer["predictions"]]
    assert scores == pytest.approx([200 / 255, 100 / 255], abs=1e-4)


def test_curl_that_sends_in_chunks(predictor: Running, tmp_path: Path) -> None:
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(JPEG)
    status, answer = curl(
        predictor,
        f"/v1/models/{NAME}:predict",
        "-H",
        "Transfer-Encoding: chunked",
        "-H",
        "Content-Type: image/jpeg",
        "--data-binary",
        f"@{picture}",
    )
    assert status == 200, answer


@pytest.mark.parametrize(
    ("protocol", "body", "content_type"),
    [
        ("v1/models/steel:predict", JPEG, "image/jpeg"),
        (
            "v2/models/steel/versions/0123456789ab/infer",
            json.dumps(
                {
                    "inputs": [
                        {
                            "name": "image",
                            "datatype": "BYTES",
                            "shape": [1, 1],
                            "data": [[b64(JPEG)]],
                        }
                    ]
                }
            ).encode(),
            "application/json",
        ),
    ],
)
def test_keep_alive_serves_request_after_request(
    protocol: str, body: bytes, content_type: str, predictor: Running
) -> None:
    with predictor.client() as client:
        for _ in range(5):
            answer = client.post(
                f"/{protocol}", content=body, headers={"Content-Type": content_type}
            )
            assert answer.status_code == 200, answer.text
            assert "connection" not in answer.headers
