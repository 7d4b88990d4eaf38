"""One JSON object a line on standard error."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime

import orjson

LOGGER = logging.getLogger("yololine.serving")
_OTHERS = ("kserve", "kserve.trace", "uvicorn", "uvicorn.error")


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


def configure(level: str) -> None:
    """Log in one form, whichever library speaks.

    kserve's and uvicorn's lines of each start are only of interest while something is sought.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    handler.addFilter(_is_a_fault)
    LOGGER.handlers = [handler]
    LOGGER.setLevel(level)
    LOGGER.propagate = False
    for name in _OTHERS:
        other = logging.getLogger(name)
        other.handlers = [handler]
        other.setLevel("INFO" if level == "DEBUG" else "WARNING")
        other.propagate = False
    # One of its own for each request exists; uvicorn would write another.
    logging.getLogger("uvicorn.access").handlers = []
    logging.getLogger("uvicorn.access").propagate = False


def event(message: str, *, level: int = logging.INFO, **fields: object) -> None:
    """Log an event with its fields."""
    if LOGGER.isEnabledFor(level):
        LOGGER.log(level, message, extra={"fields": fields})


def _is_a_fault(record: logging.LogRecord) -> bool:
    """False of a probe that came too early or late: kserve logs each with a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ not in ("ServerNotReady", "ModelNotReady")
