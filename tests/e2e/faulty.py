"""Sources with something wrong in them, made of small files."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("scratch", "dent")
DATA_YAML = "names: [scratch, dent]\n"
BOX = "0 0.5 0.5 0.5 0.5\n"

Content = bytes | str
Files = Mapping[str, Content]


def photo(seed: int, size_wh: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    """Smooth blobs, others for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    image = Image.fromarray(coarse).resize(size_wh, Image.Resampling.BICUBIC)
    return image.convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """The picture as a file's content."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(seed: int, size_wh: tuple[int, int] = (64, 48)) -> bytes:
    """A plain JPEG."""
    return encoded(photo(seed, size_wh))


def good(count: int = 8) -> dict[str, Content]:
    """A source with nothing wrong: both classes, in as many pictures each."""
    files: dict[str, Content] = {"data.yaml": DATA_YAML}
    for number in range(count):
        files[f"images/good_{number:03d}.jpg"] = picture(1000 + number)
        files[f"labels/good_{number:03d}.txt"] = f"{number % 2} 0.5 0.5 0.5 0.5\n"
    return files


def some_corrupt(corrupt: int, whole: int) -> dict[str, Content]:
    """A source of which the first pictures are pages of HTML, as a failed download leaves them."""
    broken = {f"images/good_{number:03d}.jpg": "<html>404</html>" for number in range(corrupt)}
    return good(corrupt + whole) | broken


def voc(
    name: str = "scratch",
    box: tuple[float, ...] = (8, 8, 40, 40),
    *,
    head: str = "",
    tail: str = "",
) -> str:
    """An annotation with one object."""
    edges = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    inside = "".join(f"<{edge}>{value}</{edge}>" for edge, value in edges)
    return (
        f"{head}<annotation><size><width>64</width><height>48</height></size>{tail}"
        f"<object><name>{name}</name><bndbox>{inside}</bndbox></object></annotation>"
    )


def good_voc(count: int = 8) -> dict[str, Content]:
    """The same as Pascal VOC; no file names the classes."""
    files: dict[str, Content] = {}
    for number in range(count):
        files[f"JPEGImages/good_{number:03d}.jpg"] = picture(1000 + number)
        files[f"Annotations/good_{number:03d}.xml"] = voc(NAMES[number % 2])
    return files


def write(folder: Path, files: Files) -> Path:
    """The files below the folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def png(size_wh: tuple[int, int], rows: bytes = b"", *, depth: int = 8, colour: int = 0) -> bytes:
    """A PNG of any claimed size; `rows` are filtered scan lines, zeros if there are none."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    width, height = size_wh
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    deflate = zlib.compressobj(9)
    content = rows or bytes(height * (1 + -(-width * depth // 8)))
    packed = deflate.compress(content) + deflate.flush()
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )
