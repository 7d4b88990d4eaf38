"""Everything on standard error is one JSON object a line."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import ctypes, logging, os, sys, threading, warnings
from yololine.serving.logs import event, in_one_form

with in_one_form("INFO"):
    event("one", request_id="a")
    event("not seen", level=logging.DEBUG)
    logging.getLogger("of.somebody").warning("two\\nlines")
    os.write(2, b"Corrupt JPEG data: 1 extraneous bytes before marker 0xd9\\n")
    print("printed", file=sys.stderr)
    warnings.warn("old", RuntimeWarning)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    # More than a pipe holds, from who holds the lock that the reader needs: it must not wait.
    ctypes.PyDLL(None).write(2, b"x" * 5000000, 5000000)
print("words for people", file=sys.stderr)
"""


def test_whoever_writes_there() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=60, check=True
    )
    *lines, last = done.stderr.splitlines()
    assert last == "words for people"
    told = [json.loads(line) for line in lines]
    assert all(one.keys() >= {"time", "level", "logger", "message"} for one in told)
    messages = [one["message"] for one in told]
    assert messages[0] == "one"
    assert told[0]["request_id"] == "a"
    assert "not seen" not in messages
    for words in ("two\nlines", "printed", "a thread ended"):
        assert words in messages
    assert "Corrupt JPEG data: 1 extraneous bytes before marker 0xd9" in messages
    assert any("RuntimeWarning: old" in message for message in messages)
    (traceback,) = (one["traceback"] for one in told if "traceback" in one)
    assert "ZeroDivisionError" in traceback


def test_a_crash_leaves_its_trace() -> None:
    script = (
        "import ctypes\n"
        "from yololine.serving.logs import in_one_form\n"
        "with in_one_form('INFO'):\n"
        "    ctypes.string_at(0)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode < 0
    assert "Segmentation fault" in done.stderr
