"""Pictures into the model's input: letterboxed, RGB, 0..1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

PADDING_GREY = 114
"""What ultralytics pads with in training; another value would be a border to learn anew."""
STRIDE_PIXELS = 32
"""Sides of an input are multiples of the detector's coarsest cell."""


class Letterbox(NamedTuple):
    """How one picture lies in the input: input = picture * scale + offset, on each axis."""

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A picture as the model takes it.

    Attributes:
        pixels: (3, h, w) float32, RGB in 0..1.
        place: Where the picture lies in it; and the picture's own width and height, pixels.
    """

    pixels: np.ndarray
    place: Letterbox


def prepare(image_rgb: np.ndarray, size: int, *, square: bool = True) -> Prepared:
    """Scale a picture to `size` pixels on its longer side, and centre it on grey.

    Args:
        image_rgb: (h, w, 3) uint8.
        size: Side of the square input, pixels.
        square: Whether grey fills the whole square, and not only up to the next multiple of
            `STRIDE_PIXELS`: a photograph of 4:3 is a quarter less work then.
    """
    height, width = image_rgb.shape[:2]
    scale = min(size / height, size / width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    if (new_width, new_height) != (width, height):
        image_rgb = cv2.resize(image_rgb, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    spare_x, spare_y = size - new_width, size - new_height
    if not square:
        spare_x, spare_y = spare_x % STRIDE_PIXELS, spare_y % STRIDE_PIXELS
    left, top = round(spare_x / 2 - 0.1), round(spare_y / 2 - 0.1)
    pixels = np.empty((3, new_height + spare_y, new_width + spare_x), np.float32)
    right, bottom = left + new_width, top + new_height
    for grey in (pixels[:, :top], pixels[:, bottom:], pixels[..., :left], pixels[..., right:]):
        grey[...] = np.float32(PADDING_GREY) / 255
    for channel in range(3):
        np.divide(
            image_rgb[..., channel],
            np.float32(255),
            out=pixels[channel, top:bottom, left:right],
        )
    # Not `scale`: the resized picture is of whole pixels, and so are the boxes found in it.
    place = Letterbox(new_width / width, new_height / height, left, top, width, height)
    return Prepared(pixels=pixels, place=place)
