"""Which ultralytics trains here: part of every trained result's name."""

from __future__ import annotations

import importlib.metadata


def ultralytics_release() -> str:
    """The installed version, read without importing it (which takes seconds)."""
    return importlib.metadata.version("ultralytics")
