"""The supervisor with real processes: what the person at the terminal sees, and what is left."""

from __future__ import annotations

import html
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from yololine.storage import open_store
from yololine.telemetry.journal import read_run
from yololine.telemetry.records import StepRecord, StepState

if TYPE_CHECKING:
    from tests.conftest import MinioServer
    from tests.runs.conftest import Command

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="looks for processes in /proc"
)


def _run_folder(command: Command) -> Path:
    """Of the run that was started last."""
    return max((command.store / "runs").glob("fake-*"), key=lambda folder: folder.stat().st_ctime)


def _records(command: Command) -> dict[str, StepRecord]:
    return read_run(open_store(str(command.store)), _run_folder(command).name)


def _wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _in_training(command: Command) -> bool:
    return (command.store / "checkpoint").exists()


def _scratch(command: Command) -> list[Path]:
    return list(command.scratch.glob("yololine-*"))


def test_a_run_succeeds_and_says_where_everything_is(command: Command) -> None:
    done = command.run("--labels", '{"line": "3"}', "--no-such", "x")
    assert done.returncode == 2
    assert "No such option" in done.stderr
    assert not command.store.exists()

    done = command.run("--labels", '{"line": "3"}', "--shuffle", "--epochs", "2")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    folder = _run_folder(command)
    assert re.search(r"^\d\d:\d\d:\d\d resolve_source done in ", done.stdout, re.MULTILINE)
    assert re.search(r"^\d\d:\d\d:\d\d train_detector epoch 2/2 in ", done.stdout, re.MULTILINE)
    assert f"run     {folder.name} succeeded in " in done.stdout
    assert f"report  {folder}/report.html" in done.stdout
    assert f"logs    {folder}/logs" in done.stdout
    assert "\x1b" not in done.stdout
    # The pipeline's own exit handler wrote the report.
    assert (folder / "report.html").read_text().startswith("SUCCEEDED ")
    printed = f'reading {command.folder}/raw ["scratch", "dent"] {{"line": "3"}}\n'
    assert f"\n{printed}" in (folder / "logs" / "resolve_source.log").read_text()
    assert printed not in (folder / "logs" / "train_detector.log").read_text()
    assert printed in (folder / "logs" / "run.log").read_text()
    assert json.loads((folder / "job.json").read_text())["arguments"]["store_uri"] == str(
        command.store
    )
    assert _scratch(command) == []
    # Nothing was dropped where the command was entered.
    assert {path.name for path in command.folder.iterdir()} == {"store", "tmp"}


@pytest.mark.parametrize(
    ("mishap", "told"),
    [
        ("words", "epoch 2: the loss became NaN; lower lr0\n"),
        (
            "silence",
            "its process ended without a word in the journal; its last line: Oh dear; read",
        ),
        (
            "kill",  # the shell that kfp.local starts a step with says so much
            "its process ended without a word in the journal; its last line: Killed; read",
        ),
    ],
)
def test_a_failing_step_is_quoted(command: Command, mishap: str, told: str) -> None:
    failed = command.run("--mishap", mishap)
    assert failed.returncode == 1
    folder = _run_folder(command)
    assert f"error: train_detector: {told}" in failed.stderr
    assert f"log: {folder}/logs/train_detector.log\n" in failed.stderr
    assert f"drive.py --source-uri raw --store-uri store --mishap {mishap}\n" in failed.stderr
    assert "Traceback" not in failed.stderr + failed.stdout
    assert f"{folder.name} failed in " in failed.stdout
    assert f"report  {folder}/report.html" in failed.stdout
    # Not the exit handler's: the record of a step that could not end it is ended by then, and the
    # command that goes on is known.
    page = html.unescape((folder / "report.html").read_text())
    assert told.split(";")[0].strip() in page
    assert f"--mishap {mishap}" in page
    assert "Failed at step 8 of 12: Train" in page
    assert "Training is kept after epoch 1 of 3." in page
    assert _records(command)["train_detector"].state is StepState.FAILED
    shown = command.show()
    assert shown.returncode == 0, shown.stderr
    assert f"run        {folder.name} failed after " in shown.stdout
    assert f"error      train_detector: {told.split(';')[0].strip()}" in shown.stdout
    assert f"log        {folder}/logs/train_detector.log\n" in shown.stdout
    assert f"drive.py --source-uri raw --store-uri store --mishap {mishap}\n" in shown.stdout


