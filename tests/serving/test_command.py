from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.serving.running import Running
from yololine.serving.command import COMMAND
from yololine.serving.settings import Settings


def test_every_setting_is_an_option() -> None:
    told = CliRunner().invoke(COMMAND, ["--help"], env={"COLUMNS": "200"})
    assert told.exit_code == 0
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')} " in told.output


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--queue-length", "0"], "queue_length=0"),
        (["--queue_length=4", "--max-batch-images=5"], "could never be taken"),
        (["--min-score", "2"], "min_score=2.0"),
        (["--log-level", "LOUD"], "log_level='LOUD'"),
        (["--workers", "2"], "2 is not in the range 1<=x<=1"),
        (["--no-such-option"], "No such option"),
        (["--model-dir", "/nowhere/at/all", "--engine", "guess"], "/nowhere/at/all/manifest.json"),
    ],
)
def test_wrong_options_are_refused_in_words(options: list[str], words: str) -> None:
    command = [sys.executable, "-m", "yololine.serving", "--http-port", "0", "--grpc-port", "0"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, timeout=60)
    assert done.returncode in (1, 2)
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_names_as_kserve_writes_them_and_variables(version_folder: Path) -> None:
    options = ["--model_name", "a", "--workers", "1", "--enable_grpc", "false"]
    environ = {"YOLOLINE_SERVING_MIN_SCORE": "0.9", "YOLOLINE_SERVING_MODEL_NAME": "b"}
    with Running(version_folder, *options, environ=environ) as running:
        running.ready()
        assert running.grpc_port is None
        with running.client() as client:
            assert client.get("/v1/models").json() == {"models": ["a"]}
