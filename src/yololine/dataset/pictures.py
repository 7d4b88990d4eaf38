"""One picture: decoded whole, brought into the form that is stored, hashed."""

from __future__ import annotations

import hashlib
import io
import os
import re
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image, UnidentifiedImageError

from yololine.inference.decoding import DECODING_ERRORS, to_rgb

MAX_BYTES = 512 << 20
"""Of one file: 100 megapixels without any compression, 16 bits a channel, take a little more."""
MAX_PIXELS = 100_000_000
LARGE_PIXELS = 25_000_000
MIN_SIDE_PX = 8
MAX_SIDE_PX = 65_500
"""What libjpeg writes, and so what an augmented copy can be."""
# Threads that wait for files may be many; decoding takes memory and gains nothing beyond the cores.
_decoding = threading.BoundedSemaphore(os.cpu_count() or 1)
_large = threading.Lock()
# JPEG opens MPO too, which phones write: a JPEG with more pictures behind the first.
_FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF")
_SUFFIX = {"JPEG": ".jpg", "MPO": ".jpg", "PNG": ".png", "BMP": ".bmp", "WEBP": ".webp"}
_EXIF_ORIENTATION = 0x0112
# What makes each orientation upright; EXIF 2.32, tag 274.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_PNG_BIT_DEPTH_AT = 24
_TIFF_BITS_PER_SAMPLE = 258
_NEARLY_BLACK = 15
"""Of 255: what 12 bits that lie in 16 come to."""
# First bytes of what is often found under a picture's name: no picture, or none that is read.
_KNOWN_CONTENT = (
    (re.compile(rb"\s*(<!doctype html|<html|<head|<body)", re.IGNORECASE), "HTML"),
    (re.compile(rb"\s*<(\?xml|svg|Error)"), "XML"),
    (re.compile(rb"GIF8[79]a"), "a GIF"),
    (re.compile(rb"....ftyp(hei|hev|mif1|msf1)", re.DOTALL), "a HEIC picture"),
    (re.compile(rb"....ftypavi", re.DOTALL), "an AVIF picture"),
    (re.compile(rb"\0\0\0\x0cjP"), "a JPEG 2000 picture"),
    (re.compile(rb"%PDF"), "a PDF"),
    (re.compile(rb"PK\x03\x04"), "a ZIP file"),
    (re.compile(rb"\x1f\x8b"), "a gzip file"),
    (re.compile(rb"version https://git-lfs"), "a pointer of Git LFS: its content was not fetched"),
)


class PictureFault(StrEnum):
    """Why a picture cannot be used."""

    UNREADABLE = "not a readable picture"
    TRUNCATED = "truncated picture"
    TOO_LARGE = "more than 100 megapixels"
    TOO_LONG = "a side over 65500 pixels"
    TOO_MANY_BYTES = "picture file of more than 512 MiB"
    TOO_SMALL = "a side under 8 pixels"
    PIXEL_TYPE = "unsupported pixel type"
    TOO_DARK = "16-bit picture that uses 12 bits or fewer"


class BadPicture(Exception):
    """The picture cannot be used; `detail` says what was met."""

    def __init__(self, reason: PictureFault, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, kw_only=True)
class Picture:
    """An upright 8-bit RGB or greyscale picture.

    `content` is the file to store, of type `suffix`. `pixels_sha256` is of the decoded RGB pixels,
    so the same in every lossless container; `perceptual_hash` a 64-bit dHash, 16 hex digits.
    `normalised` names what was changed from the original file, "" where content is the original.
    """

    content: bytes
    suffix: str
    size_wh: tuple[int, int]
    raw_size_wh: tuple[int, int]
    """Before EXIF's orientation was applied."""
    pixels_sha256: str
    perceptual_hash: str
    normalised: str


@contextmanager
def own_pixel_limit() -> Iterator[None]:
    """Replace Pillow's own limit by `MAX_PIXELS` of `read_picture` for a while.

    Pillow only warns between its limit and twice that, which is neither a yes nor a no. The
    setting is the process's, so it is made around the threads, not in them.
    """
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings():
            # Damaged EXIF or metadata: the pixels decide whether the picture is good.
            warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
            yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def read_picture(data: bytes) -> Picture:
    """Decode every pixel and bring the picture into the stored form.

    What is no plain upright 8-bit RGB or greyscale JPEG, PNG, BMP or WebP becomes an RGB PNG:
    transparency is cut off, 16-bit values are divided by 256, EXIF's orientation is applied, of
    several frames the first is taken.

    Raises:
        BadPicture: It does not decode, or is too large, too small, of floating-point or 32-bit
            values, or has 16-bit values of which nothing but black would be left.
    """
    if len(data) > MAX_BYTES:
        raise too_many_bytes(len(data))
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            raw_size_wh = image.size
            _check_size(raw_size_wh)
            with _decoding, _in_turn(raw_size_wh):
                image.load()
                turn = _TURNS.get(_orientation(image))
                changes = _changes(image, data) + (["EXIF orientation"] if turn is not None else [])
                rgb = _to_rgb(image)
                if _sixteen_bits(image, data):
                    _check_brightness(rgb)
                rgb = rgb.transpose(turn) if turn is not None else rgb
                return Picture(
                    content=_png(rgb) if changes else data,
                    suffix=".png" if changes else _SUFFIX[image.format or ""],
                    size_wh=rgb.size,
                    raw_size_wh=raw_size_wh,
                    pixels_sha256=_pixels_sha256(rgb),
                    perceptual_hash=difference_hash(rgb),
                    normalised=", ".join(changes),
                )
    except DECODING_ERRORS as error:
        raise _bad(data, error) from error


