"""The predictor's image at work: a registered version, in a pod of a restricted namespace."""

from __future__ import annotations

import base64
import io
import json
import shutil
import signal
import socket
import subprocess
import textwrap
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import urllib3
from kserve.protocol.grpc import grpc_predict_v2_pb2 as pb
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import GRPCInferenceServiceStub
from PIL import Image

from tests.containers.conftest import Images
from tests.inference.models import constant_model
from yololine.registry.versions import Version, fetch_version, register
from yololine.storage import open_store

SIZE = 64
CLASS_NAMES = ("crack", "scratch")
BOX_CXCYWH = (32, 24, 16, 8)
SCORES = (0.1, 0.9)
PICTURE_WH = (128, 128)
"""Twice as large as what the model sees: so are the boxes."""
EXPECTED = {
    "boxes_xyxy": [[48, 40, 80, 56]],
    "scores": [0.9],
    "class_ids": [1],
    "class_names": ["scratch"],
    "width": 128,
    "height": 128,
}


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> tuple[Version, Path]:
    """A version, and the folder that KServe's storage initializer would leave."""
    folder = tmp_path_factory.mktemp("version")
    output = np.array([*BOX_CXCYWH, *SCORES], np.float32).reshape(1, 6, 1)
    store = open_store(str(folder / "store"))
    registered = register(
        store,
        name="steel-sheet",
        key="0123456789abcdef" * 4,
        promoted=True,
        files={"model.onnx": constant_model(output, folder / "model.onnx")},
        class_names=CLASS_NAMES,
        image_size=SIZE,
        metrics={},
    )
    fetch_version(store, registered, folder / "models")
    return registered, folder / "models"


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", PICTURE_WH, "gray").save(file, "JPEG")
    return file.getvalue()


def arguments(images: Images, models: Path, *, network: str) -> list[str]:
    """A predictor's container, up to the options of its command; as KServe mounts the model."""
    words = [*images.pod(network=network), f"--volume={models}:/mnt/models:ro"]
    return [*words, images.name("predictor"), "--model-dir=/mnt/models", "--model-name=sheet"]


@dataclass(frozen=True, kw_only=True)
class Running:
    """A predictor on the host's network."""

    process: subprocess.Popen[str]
    http_port: int
    grpc_port: int

    def request(self, method: str, path: str, **options: Any) -> urllib3.BaseHTTPResponse:
        url = f"http://127.0.0.1:{self.http_port}{path}"
        return urllib3.request(method, url, retries=False, timeout=30, **options)


@pytest.fixture(scope="module")
def running(images: Images, version: tuple[Version, Path]) -> Iterator[Running]:
    with socket.create_server(("", 0)) as a, socket.create_server(("", 0)) as b:
        http_port, grpc_port = a.getsockname()[1], b.getsockname()[1]
    process = subprocess.Popen(
        [
            *arguments(images, version[1], network="host"),
            f"--http-port={http_port}",
            f"--grpc-port={grpc_port}",
            "--drain-seconds=0",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    predictor = Running(process=process, http_port=http_port, grpc_port=grpc_port)
    try:
        for _ in range(1200):
            if process.poll() is not None:
                assert process.stdout
                pytest.fail(process.stdout.read())
            try:
                if predictor.request("GET", "/v2/health/ready").status == 200:
                    break
            except urllib3.exceptions.HTTPError:
                pass
            time.sleep(0.05)
        yield predictor
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_answers_over_http(running: Running, version: tuple[Version, Path]) -> None:
    instance = {"image": {"b64": base64.b64encode(jpeg()).decode()}}
    for body, kind in (
        (jpeg(), "image/jpeg"),
        (json.dumps({"instances": [instance]}).encode(), "application/json"),
    ):
        reply = running.request(
            "POST", "/v1/models/sheet:predict", body=body, headers={"Content-Type": kind}
        )
        assert reply.status == 200, reply.data
        answer = reply.json()
        assert answer["model_version"] == version[0].version
        (prediction,) = answer["predictions"]
        assert prediction.keys() == EXPECTED.keys()
        assert prediction["class_names"] == ["scratch"]
        for key in ("boxes_xyxy", "scores", "class_ids", "width", "height"):
            assert prediction[key] == pytest.approx(np.array(EXPECTED[key]), abs=0.01)


def test_answers_over_grpc(running: Running) -> None:
    # kserve's messages: Triton's have the same names, and a process takes either once.
    given = pb.ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[1])
    given.contents.bytes_contents.append(jpeg())
    with grpc.insecure_channel(f"127.0.0.1:{running.grpc_port}") as channel:
        client = GRPCInferenceServiceStub(channel)
        assert client.ServerReady(pb.ServerReadyRequest()).ready
        answer = client.ModelInfer(pb.ModelInferRequest(model_name="sheet", inputs=[given]))
    names = [output.name for output in answer.outputs]
    boxes = np.frombuffer(answer.raw_output_contents[names.index("boxes")], np.float32)
    assert boxes.reshape(-1, 4) == pytest.approx(np.array(EXPECTED["boxes_xyxy"]), abs=0.01)


def test_has_its_page_and_its_metrics(running: Running) -> None:
    page = running.request("GET", "/", headers={"Accept": "text/html"})
    assert page.headers["Content-Type"].startswith("text/html")
    assert "# HELP" in running.request("GET", "/metrics").data.decode()


def test_ends_when_it_is_told_to(running: Running) -> None:
    """The last of the module: the container's first process takes the signal itself."""
    running.process.send_signal(signal.SIGTERM)
    output, _ = running.process.communicate(timeout=60)
    assert running.process.returncode == 0, output
    assert "Traceback" not in output, output


INSIDE = textwrap.dedent(
    """
    import subprocess, sys, time, urllib.error, urllib.request

    command = [sys.executable, "-m", "yololine.serving", *sys.argv[1:]]
    with subprocess.Popen(command) as server:
        while server.poll() is None:
            try:
                with urllib.request.urlopen("http://127.0.0.1:8080/v2/health/ready") as reply:
                    print("ready", reply.status)
                    break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.05)
        server.terminate()
    sys.exit(server.returncode)
    """
)


def test_gets_ready_off_line(images: Images, version: tuple[Version, Path]) -> None:
    words = arguments(images, version[1], network="none")
    at = words.index(images.name("predictor"))
    words[at:at] = ["--entrypoint=python3"]
    words[at + 2 : at + 2] = ["-c", INSIDE]
    done = subprocess.run(
        [*words, "--drain-seconds=0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "ready 200" in done.stdout


def test_refuses_a_model_that_was_touched(
    images: Images, version: tuple[Version, Path], tmp_path: Path
) -> None:
    models = tmp_path / "models"
    shutil.copytree(version[1], models)
    content = bytearray((models / "model.onnx").read_bytes())
    content[-1] ^= 1
    (models / "model.onnx").write_bytes(content)
    done = subprocess.run(
        arguments(images, models, network="none"),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    assert "model.onnx" in done.stdout
    assert "sha256" in done.stdout
    assert "Traceback" not in done.stdout
