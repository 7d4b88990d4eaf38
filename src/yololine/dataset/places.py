"""Where a source may lie: nowhere that a run writes to."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import unquote

from yololine.errors import UsageError
from yololine.storage.local import LocalStore

STORE_FOLDERS = ("checkpoints", "datasets", "models", "results", "runs", "sources")
"""All that is ever written below a store's root."""

_S3 = re.compile(r"(?:s3|minio)://(.*)", re.IGNORECASE | re.DOTALL)
_FILE = re.compile(r"file:(?://(?:localhost)?)?(/.*)", re.IGNORECASE | re.DOTALL)


def check_apart(source_uri: str, store_uri: str) -> None:
    """Refuse a source that would take in what a run writes to the store.

    Nothing is asked of either. Links are followed.

    Raises:
        UsageError: The source is the store, holds it, or is one of its own folders.
    """
    if not source_uri.strip() or not store_uri.strip():
        return  # no places at all: whoever opens them says so
    source, store = _place(source_uri), _place(store_uri)
    if not any(f"{store}{folder}/".startswith(source) for folder in STORE_FOLDERS):
        return
    if source == store:
        rule = "is the store too, so each run would add to its own source"
    else:
        rule = f"takes in the store {store_uri}, so each run would add to its own source"
    raise UsageError(
        f"source_uri={source_uri!r}",
        rule=rule,
        remedy="put the store beside the source, not into it: set store_uri",
    )


def _place(uri: str) -> str:
    """One spelling for a place, with a slash at its end."""
    text = uri.strip()
    if match := _S3.fullmatch(text):
        return f"s3://{match[1].strip('/')}/"
    if match := _FILE.fullmatch(text):
        text = unquote(match[1])
    # As a store has it: ~ is a home, relative paths are absolute; and every link followed.
    return os.path.realpath(LocalStore(Path(text)).root).rstrip("/") + "/"
