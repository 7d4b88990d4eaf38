"""Numbers, times and names as a person reads them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

MISSING = "\N{EN DASH}"
_GAP = "\N{NO-BREAK SPACE}"


def duration(seconds: Any) -> str:
    """`30 ms`, `0.4 s`, `42 s`, `2 min 14 s`, `3 h 5 min`, `2 d 4 h`."""
    value = _finite(seconds)
    if value is None:
        return MISSING
    if 0 < value < 0.0995:
        return f"{value * 1000:.0f}{_GAP}ms"
    if value < 9.95:
        return f"{max(value, 0):.{0 if value.is_integer() else 1}f}{_GAP}s"
    whole = round(value)
    for unit, size, smaller, smaller_size in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= size:
            rest = whole % size // smaller_size
            tail = f"{_GAP}{rest}{_GAP}{smaller}" if rest else ""
            return f"{whole // size}{_GAP}{unit}{tail}"
    return f"{whole}{_GAP}s"


def size(size_bytes: Any) -> str:
    """`812 B`, `3.4 MB`: powers of 1000."""
    value = _finite(size_bytes)
    if value is None:
        return MISSING
    for unit in ("B", "kB", "MB", "GB"):
        if abs(value) < 999.5:
            return f"{value:.0f}{_GAP}{unit}" if unit == "B" else f"{value:.3g}{_GAP}{unit}"
        value /= 1000
    return f"{value:.3g}{_GAP}TB"


def count(value: Any) -> str:
    """`4,888`."""
    number = _finite(value)
    return MISSING if number is None else f"{number:,.0f}"


def fraction(value: Any, digits: int = 3) -> str:
    """A fraction of 1 with three digits, `0.713`."""
    number = _finite(value)
    return MISSING if number is None else f"{number:.{digits}f}"


def percent(value: Any) -> str:
    """A fraction of 1 in percent, `9.8 %`."""
    number = _finite(value)
    if number is None:
        return MISSING
    digits = 0 if number in (0, 1) or abs(number) >= 0.0995 else 1
    return f"{number * 100:.{digits}f}{_GAP}%"


def significant(value: Any) -> str:
    """Three significant digits, whatever the magnitude: `0.0123`, `4.1e-06`."""
    number = _finite(value)
    return MISSING if number is None else f"{number:.3g}"


def plural(number: Any, one: str, many: str = "") -> str:
    """`1 file`, `4,888 files`."""
    return f"{count(number)}{_GAP}{one if number == 1 else many or one + 's'}"


def moment(value: datetime | None) -> str:
    """`3 May 2025, 14:07 UTC`."""
    if value is None:
        return MISSING
    at = value.astimezone(UTC)
    return f"{at.day}{_GAP}{at:%B %Y, %H:%M} UTC"


def plain(value: Any) -> str:
    """A parameter or fact of any kind on one line."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, default=str)


def pretty(value: Any) -> str:
    """A nested fact on several lines."""
    return json.dumps(value, ensure_ascii=False, default=str, indent=1)


def spaced(name: Any) -> str:
    """`box_outside_image` as `box outside image`."""
    return str(name).replace("_", " ").strip()


def share(part: Any, whole: Any) -> float:
    """`part / whole`, between 0 and 1; 0 where either is missing."""
    numerator, denominator = _finite(part), _finite(whole)
    if numerator is None or not denominator:
        return 0.0
    return min(max(numerator / denominator, 0.0), 1.0)


def largest(values: Any) -> float:
    """The largest number among a mapping's values or a sequence's items, 0 where there is none."""
    items = values.values() if isinstance(values, Mapping) else values or ()
    return max((number for item in items if (number := _finite(item)) is not None), default=0.0)


def total(values: Any) -> float:
    """The sum of a mapping's numbers."""
    items = values.values() if isinstance(values, Mapping) else values or ()
    return sum(number for item in items if (number := _finite(item)) is not None)


def short_id(run_id: Any) -> str:
    """Enough of a run's id to recognise it: the first block of a UUID, the start of a long name."""
    text = str(run_id)
    if len(text) == 36 and text[8] == "-":
        return text[:8]
    return text if len(text) <= 24 else f"{text[:22]}\N{HORIZONTAL ELLIPSIS}"


def metric(name: Any) -> str:
    """`ap50_95` as `AP50-95`, `per_class.WBC.ap50` as `AP50 of WBC`."""
    known = {"ap50": "AP50", "ap50_95": "AP50-95", "f1": "F1"}
    text = str(name)
    if text.startswith("per_class.") and text.count(".") >= 2:
        class_name, _, of_class = text.removeprefix("per_class.").rpartition(".")
        return f"{known.get(of_class, spaced(of_class))} of {class_name}"
    return known.get(text, spaced(text))


def latency(milliseconds: Any) -> str:
    """`12.3 ms`, or each of several figures by name."""
    if isinstance(milliseconds, Mapping):
        return ", ".join(f"{spaced(name)} {latency(value)}" for name, value in milliseconds.items())
    number = _finite(milliseconds)
    return MISSING if number is None else f"{number:.3g}{_GAP}ms"


def parts(text: str) -> list[tuple[str, bool]]:
    """The text cut where numbers and units meet, and whether each piece is a unit."""
    pieces = (piece.strip() for piece in re.split(r"([^\W\d]+)", text))
    return [(piece, piece[0].isalpha()) for piece in pieces if piece]


def sentence(text: Any) -> str:
    """The text with a capital letter at its start and a stop at its end."""
    stripped = str(text).strip()
    stop = "" if stripped.endswith((".", "!", "?", ":")) else "."
    return f"{stripped[:1].upper()}{stripped[1:]}{stop}"


def without(message: Any, remedy: Any) -> str:
    """An error's message without the remedy it ends with, which the page shows by itself."""
    text = str(message)
    return text.removesuffix(f"; {remedy}") if remedy else text


def _finite(value: Any) -> float | None:
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None
