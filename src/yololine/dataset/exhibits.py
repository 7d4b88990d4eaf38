"""Small pictures that show a person what was found."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import zip_longest

from PIL import Image, ImageDraw

from yololine.dataset.labels import BoxXywh

MAX_EXHIBITS = 24
MAX_WIDTH_PX = 320
MAX_HEIGHT_PX = 640
GOOD_RGB = (0, 170, 60)
FAULTY_RGB = (225, 20, 30)
_GAP_PX = 6
_MIN_DRAWN_PX = 7
_DASH_PX = 6


def draw_boxes(
    image: Image.Image, good: Sequence[BoxXywh] = (), faulty: Sequence[BoxXywh] = ()
) -> Image.Image:
    """The picture, at most 320 px wide, with good boxes in green and faulty ones in red.

    A faulty box that leaves the picture is drawn to its border and dashed; one without extent is
    drawn a few pixels large.
    """
    scale = min(1.0, MAX_WIDTH_PX / image.width, MAX_HEIGHT_PX / image.height)
    size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
    drawn = image.convert("RGB").resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    pen = ImageDraw.Draw(drawn)
    for boxes, colour in ((good, GOOD_RGB), (faulty, FAULTY_RGB)):
        for x, y, w, h in boxes:
            _draw_box(pen, size, (x * scale, y * scale, (x + w) * scale, (y + h) * scale), colour)
    return drawn


def side_by_side(left: Image.Image, right: Image.Image) -> Image.Image:
    """Two pictures next to each other, at most 320 px wide together."""
    width = (MAX_WIDTH_PX - _GAP_PX) // 2
    halves = []
    for image in (left, right):
        scale = min(1.0, width / image.width)
        size = max(1, round(image.width * scale)), max(1, round(image.height * scale))
        halves.append(image.convert("RGB").resize(size, Image.Resampling.BILINEAR))
    a, b = halves
    sheet = Image.new("RGB", (a.width + _GAP_PX + b.width, max(a.height, b.height)), "white")
    sheet.paste(a, (0, 0))
    sheet.paste(b, (a.width + _GAP_PX, 0))
    return sheet


class Gallery:
    """A few pictures for each reason, so that one common fault does not hide the rare ones."""

    def __init__(self) -> None:
        self._by_reason: dict[str, list[tuple[str, bytes]]] = {}

    def wants(self, reason: str) -> bool:
        """Whether a picture for this reason may still be chosen."""
        return len(self._by_reason.get(reason, ())) < MAX_EXHIBITS

    def add(self, reason: str, file: str, drawn: Image.Image) -> None:
        """Offer a picture that shows what is wrong with `file`."""
        self._by_reason.setdefault(reason, []).append((file, to_jpeg(drawn)))

    def chosen(self) -> tuple[dict[str, bytes], dict[str, str]]:
        """At most `MAX_EXHIBITS`, one of each reason in turn: name -> JPEG, and file -> name."""
        rounds = zip_longest(*([(r, *shown) for shown in s] for r, s in self._by_reason.items()))
        turns = [turn for one_round in rounds for turn in one_round if turn is not None]
        jpegs: dict[str, bytes] = {}
        names: dict[str, str] = {}
        for number, (reason, file, jpeg) in enumerate(turns[:MAX_EXHIBITS], start=1):
            name = f"{number:02d}-{reason.replace(' ', '-')}.jpg"
            jpegs[name] = jpeg
            names[file] = name
        return jpegs, names


def to_jpeg(image: Image.Image) -> bytes:
    """For a report: small, not faithful."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=80)
    return file.getvalue()


def _draw_box(
    pen: ImageDraw.ImageDraw,
    size_wh: tuple[int, int],
    box_xyxy: tuple[float, float, float, float],
    colour: tuple[int, int, int],
) -> None:
    width, height = size_wh
    x1, y1, x2, y2 = box_xyxy
    x1, x2 = _grown(min(x1, x2), max(x1, x2))
    y1, y2 = _grown(min(y1, y2), max(y1, y2))
    # Within two pixels of the border is rounding, not leaving it.
    leaves = colour == FAULTY_RGB and (x1 < -2 or y1 < -2 or x2 > width + 2 or y2 > height + 2)
    left, right = _clamped(x1, width - 1), _clamped(x2, width - 1)
    top, bottom = _clamped(y1, height - 1), _clamped(y2, height - 1)
    if not leaves:
        pen.rectangle((left, top, right, bottom), outline=colour, width=2)
        return
    for y in (top, bottom):
        for x in range(left, right + 1, 2 * _DASH_PX):
            pen.line((x, y, min(x + _DASH_PX, right), y), fill=colour, width=2)
    for x in (left, right):
        for y in range(top, bottom + 1, 2 * _DASH_PX):
            pen.line((x, y, x, min(y + _DASH_PX, bottom)), fill=colour, width=2)


def _grown(low: float, high: float) -> tuple[float, float]:
    missing = max(0.0, _MIN_DRAWN_PX - (high - low)) / 2
    return low - missing, high + missing


def _clamped(value: float, limit: int) -> int:
    return round(min(max(value, 0), limit))