def test_ctrl_c_lets_the_step_save_what_it_has(command: Command) -> None:
    process = command.start("--epochs", "500")
    _wait_until(lambda: _in_training(command))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    assert command.processes() == {}
    folder = _run_folder(command)
    assert (command.store / "saved").read_bytes() == b"on SIGTERM"
    assert "Stopping: " in out
    assert f"{folder.name} terminated in " in out
    assert "The same command goes on from what is done:" in err
    assert "error" not in err
    # The exit handler did not come to it: the report is ours.
    assert f"report  {folder}/report.html" in out
    page = html.unescape((folder / "report.html").read_text())
    assert "Terminated at step 8 of 12: Train" in page
    assert "Training is kept after epoch " in page
    assert "drive.py --source-uri raw --store-uri store --epochs 500" in page
    assert f"run        {folder.name} terminated after " in command.show(folder.name).stdout
    records = _records(command)
    assert records["train_detector"].state is StepState.TERMINATED
    assert "report_run" not in records
    assert "\nsaved\n" in (folder / "logs" / "train_detector.log").read_text()
    assert _scratch(command) == []


def test_ctrl_c_again_kills_a_step_that_will_not_stop(command: Command) -> None:
    process = command.start("--epochs", "500", "--mishap", "stubborn")
    _wait_until(lambda: _in_training(command))
    process.send_signal(signal.SIGINT)
    assert process.stdout
    while "Stopping" not in process.stdout.readline():
        pass
    assert command.processes()
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 128 + signal.SIGINT
    record = _records(command)["train_detector"]
    assert record.state is StepState.TERMINATED
    assert record.error
    assert record.error.message == "stopped by SIGINT"


def test_a_killed_runner_is_a_failed_run(command: Command) -> None:
    process = command.start("--epochs", "500")
    _wait_until(lambda: _in_training(command))
    (runner,) = (pid for pid, line in command.processes().items() if "runs.embedded" in line)
    os.kill(runner, signal.SIGKILL)
    out, err = process.communicate()
    assert process.returncode == 1
    assert "error: train_detector: its process ended without a word in the journal" in err
    assert f"report  {_run_folder(command)}/report.html" in out


def test_what_became_of_a_killed_run_is_shown_by_the_next_command(command: Command) -> None:
    process = command.start("--epochs", "500")
    _wait_until(lambda: _in_training(command))
    running = command.show()
    assert f"{_run_folder(command).name} running" in running.stdout
    assert re.search(r"●  train_detector  running", running.stdout)
    process.kill()
    process.communicate()
    shown = command.show()
    assert shown.returncode == 0, shown.stderr
    folder = _run_folder(command)
    assert f"run        {folder.name} killed after " in shown.stdout
    assert "last sign of life" in shown.stdout
    assert (
        "error      train_detector: killed, together with the command that ran it" in shown.stdout
    )
    assert "drive.py --source-uri raw --store-uri store --epochs 500" in shown.stdout
    assert f"report     {folder}/report.html" in shown.stdout
    page = html.unescape((folder / "report.html").read_text())
    assert "Killed at step 8 of 12: Train" in page
    assert "Training is kept after epoch " in page
    assert "drive.py --source-uri raw --store-uri store --epochs 500" in page
    assert _scratch(command) == []


