"""Boxes over a photograph, drawn by the page: sharp at any size, names in the reader's own fonts.

`templates/examples.html` draws what is worked out here.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from yololine.reporting.palette import ink_on

_MOST = 120
"""Boxes of one photograph: more are a tangle, and a page has a limit."""
_PANEL_PX = 330.0
"""Narrowest panel that shows names: below it the style sheet hides them. Names that fit here fit
wherever the panel is wider, since only the letters keep their size."""
_TAG_HEIGHT_PX = 16.0
_LETTER_PX = 6.6
_WIDE_LETTER_PX = 11.5


@dataclass(frozen=True, kw_only=True)
class Outline:
    """A box; all but the colour in percent of the panel's width and height."""

    x: float
    y: float
    width: float
    height: float
    colour: str
    wrong: bool
    """Missed, or found where nothing is: drawn dashed."""


@dataclass(frozen=True, kw_only=True)
class Tag:
    """A box's name; its corner in percent of the panel."""

    left: float
    top: float
    name: str
    score: float | None
    colour: str
    ink: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """What is drawn over one photograph, and the same in words."""

    outlines: tuple[Outline, ...]
    tags: tuple[Tag, ...]
    summary: str


def panel(
    boxes: Sequence[Mapping[str, Any]] | None,
    *,
    width: int,
    height: int,
    wrong: str,
    colours: Callable[[str], str],
) -> Panel:
    """The boxes of one photograph, 120 at most. A name that would cover an earlier one is left out.

    Args:
        boxes: Each with `name`, `xywh` in fractions of the photograph, `right`, and `score` where
            it was found; the most telling first.
        width: Of the photograph, pixels.
        height: Of the photograph, pixels.
        wrong: What a box that is not right is called: missed, or false.
        colours: The colour of a class.
    """
    drawn = list(islice(_readable(boxes), _MOST))
    outlines: list[Outline] = []
    tags: list[Tag] = []
    taken: list[tuple[float, float, float, float]] = []
    scale_x, scale_y = _PANEL_PX / 100, _PANEL_PX * height / max(width, 1) / 100
    for name, (x, y, w, h), right, score in drawn:
        colour = colours(name)
        outlines.append(Outline(x=x, y=y, width=w, height=h, colour=colour, wrong=not right))
        wide = min(_width_px(name, score), _PANEL_PX)
        left = min(x * scale_x, _PANEL_PX - wide)
        for top in (y * scale_y - _TAG_HEIGHT_PX, y * scale_y + 1, (y + h) * scale_y + 1):
            place = (left, top, left + wide, top + _TAG_HEIGHT_PX)
            if 0 <= top <= 100 * scale_y - _TAG_HEIGHT_PX and not any(
                _overlap(place, other) for other in taken
            ):
                taken.append(place)
                tags.append(
                    Tag(
                        left=left / scale_x,
                        top=top / scale_y,
                        name=name,
                        score=score,
                        colour=colour,
                        ink=ink_on(colour),
                    )
                )
                break
    named = [(name, right) for name, _, right, _ in _readable(boxes)]
    return Panel(outlines=tuple(outlines), tags=tuple(tags), summary=_summary(named, wrong))


def to_draw(
    boxes_xyxy: Any,
    names: Sequence[str],
    *,
    right: Any,
    scores: Any = None,
    width: int,
    height: int,
) -> list[dict[str, Any]]:
    """Boxes as `panel` takes them, wrong ones first: they are what one looks for.

    Args:
        boxes_xyxy: (n, 4), pixels of the photograph.
        names: Of their classes, n.
        right: Whether each is right, n.
        scores: Of each, n, 0..1; None where they are the truth.
        width: Of the photograph, pixels.
        height: Of the photograph, pixels.
    """
    boxes = []
    for index in sorted(range(len(names)), key=lambda i: bool(right[i])):
        x1, y1, x2, y2 = (float(value) for value in boxes_xyxy[index])
        fractions = (x1 / width, y1 / height, (x2 - x1) / width, (y2 - y1) / height)
        boxes.append(
            {
                "name": names[index],
                "xywh": [round(value, 4) for value in fractions],
                "right": bool(right[index]),
                "score": None if scores is None else round(float(scores[index]), 3),
            }
        )
    return boxes


def _readable(
    boxes: Sequence[Mapping[str, Any]] | None,
) -> Iterator[tuple[str, tuple[float, float, float, float], bool, float | None]]:
    """Name, percent, right, score; a box of another version's facts is left out."""
    for box in boxes or ():
        xywh = box.get("xywh") if isinstance(box, Mapping) else None
        if not isinstance(xywh, Sequence) or len(xywh) != 4:
            continue
        if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in xywh):
            continue
        x, y, w, h = (100 * float(value) for value in xywh)
        score = box.get("score")
        yield (
            str(box.get("name", "")),
            (x, y, max(w, 0.0), max(h, 0.0)),
            bool(box.get("right", True)),
            float(score) if isinstance(score, (int, float)) else None,
        )


def _width_px(name: str, score: float | None) -> float:
    letters = name if score is None else f"{name} 0.00"
    return 8 + sum(
        _WIDE_LETTER_PX if unicodedata.east_asian_width(letter) in "WF" else _LETTER_PX
        for letter in letters
    )


def _overlap(
    one: tuple[float, float, float, float], other: tuple[float, float, float, float]
) -> bool:
    return not (
        one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    )


def _summary(named: list[tuple[str, bool]], wrong: str) -> str:
    if not named:
        return "nothing"
    told = []
    for name, count in Counter(name for name, _ in named).items():
        bad = sum(not right for of, right in named if of == name)
        told.append(f"{count} {name}" + (f" ({bad} {wrong})" if bad else ""))
    return ", ".join(told)
