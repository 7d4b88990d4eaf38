"""A predictor's life: loading, ready, full, told to stop; as a real process."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.serving.models import NAME
from tests.serving.pictures import JPEG
from tests.serving.running import Running

PREDICT = f"/v1/models/{NAME}:predict"
JPEG_HEADERS = {"Content-Type": "image/jpeg"}


def ask(running: Running, **headers: str) -> httpx.Response:
    with running.client() as client:
        return client.post(PREDICT, content=JPEG, headers={**JPEG_HEADERS, **headers})


def metric(running: Running, name: str) -> float:
    with running.client() as client:
        lines = client.get("/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


@pytest.fixture
def loading_folder(version_folder: Path, tmp_path: Path) -> Path:
    """A version whose manifest is a pipe: who reads it waits for `let_load`."""
    folder = tmp_path / "loading"
    shutil.copytree(version_folder, folder)
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    return folder


def let_load(folder: Path, version_folder: Path) -> None:
    (folder / "manifest.json").write_bytes((version_folder / "manifest.json").read_bytes())


def test_it_is_live_but_not_ready_while_it_loads(
    loading_folder: Path, version_folder: Path
) -> None:
    with Running(loading_folder) as running:
        running.listening()
        with running.client() as client:
            assert client.get("/v2/health/live").json() == {"live": True}
            for path in ("/v2/health/ready", f"/v2/models/{NAME}/ready"):
                answer = client.get(path)
                assert answer.status_code == 503, answer.text
                assert answer.headers["retry-after"] == "1"
                assert answer.json()["error"]
            answer = client.post(PREDICT, content=JPEG, headers=JPEG_HEADERS)
            assert answer.status_code == 503
            assert "model: is not loaded yet" in answer.json()["error"]
            assert answer.headers["retry-after"] == "1"
        let_load(loading_folder, version_folder)
        running.wait_for("ready")
        assert ask(running).status_code == 200
        assert running.stop() == 0


def test_it_stops_while_it_loads(loading_folder: Path, version_folder: Path) -> None:
    with Running(loading_folder) as running:
        running.listening()
        running.process.terminate()
        running.wait_for("stopped")
        let_load(loading_folder, version_folder)
        assert running.wait() == 0


def test_what_is_not_the_registered_version_is_refused(
    version_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "version"
    shutil.copytree(version_folder, folder)
    model = folder / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
    with Running(folder) as running:
        assert running.wait() == 1
        *lines, told = running.log.splitlines()
    assert told.startswith(f"error: {folder}/model.onnx: ")
    messages = [json.loads(line)["message"] for line in lines]
    assert "ready" not in messages
    assert "Traceback" not in running.log


def test_a_taken_port_is_said_in_words(version_folder: Path) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        Running(version_folder, "--http-port", str(taken.getsockname()[1])) as http,
        Running(version_folder, "--grpc-port", str(taken.getsockname()[1])) as grpc,
    ):
        port = taken.getsockname()[1]
        assert http.wait() == grpc.wait() == 2
    words = f"error: 127.0.0.1:{port}: cannot be listened on"
    assert f"{words} (Address already in use)" in http.log
    assert words in grpc.log


@pytest.fixture(scope="module")
def slow(slow_folder: Path) -> Iterator[Running]:
    """A predictor that works on one picture for some tenths of a second, and lets 8 wait."""
    options = ["--streams", "1", "--queue-length", "8", "--max-batch-images", "2"]
    with Running(slow_folder, *options, "--deadline-seconds", "20") as running:
        yield running.ready()


def test_more_than_the_queue_holds_is_told_to_come_back(slow: Running) -> None:
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: ask(slow), range(20)))
    codes = {answer.status_code for answer in answers}
    assert codes == {200, 429}
    for answer in answers:
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
            assert "of at most 8" in answer.json()["error"]
    assert metric(slow, 'yololine_requests_total{code="429",route="v1 predict"}') > 0
    # And all is well again.
    assert ask(slow).status_code == 200


def test_deadlines_hold_in_the_queue_and_in_work(slow: Running) -> None:
    answer = ask(slow, **{"X-Deadline-Seconds": "0.01"})
    assert answer.status_code == 504, answer.text
    assert "deadline of 0.01 seconds: passed" in answer.json()["error"]
    assert ask(slow, **{"X-Deadline-Seconds": "1000"}).status_code == 200
    with slow.client() as client:
        late = client.post(f"{PREDICT}?deadline_seconds=0.01", content=JPEG, headers=JPEG_HEADERS)
    assert late.status_code == 504


def test_a_body_that_does_not_come_is_not_waited_for(version_folder: Path) -> None:
    with Running(version_folder, "--deadline-seconds", "0.3") as running:
        running.ready()
        with socket.create_connection(("127.0.0.1", running.http_port), timeout=30) as connection:
            connection.sendall(
                f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
                "Content-Length: 500\r\n\r\nhalf".encode()
            )
            told = b"".join(iter(lambda: connection.recv(65536), b""))  # until it closes
        assert told.startswith(b"HTTP/1.1 408 "), told
        assert b"body: did not arrive in 0.3 seconds" in told


def test_what_nobody_waits_for_is_dropped(slow: Running) -> None:
    inferred = metric(slow, "yololine_batch_pictures_sum")
    request = (
        f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {len(JPEG)}\r\n\r\n".encode()
        + JPEG
    )
    gone = []
    for _ in range(9):
        gone.append(socket.create_connection(("127.0.0.1", slow.http_port)))
        gone[-1].sendall(request)
    while metric(slow, "yololine_queue_pictures") < 4:
        time.sleep(0.01)
    for connection in gone:
        connection.close()
    while metric(slow, "yololine_requests_in_flight") > 1:  # this one asks
        time.sleep(0.01)
    assert metric(slow, "yololine_queue_pictures") == 0
    assert metric(slow, 'yololine_requests_total{code="499"') >= 4
    assert metric(slow, "yololine_batch_pictures_sum") - inferred <= 5
    assert ask(slow).status_code == 200


def test_it_drains_when_told_to_stop(slow_folder: Path) -> None:
    with Running(slow_folder, "--streams", "1", "--drain-seconds", "1") as running:
        running.ready()
        answers: list[httpx.Response] = []
        asking = [threading.Thread(target=lambda: answers.append(ask(running))) for _ in range(8)]
        for thread in asking:
            thread.start()
        while metric(running, "yololine_queue_pictures") < 4:
            time.sleep(0.01)
        running.process.terminate()
        running.wait_for("draining")
        with running.client() as client:
            ready = client.get("/v2/health/ready")
            assert ready.status_code == 503, ready.text
            assert ready.headers["connection"] == "close"
            assert client.get("/v2/health/live").status_code == 200
        # Who has not heard of it yet is answered.
        late = ask(running)
        assert late.status_code == 200
        assert late.headers["connection"] == "close"
        for thread in asking:
            thread.join()
        assert [answer.status_code for answer in answers] == [200] * 8
        assert running.wait() == 0
        with pytest.raises(httpx.ConnectError):
            ask(running)


def test_a_second_signal_ends_the_drain(version_folder: Path) -> None:
    with Running(version_folder, "--drain-seconds", "500") as running:
        running.ready()
        running.process.terminate()
        running.wait_for("draining")
        assert running.stop() == 0


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_engines_and_batches_give_the_same_and_write_nothing(
    engine: str, version_folder: Path, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere"
    nowhere.mkdir(mode=0o500)
    environ = {"HOME": str(nowhere), "XDG_CACHE_HOME": str(nowhere), "TMPDIR": str(tmp_path)}
    options = ["--engine", engine, "--max-batch", "4", "--model_name", "other", "--max_wait_ms=20"]
    with Running(version_folder, *options, environ=environ) as running:
        running.ready()
        with running.client() as client, ThreadPoolExecutor(8) as pool:
            answers = list(
                pool.map(
                    lambda _: client.post(
                        "/v1/models/other:predict", content=JPEG, headers=JPEG_HEADERS
                    ),
                    range(24),
                )
            )
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.text for answer in answers}) == 1
        assert answers[0].json()["model_name"] == "other"
        sizes = metric(running, "yololine_batch_pictures_sum")
        assert sizes == 24
        assert metric(running, "yololine_batch_pictures_count") < 24
        assert running.stop() == 0
    assert list(nowhere.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir()] == ["nowhere"]
    assert '"level":"ERROR"' not in running.log
