"""One JSON object a line on standard error, whoever writes there."""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

import orjson

LOGGER = logging.getLogger("yololine.serving")
_NATIVE = logging.getLogger("stderr")
_OTHERS = ("kserve", "kserve.trace", "uvicorn", "uvicorn.error")
_STDERR = 2


class JsonLines(logging.Formatter):
    """A record's message, and what `extra={"fields": {...}}` holds."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "fields", {}))
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


@contextmanager
def in_one_form(level: str) -> Iterator[None]:
    """Log in one form, whichever library speaks, be it in Python or not.

    kserve's and uvicorn's lines of each start are only of interest while something is sought. What
    is written after this is as it was before: words for people.
    """
    own = os.dup(_STDERR)
    reading, writing = os.pipe()
    # Who holds the interpreter's lock must not wait for the reader, which needs that lock.
    os.set_blocking(writing, False)
    sys.stderr.flush()
    os.dup2(writing, _STDERR)
    os.close(writing)
    relay = threading.Thread(target=_relay, args=(reading,), name="stderr", daemon=True)
    relay.start()
    thread_hook = threading.excepthook
    with os.fdopen(own, "w", encoding="utf-8") as stream:
        # Of a crash nobody is left to make a line.
        faulthandler.enable(stream)
        threading.excepthook = _note_end_of_thread
        handler = logging.StreamHandler(stream)
        handler.setFormatter(JsonLines())
        handler.addFilter(_is_a_fault)
        _send_to([handler], level)
        try:
            yield
        finally:
            threading.excepthook = thread_hook
            faulthandler.disable()
            sys.stderr.flush()
            # It was the pipe's last writer: the reader ends.
            os.dup2(own, _STDERR)
            relay.join()
            _send_to([], level)


def _send_to(handlers: list[logging.Handler], level: str) -> None:
    logging.getLogger().handlers = handlers
    LOGGER.setLevel(level)
    for name in _OTHERS:
        other = logging.getLogger(name)
        # kserve makes one for each logger that has none of its own.
        other.handlers = handlers
        other.propagate = False
        other.setLevel("INFO" if level == "DEBUG" else "WARNING")
    # One line of ours for each request exists; uvicorn would write another.
    logging.getLogger("uvicorn.access").handlers = []
    logging.getLogger("uvicorn.access").propagate = False
    logging.captureWarnings(bool(handlers))
    # Of a picture's damaged metadata, and of what kserve calls: nobody can mend them here.
    warnings.filterwarnings("ignore", module=r"(PIL|kserve|fastapi)\b")


def event(message: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log an event with its fields."""
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, message, extra={"fields": fields})


def _relay(reading: int) -> None:
    """Make lines of what libraries write themselves: libjpeg does of each damaged picture."""
    with os.fdopen(reading, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            _NATIVE.warning("%s", line.rstrip("\n")[:1000])


def _note_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    error = ended.exc_value or ended.exc_type()
    LOGGER.error("a thread ended", exc_info=error)


def _is_a_fault(record: logging.LogRecord) -> bool:
    """False of a probe that came too early or late: kserve logs each with a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ not in ("ServerNotReady", "ModelNotReady")
