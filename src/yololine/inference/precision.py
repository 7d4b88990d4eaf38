"""Of the arithmetic within an engine; apart, since the registry goes without numpy."""

from __future__ import annotations

from typing import Literal

Precision = Literal["f32", "bf16"]
"""What goes into an engine and comes out is float32 in any case."""