def too_many_bytes(size_bytes: int) -> BadPicture:
    """The refusal of a file that is not even read."""
    return BadPicture(PictureFault.TOO_MANY_BYTES, f"{size_bytes} bytes")


def open_rgb(content: bytes) -> Image.Image:
    """Decode a stored picture, for drawing or augmenting it."""
    with Image.open(io.BytesIO(content), formats=_FORMATS) as image:
        return image.convert("RGB")


def difference_hash(image: Image.Image) -> str:
    """64-bit dHash, 16 hex digits: whether brightness rises from each cell of 9 x 8 to the next.

    Krawetz, "Kind of like that" (2013); equal to imagehash.dhash.
    """
    small = image.convert("L").resize((9, 8), Image.Resampling.LANCZOS)
    cells = np.asarray(small)
    return np.packbits(cells[:, 1:] > cells[:, :-1]).tobytes().hex()


def _check_size(size_wh: tuple[int, int]) -> None:
    width, height = size_wh
    if width * height > MAX_PIXELS:
        raise BadPicture(PictureFault.TOO_LARGE, f"{width} x {height} px")
    if max(size_wh) > MAX_SIDE_PX:
        raise BadPicture(PictureFault.TOO_LONG, f"{width} x {height} px: cut it into tiles")
    if min(size_wh) < MIN_SIDE_PX:
        raise BadPicture(PictureFault.TOO_SMALL, f"{width} x {height} px")


def _check_brightness(rgb: Image.Image) -> None:
    """Refuse a 16-bit picture that would come out black, as 12 bits in 16 do.

    Nothing in the file says how many of its bits count. To guess it from each picture would make
    a dark one bright, and a camera's pictures differ by what they show.
    """
    brightest = max(int(high) for _, high in rgb.getextrema())  # type: ignore[misc]
    if brightest <= _NEARLY_BLACK:
        raise BadPicture(
            PictureFault.TOO_DARK,
            f"brightest value {brightest} of 255 once divided by 256: scale 12-bit values by 16, "
            "or save 8 bits, here and in what the model will be given",
        )


def _bad(data: bytes, error: Exception) -> BadPicture:
    if not data:
        return BadPicture(PictureFault.UNREADABLE, "the file is empty")
    words = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        known = (content for start, content in _KNOWN_CONTENT if start.match(data))
        found = next(known, f"of an unknown kind: its first bytes are {data[:8].hex(' ')}")
        words = "it is " + found
    reason = PictureFault.TRUNCATED if "truncated" in words.lower() else PictureFault.UNREADABLE
    return BadPicture(reason, words[:200])


def _in_turn(size_wh: tuple[int, int]) -> AbstractContextManager[object]:
    """Large pictures one at a time: each takes a gigabyte while it is decoded and hashed."""
    return _large if size_wh[0] * size_wh[1] > LARGE_PIXELS else nullcontext()


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 (upright) where its data is damaged: the pixels are good."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except DECODING_ERRORS:
        return 1


def _changes(image: Image.Image, data: bytes) -> list[str]:
    """What keeps the file from being stored as it is."""
    changes: list[str] = []
    if image.format not in _SUFFIX:
        changes.append(str(image.format))
    if image.mode not in {"RGB", "L"}:
        changes.append(f"mode {image.mode}")
    elif _sixteen_bits(image, data):
        changes.append("16 bits per channel")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        changes.append(f"first of {frames} frames")
    return changes


def _sixteen_bits(image: Image.Image, data: bytes) -> bool:
    """Whether the file holds 16-bit values; of several channels Pillow has halved them already."""
    if image.mode[0] == "I":
        return True
    if image.format == "PNG":
        return data[_PNG_BIT_DEPTH_AT] == 16
    if image.format == "TIFF":
        return 16 in getattr(image, "tag_v2", {}).get(_TIFF_BITS_PER_SAMPLE, ())
    return False


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I":
        values = np.asarray(image)
        if values.min() >= 0 and values.max() <= np.iinfo(np.uint16).max:
            image = Image.fromarray(values.astype(np.uint16))
    if image.mode in {"I", "F"}:
        raise BadPicture(
            PictureFault.PIXEL_TYPE,
            f"mode {image.mode} ({'32-bit' if image.mode == 'I' else 'floating-point'} values)",
        )
    return to_rgb(image)


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    # Level 1 costs a tenth of the time of the default and a few percent of size.
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _pixels_sha256(rgb: Image.Image) -> str:
    digest = hashlib.sha256(struct.pack("<II", *rgb.size))
    digest.update(rgb.tobytes())
    return digest.hexdigest()
