"""Encoded pictures into upright RGB pixels: one way for evaluation and for the predictor."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from PIL import (
    BmpImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from yololine.errors import UsageError

Pixels = np.ndarray
# Of these cleaning makes a dataset too. Each reader is called by itself, for `Image.open` has a
# limit of pixels for the whole process, of which it only warns up to twice as many: here the
# limit is the caller's, by `probe`.
_READERS: tuple[tuple[tuple[bytes, ...], Callable[[io.BytesIO], ImageFile.ImageFile]], ...] = (
    ((b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile),
    ((b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile),
    ((b"BM",), BmpImagePlugin.BmpImageFile),
    ((b"RIFF",), WebPImagePlugin.WebPImageFile),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile),
)
KINDS = "JPEG, PNG, BMP, WebP or TIFF"
_EXIF_ORIENTATION = 0x0112
# What makes each orientation upright; EXIF 2.32, tag 274.
_TURNS: dict[int, Callable[[Pixels], Pixels]] = {
    2: lambda pixels: cv2.flip(pixels, 1),
    3: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_180),
    4: lambda pixels: cv2.flip(pixels, 0),
    5: cv2.transpose,
    6: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_CLOCKWISE),
    7: lambda pixels: cv2.rotate(cv2.transpose(pixels), cv2.ROTATE_180),
    8: lambda pixels: cv2.rotate(pixels, cv2.ROTATE_90_COUNTERCLOCKWISE),
}
_ON_ITS_SIDE = range(5, 9)
_JPEG_AS_STORED = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION
DECODING_ERRORS = (
    ArithmeticError,
    AssertionError,
    EOFError,
    LookupError,
    NotImplementedError,
    OSError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""What Pillow raises on damaged files."""
# The one is of a WebP's header, the other of damaged metadata, where warnings are errors.
_READING_ERRORS = (*DECODING_ERRORS, Image.DecompressionBombError, Warning)


class Probe(NamedTuple):
    """What a picture's header says."""

    width: int
    """Of the upright picture, pixels; so is the height. A PNG that has its orientation behind its
    pixels is measured as it lies."""
    height: int
    format: str
    """JPEG, PNG, BMP, WEBP or TIFF."""


def probe(image: bytes) -> Probe:
    """Read a picture's header and none of its pixels: what decoding it would take.

    Raises:
        UsageError: It is no picture of a kind that is read.
    """
    with _opened(image) as opened:
        width, height = opened.size
        if _orientation(opened) in _ON_ITS_SIDE:
            width, height = height, width
        return Probe(width, height, str(opened.format))


def decode_rgb(image: bytes) -> Pixels:
    """Upright RGB pixels, (h, w, 3) uint8, of an encoded picture, as `to_rgb` makes them.

    However large it is: ask `probe` first.

    Raises:
        UsageError: It is no picture, cut short, or of 32-bit or floating-point values.
    """
    with _opened(image) as opened:
        pixels = None
        if opened.format == "JPEG" and opened.mode in {"RGB", "L"}:
            # The same library and the same pixels, without a detour through Pillow's own memory.
            pixels = cv2.imdecode(np.frombuffer(image, np.uint8), _JPEG_AS_STORED)
        if pixels is None:
            pixels = _decoded_by_pillow(opened)
        turn = _TURNS.get(_orientation(opened))
        return turn(pixels) if turn else pixels


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


def _opened(image: bytes) -> ImageFile.ImageFile:
    if not image:
        raise _refused("it is empty")
    for starts, reader in _READERS:
        if image.startswith(starts):
            try:
                opened = reader(io.BytesIO(image))
            except _READING_ERRORS as error:
                raise _refused(str(error) or type(error).__name__) from error
            if min(opened.size) < 1:
                raise _refused(f"it has {opened.size[0]} x {opened.size[1]} pixels")
            return opened
    raise _refused(f"its first bytes are {image[:8].hex(' ')}")


def _decoded_by_pillow(opened: ImageFile.ImageFile) -> Pixels:
    try:
        opened.load()
        if opened.mode in {"I", "F"}:
            return _decoded_values(np.asarray(opened))
        return np.asarray(to_rgb(opened))
    except _READING_ERRORS as error:
        raise _refused(str(error) or type(error).__name__) from error


def _decoded_values(values: np.ndarray) -> Pixels:
    """Of 32-bit values those that are 16-bit ones, as some files hold them."""
    if values.dtype.kind == "f" or values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        kind = "floating-point" if values.dtype.kind == "f" else "32-bit"
        raise _refused(f"its pixels are {kind} values")
    return np.asarray(to_rgb(Image.fromarray(values.astype(np.uint16))))


def _orientation(opened: ImageFile.ImageFile) -> int:
    """EXIF's orientation, 1 (upright) where its data is damaged: the pixels are good."""
    try:
        # A PNG's own reads all of its pixels first, for EXIF may lie behind them: a bomb's too.
        return int(Image.Image.getexif(opened).get(_EXIF_ORIENTATION, 1))
    except _READING_ERRORS:
        return 1


def _refused(words: str) -> UsageError:
    return UsageError(
        "image",
        rule=f"is no picture that can be read ({' '.join(words.split())[:200]})",
        remedy=f"send a whole {KINDS} file",
    )
