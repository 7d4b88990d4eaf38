"""Pictures that a `bright_model` knows the answer to."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def encoded(grey: int = 200, *, size_wh: tuple[int, int] = (64, 64), kind: str = "JPEG") -> bytes:
    """An evenly grey picture."""
    buffer = io.BytesIO()
    Image.new("RGB", size_wh, (grey, grey, grey)).save(buffer, kind)
    return buffer.getvalue()


def pixels(grey: int = 200, *, size_wh: tuple[int, int] = (64, 64)) -> np.ndarray:
    """The same, decoded."""
    return np.full((size_wh[1], size_wh[0], 3), grey, np.uint8)


JPEG = encoded()
"""A scratch at 0.78 and a pit at 0.3."""
PNG_BOMB = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x01\x86\xa0\x00\x01\x86\xa0\x08\x02\x00\x00\x00"
    b"\x27\x30\x9c\x9f\x00\x00\x00\x0cIDATx\x9cc\x60\x60\x60\x00\x00\x00\x04\x00\x01"
)
"""Says of itself that it has 100,000 x 100,000 pixels."""