def test_a_killed_supervisor_leaves_nothing_and_the_next_run_goes_on(command: Command) -> None:
    process = command.start("--epochs", "500")
    _wait_until(lambda: _in_training(command))
    assert len(command.processes()) > 3
    process.kill()
    process.communicate()
    _wait_until(lambda: command.processes() == {})
    assert _scratch(command)
    killed = _run_folder(command)
    assert not (killed / "report.html").exists()

    again = command.run("--epochs", str(int((command.store / "checkpoint").read_text()) + 1))
    assert again.returncode == 0
    assert _run_folder(command) != killed
    assert "Killed at step 8 of 12: Train" in (killed / "report.html").read_text()
    assert f"resolve_source reused in 0.0 s: 5ca1ab1e5ca1, from {killed.name}" in again.stdout
    assert not _records(command)["train_detector"].key.startswith("0 epochs")
    # What the killed run had under way on the disk goes with the next one.
    assert _scratch(command) == []


def test_a_terminal_gets_a_table_and_its_ctrl_c_reaches_the_supervisor_alone(
    command: Command,
) -> None:
    process, terminal = _in_a_terminal(command)
    screen = _read_until(terminal, "mAP50 ")
    os.write(terminal, b"\x03")
    screen += _read_until(terminal, None)
    os.close(terminal)
    assert process.wait() == 128 + signal.SIGINT
    assert command.processes() == {}
    assert "\x1b[" in screen
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen)
    assert re.search(r"train_detector +running", plain)
    assert re.search(r"epoch \d+/500", plain)
    assert re.search(r"■ +train_detector +terminated", plain)
    assert re.search(r"· +report_run +not run", plain)
    assert (command.store / "saved").exists()


def test_a_closed_terminal_stops_the_run(command: Command) -> None:
    process, terminal = _in_a_terminal(command)
    _read_until(terminal, "mAP50 ")
    os.close(terminal)
    assert process.wait() == 128 + signal.SIGHUP
    assert (command.store / "saved").exists()
    assert (_run_folder(command) / "report.html").exists()


def test_a_closed_pipe_stops_the_run(command: Command) -> None:
    process = command.start("--epochs", "500")
    _wait_until(lambda: _in_training(command))
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    with process.stderr:
        assert "Traceback" not in process.stderr.read()
    assert process.wait() == 128 + signal.SIGPIPE
    assert _records(command)["train_detector"].state is StepState.TERMINATED


def test_a_store_that_cannot_be_written_is_told_before_anything_starts(command: Command) -> None:
    command.store.write_text("a file")
    refused = command.run()
    assert refused.returncode == 1
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr


def test_a_bucket_as_store_leaves_logs_and_artifacts_here(
    command: Command, minio_server: MinioServer
) -> None:
    bucket = minio_server.make_bucket()
    command.environ |= minio_server.environ
    done = command.run("--store-uri", f"s3://{bucket}/line")
    assert done.returncode == 0, done.stderr
    (folder,) = (command.folder / "yololine-runs").iterdir()
    assert (folder / "logs" / "train_detector.log").exists()
    assert f"report  s3://{bucket}/line/runs/{folder.name}/report.html" in done.stdout
    assert re.search(r"train_detector done in ", done.stdout)


def _in_a_terminal(command: Command) -> tuple[subprocess.Popen[bytes], int]:
    """The command, training without end, and its terminal's other side."""
    terminal, inside = pty.openpty()
    # Makes the terminal the process's own, so that its ^C is a signal.
    program = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *command.argv, "--epochs", "500"],
        cwd=command.folder,
        env={**command.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "30"},
        stdin=inside,
        stdout=inside,
        stderr=inside,
        start_new_session=True,
    )
    os.close(inside)
    return process, terminal


def _read_until(terminal: int, text: str | None) -> str:
    """What the terminal shows until it has shown `text`, or until it is closed."""
    shown = ""
    deadline = time.monotonic() + 60
    while text is None or text not in shown:
        assert time.monotonic() < deadline, shown
        if select.select([terminal], [], [], 0.1)[0]:
            data = b""
            with suppress(OSError):
                data = os.read(terminal, 65536)
            if not data:
                break
            shown += data.decode(errors="replace")
    return shown
