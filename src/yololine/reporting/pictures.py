"""Small pictures for reports: photographs with boxes on them, as JPEG.

Every function shrinks first and draws after, so that lines stay legible however large the
photograph was. Names of classes are never drawn into a picture: the page writes them over it, in
any script (`boxes.py`).

Shapes: images (h, w, 3) uint8 RGB, or any Pillow image; boxes_xyxy (n, 4) in pixels of the image as
it was given.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from yololine.reporting.palette import INK, PAPER

Picture = Image.Image | npt.NDArray[np.uint8]
Corners = tuple[float, float, float, float]

_MAX_ENLARGEMENT = 2.0
"""Small images are enlarged this much at most: boxes on 160 pixels cannot be read, blur neither."""
_JPEG_QUALITY = 82
_LINE_PX = 2
_DASH_PX = 6
_FONT_PX = 12
_CASING = "#101318a0"


def thumbnail(image: Picture, max_width: int = 480) -> bytes:
    """The image as JPEG, at most `max_width` pixels wide; never enlarged."""
    return to_jpeg(_fit(_rgb(image), max_width, largest_scale=1.0)[0])


def to_jpeg(image: Image.Image) -> bytes:
    """The picture as it is, as JPEG."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return buffer.getvalue()


def draw_boxes(
    image: Picture,
    boxes_xyxy: npt.ArrayLike,
    *,
    colours: Sequence[str],
    dashed: Sequence[bool] = (),
    max_width: int = 480,
) -> Image.Image:
    """The image, fitted to `max_width`, with boxes; those that are not finite are left out.

    Args:
        image: The photograph.
        boxes_xyxy: (n, 4), pixels of `image`; the first is drawn on top.
        colours: `#rrggbb` of each box.
        dashed: Whether each box's line is dashed, or nothing for all solid.
        max_width: Of the result, pixels.
    """
    picture, scale = _fit(_rgb(image), max_width, largest_scale=_MAX_ENLARGEMENT)
    boxes = _boxes(boxes_xyxy)
    draw = ImageDraw.Draw(picture, "RGBA")
    drawn = [index for index in range(len(boxes)) if np.isfinite(boxes[index]).all()]
    for index in reversed(drawn):
        corners = _corners(boxes[index] * scale)
        _outline(draw, corners, colours[index], dashed=bool(dashed) and dashed[index])
    return picture


def side_by_side(left: Image.Image, right: Image.Image, titles: tuple[str, str]) -> Image.Image:
    """Two pictures beside each other on one canvas, each with its title in its corner."""
    gap = 6
    height = max(left.height, right.height)
    canvas = Image.new("RGB", (left.width + gap + right.width, height), PAPER)
    canvas.paste(left, (0, 0))
    canvas.paste(right, (left.width + gap, 0))
    draw = ImageDraw.Draw(canvas)
    for title, x, panel in zip(titles, (0, left.width + gap), (left, right), strict=True):
        _chip(draw, (x + 6, panel.height - _FONT_PX - 10), title)
    return canvas


def _rgb(image: Picture) -> Image.Image:
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    if picture.mode.startswith(("I", "F")):
        # 16-bit cameras: Pillow's own conversion clips at 255, which shows a white sheet.
        values = np.asarray(picture, dtype=np.float64)
        span = float(np.ptp(values)) or 1.0
        picture = Image.fromarray(((values - values.min()) / span * 255).astype(np.uint8))
    return picture.convert("RGB")


def _fit(
    picture: Image.Image, max_width: int, *, largest_scale: float
) -> tuple[Image.Image, float]:
    """A copy scaled to the width, and the scale."""
    scale = min(max_width / picture.width, largest_scale)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    if size == picture.size:
        return picture.copy(), 1.0
    resample = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.BICUBIC
    return picture.resize(size, resample), scale


def _boxes(boxes_xyxy: npt.ArrayLike) -> npt.NDArray[np.float64]:
    return np.asarray(boxes_xyxy, dtype=np.float64).reshape(-1, 4)


def _corners(box: npt.NDArray[Any]) -> Corners:
    x1, y1, x2, y2 = (float(value) for value in np.clip(box, -1e5, 1e5))
    return min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2)


def _outline(draw: ImageDraw.ImageDraw, corners: Corners, colour: str, *, dashed: bool) -> None:
    x1, y1 = corners[:2]
    x2, y2 = max(corners[2], x1 + 1), max(corners[3], y1 + 1)  # a box of no width shows too
    # A dark casing: the colour is seen on bright and dark ground alike.
    draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=_CASING, width=_LINE_PX + 2)
    if not dashed:
        draw.rectangle((x1, y1, x2, y2), outline=colour, width=_LINE_PX)
        return
    for start in np.arange(x1, x2, 2 * _DASH_PX):
        stop = min(start + _DASH_PX, x2)
        draw.rectangle((start, y1, stop, y1 + _LINE_PX - 1), fill=colour)
        draw.rectangle((start, max(y2 - _LINE_PX + 1, y1), stop, y2), fill=colour)
    for start in np.arange(y1, y2, 2 * _DASH_PX):
        stop = min(start + _DASH_PX, y2)
        draw.rectangle((x1, start, x1 + _LINE_PX - 1, stop), fill=colour)
        draw.rectangle((max(x2 - _LINE_PX + 1, x1), start, x2, stop), fill=colour)


def _chip(draw: ImageDraw.ImageDraw, xy: tuple[float, float], text: str) -> None:
    x, y = xy
    width, height = round(draw.textlength(text, font=_font())) + 8, _FONT_PX + 4
    draw.rounded_rectangle((x, y, x + width, y + height), radius=3, fill=INK)
    draw.text((x + 4, y + height / 2), text, font=_font(), fill=PAPER, anchor="lm")


@functools.cache
def _font() -> Any:
    return ImageFont.load_default(_FONT_PX)
