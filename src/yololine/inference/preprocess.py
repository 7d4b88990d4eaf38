"""Pictures into the model's input: letterboxed, RGB, 0..1."""

from __future__ import annotations

import io
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image, ImageOps

PADDING_GREY = 114
"""What ultralytics pads with in training; another value would be a border to learn anew."""


class Letterbox(NamedTuple):
    """How one picture lies in the square input: input = picture * scale + offset, on each axis."""

    scale_x: float
    scale_y: float
    left: int
    top: int
    width: int
    height: int


def decode_rgb(data: bytes) -> np.ndarray:
    """Upright RGB pixels, (h, w, 3) uint8, of an encoded picture, as `to_rgb` makes them."""
    with Image.open(io.BytesIO(data)) as opened:
        return np.asarray(to_rgb(ImageOps.exif_transpose(opened)))


def to_rgb(image: Image.Image) -> Image.Image:
    """8-bit RGB: 16-bit values are divided by 256, transparency is cut off.

    Cleaning stores pictures by the same rules, so what is trained on is what is served.
    """
    if image.mode.startswith("I;16"):
        # Pillow's own conversion would make everything above 255 white.
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.mode == "P":
        # Straight to RGB, a palette's transparent entries would be warned of.
        image = image.convert("RGBA")
    return image.convert("RGB")


def letterbox(image_rgb: np.ndarray, size: int) -> tuple[np.ndarray, Letterbox]:
    """Scale a picture (h, w, 3) uint8 into a (size, size, 3) square, centred on grey."""
    height, width = image_rgb.shape[:2]
    scale = min(size / height, size / width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    if (new_width, new_height) != (width, height):
        image_rgb = cv2.resize(image_rgb, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
    left = round((size - new_width) / 2 - 0.1)
    top = round((size - new_height) / 2 - 0.1)
    square = np.full((size, size, 3), PADDING_GREY, np.uint8)
    square[top : top + new_height, left : left + new_width] = image_rgb
    # Not `scale`: the resized picture is of whole pixels, and so are the boxes found in it.
    place = Letterbox(new_width / width, new_height / height, left, top, width, height)
    return square, place


def letterbox_batch(images_rgb: list[np.ndarray], size: int) -> tuple[np.ndarray, list[Letterbox]]:
    """A batch (n, 3, size, size) float32 in 0..1, and how each picture lies in it."""
    squares, places = zip(*(letterbox(image, size) for image in images_rgb), strict=True)
    batch = np.stack(squares).transpose(0, 3, 1, 2).astype(np.float32) / 255
    return np.ascontiguousarray(batch), list(places)
