"""Small made-up sources and datasets, and BCCD cleaned once for all tests."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yololine.dataset.cleaning import Cleaned, check_cleaned, clean_dataset
from yololine.dataset.schema import Row, write_shards
from yololine.dataset.sources import list_source
from yololine.storage import open_store, sha256_bytes


class Made:
    """Makers of pictures, labels, sources and rows."""

    @staticmethod
    def picture(
        seed: int = 0, size_wh: tuple[int, int] = (64, 48), mode: str = "RGB"
    ) -> Image.Image:
        """Smooth blobs, different for each seed; they survive JPEG."""
        rng = np.random.default_rng(seed)
        coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        return coarse.resize(size_wh, Image.Resampling.BICUBIC).convert(mode)

    @classmethod
    def file(
        cls,
        seed: int = 0,
        *,
        kind: str = "JPEG",
        image: Image.Image | None = None,
        **options: Any,
    ) -> bytes:
        """A picture as the bytes of a file."""
        file = io.BytesIO()
        (image or cls.picture(seed)).save(file, kind, **options)
        return file.getvalue()

    @staticmethod
    def voc(
        *objects: tuple[str, Sequence[float | str]], size_wh: tuple[int, int] | None = (64, 48)
    ) -> bytes:
        """An annotation of objects `(name, (xmin, ymin, xmax, ymax))`."""
        size = (
            f"<size><width>{size_wh[0]}</width><height>{size_wh[1]}</height></size>"
            if size_wh
            else ""
        )
        edges = ("xmin", "ymin", "xmax", "ymax")
        items = "".join(
            f"\n<object><name>{name}</name><bndbox>"
            + "".join(f"<{e}>{v}</{e}>" for e, v in zip(edges, box, strict=True))
            + "</bndbox></object>"
            for name, box in objects
        )
        return f"<annotation>{size}{items}\n</annotation>".encode()

    @staticmethod
    def source(folder: Path, files: Mapping[str, bytes | str]) -> Path:
        """A folder of files."""
        for path, content in files.items():
            file = folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content.encode() if isinstance(content, str) else content)
        return folder

    @staticmethod
    def clean(
        source: Path, out: Path, *, max_dropped_fraction: float = 0.25, **options: Any
    ) -> Cleaned:
        """The source, cleaned and found good enough."""
        store = open_store(str(source))
        cleaned = clean_dataset(store, list_source(store), out, **options)
        check_cleaned(cleaned.report, store.uri, max_dropped_fraction=max_dropped_fraction)
        return cleaned

    @classmethod
    def row(
        cls,
        number: int,
        categories: Sequence[int] = (0,),
        *,
        group: str = "",
        perceptual_hash: str = "",
        image_bytes: bytes = b"",
    ) -> Row:
        """A row with a box per category, its hash far from those of other numbers."""
        content = image_bytes or f"image {number}".encode()
        digest = sha256_bytes(content)
        return Row(
            image_id=sha256_bytes(f"id {number}".encode())[:20],
            file_name=f"images/{number:05d}.jpg",
            image_bytes=content,
            width=64,
            height=48,
            boxes_xywh=np.array(
                [[1.5 + i, 2.25, 20, 10.125 + i] for i in range(len(categories))], np.float32
            ).reshape(-1, 4),
            categories=np.array(categories, np.int32),
            group=group or f"group {number}",
            sha256=digest,
            perceptual_hash=perceptual_hash or digest[:16],
            suffix=".jpg",
        )

    @classmethod
    def shards(
        cls,
        folder: Path,
        categories: Iterable[Sequence[int]],
        classes: Sequence[str] = ("a", "b", "c"),
    ) -> list[Path]:
        """Shards of real little pictures, one per entry of `categories`."""
        rows = (cls.row(i, c, image_bytes=cls.file(i)) for i, c in enumerate(categories))
        return write_shards(rows, folder, classes)


@pytest.fixture(scope="session")
def made() -> type[Made]:
    return Made


@pytest.fixture(scope="session")
def bccd_cleaned(bccd: Path, tmp_path_factory: pytest.TempPathFactory) -> Cleaned:
    return Made.clean(bccd, tmp_path_factory.mktemp("bccd"))
