"""One picture: decoded whole, brought into the form that is stored, hashed."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from PIL import Image, UnidentifiedImageError

from yololine.inference.preprocess import to_rgb

MAX_PIXELS = 100_000_000
LARGE_PIXELS = 25_000_000
MIN_SIDE_PX = 8
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
# What Pillow's plugins raise on damaged files.
_DECODING_ERRORS = (
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


class PictureFault(StrEnum):
    """Why a picture cannot be used."""

    UNREADABLE = "not a readable picture"
    TRUNCATED = "truncated picture"
    TOO_LARGE = "more than 100 megapixels"
    TOO_SMALL = "a side under 8 pixels"
    PIXEL_TYPE = "unsupported pixel type"


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
        BadPicture: It does not decode, or is too large, too small, or of floating-point or 32-bit
            values.
    """
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as image:
            raw_size_wh = image.size
            _check_size(raw_size_wh)
            with _decoding, _in_turn(raw_size_wh):
                image.load()
                turn = _TURNS.get(_orientation(image))
                changes = _changes(image, data) + (["EXIF orientation"] if turn is not None else [])
                rgb = _to_rgb(image)
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
    except _DECODING_ERRORS as error:
        raise _bad(data, error) from error


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
    if min(size_wh) < MIN_SIDE_PX:
        raise BadPicture(PictureFault.TOO_SMALL, f"{width} x {height} px")


def _bad(data: bytes, error: Exception) -> BadPicture:
    if not data:
        return BadPicture(PictureFault.UNREADABLE, "the file is empty")
    words = str(error) or type(error).__name__
    if isinstance(error, UnidentifiedImageError):
        words = f"its first bytes are {data[:8].hex(' ')}"
    reason = PictureFault.TRUNCATED if "truncated" in words.lower() else PictureFault.UNREADABLE
    return BadPicture(reason, words[:200])


def _in_turn(size_wh: tuple[int, int]) -> AbstractContextManager[object]:
    """Large pictures one at a time: each takes a gigabyte while it is decoded and hashed."""
    return _large if size_wh[0] * size_wh[1] > LARGE_PIXELS else nullcontext()


def _orientation(image: Image.Image) -> int:
    """EXIF's orientation, 1 (upright) where its data is damaged: the pixels are good."""
    try:
        return int(image.getexif().get(_EXIF_ORIENTATION, 1))
    except _DECODING_ERRORS:
        return 1


def _changes(image: Image.Image, data: bytes) -> list[str]:
    """What keeps the file from being stored as it is."""
    changes: list[str] = []
    if image.format not in _SUFFIX:
        changes.append(str(image.format))
    if image.mode not in {"RGB", "L"}:
        changes.append(f"mode {image.mode}")
    elif image.format == "PNG" and data[_PNG_BIT_DEPTH_AT] == 16:
        changes.append("16 bits per channel")
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format != "MPO":
        changes.append(f"first of {frames} frames")
    return changes


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
