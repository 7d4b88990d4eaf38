from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from tests.serving.models import NAME, bright_model, register_model
from tests.serving.pictures import JPEG
from yololine.errors import UsageError
from yololine.serving.local import serve_from_store

SCRIPT = """
import sys
from yololine.serving.local import serve_from_store
serve_from_store(sys.argv[1], sys.argv[2], port=0, announce=lambda told: print(told, flush=True))
"""


def test_a_version_of_a_store_is_served(tmp_path: Path) -> None:
    store, temporary = tmp_path / "store", tmp_path / "tmp"
    temporary.mkdir()
    register_model(store, bright_model(tmp_path / "model.onnx"))
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(store), f"{NAME}@0123456789ab"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        assert process.stdout
        told: queue.Queue[str] = queue.Queue()
        threading.Thread(target=lambda: told.put(process.stdout.readline()), daemon=True).start()
        name, _, url = told.get(timeout=60).strip().partition(": ")
        assert name == f"{NAME}@0123456789ab"
        assert url.startswith("http://127.0.0.1:")
        headers = {"Content-Type": "image/jpeg"}
        answer = httpx.post(f"{url}v1/models/{NAME}:predict", content=JPEG, headers=headers)
        assert answer.status_code == 200, answer.text
    finally:
        process.send_signal(signal.SIGINT)
        _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert log == ""
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("what", "given", "words"),
    [
        ("other", {}, "model 'other': has no version in"),
        (NAME, {}, "has no champion"),
        (f"{NAME}@999", {}, "is not in"),
        (f"{NAME}@0123456789ab", {"port": 70000}, "http_port=70000"),
    ],
)
def test_what_cannot_be_served_is_refused(
    what: str, given: dict[str, int], words: str, tmp_path: Path
) -> None:
    register_model(tmp_path / "store", bright_model(tmp_path / "model.onnx"))
    with pytest.raises(UsageError, match=words):
        serve_from_store(str(tmp_path / "store"), what, announce=pytest.fail, **given)
