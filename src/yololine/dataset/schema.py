"""The dataset as Parquet shards, in Hugging Face's object-detection convention.

Shapes: boxes are `(n, 4)` float32, x y w h in pixels of the upright image, origin at the top left
(COCO); categories are `(n,)` int32, indices into the class names.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from yololine.errors import DatasetError
from yololine.storage.base import sha256_file

SHARD_BYTES = 256 << 20
ROW_GROUP_BYTES = 16 << 20
_INDEX_COLUMNS = [
    "image_id",
    "file_name",
    "image.path",
    "width",
    "height",
    "objects",
    "group",
    "sha256",
    "perceptual_hash",
]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One image with its boxes.

    `image_bytes` is an upright 8-bit RGB or greyscale JPEG, PNG, BMP or WebP file, and empty where
    rows were read without images. Images of one `group` belong in the same split. `sha256` is of
    `image_bytes`; `perceptual_hash` is a 64-bit dHash, 16 hex digits.
    """

    image_id: str
    file_name: str
    image_bytes: bytes
    width: int
    height: int
    boxes_xywh: NDArray[np.float32]
    categories: NDArray[np.int32]
    group: str
    sha256: str
    perceptual_hash: str
    suffix: str
    """Of the file this image makes: .jpg, .png, .bmp or .webp."""


def arrow_schema(class_names: Sequence[str]) -> pa.Schema:
    """The shards' schema; its metadata makes `datasets.load_dataset("parquet")` type the columns.

    Categories are int64 on disk because that is how Hugging Face's ClassLabel is stored: with
    int32 `datasets` drops the names.
    """

    def value(dtype: str) -> dict[str, object]:
        return {"dtype": dtype, "_type": "Value"}

    def sequence(feature: dict[str, object]) -> dict[str, object]:
        # "Sequence" is read by every release of datasets, its successor "List" by 4.0 and newer.
        return {"feature": feature, "_type": "Sequence"}

    features = {
        "image_id": value("string"),
        "file_name": value("string"),
        "image": {"_type": "Image"},
        "width": value("int32"),
        "height": value("int32"),
        "objects": {
            "bbox": sequence(sequence(value("float32"))),
            "category": sequence({"names": list(class_names), "_type": "ClassLabel"}),
        },
        "group": value("string"),
        "sha256": value("string"),
        "perceptual_hash": value("string"),
    }
    return pa.schema(
        [
            ("image_id", pa.string()),
            ("file_name", pa.string()),
            ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
            ("width", pa.int32()),
            ("height", pa.int32()),
            (
                "objects",
                pa.struct(
                    [
                        ("bbox", pa.list_(pa.list_(pa.float32()))),
                        ("category", pa.list_(pa.int64())),
                    ]
                ),
            ),
            ("group", pa.string()),
            ("sha256", pa.string()),
            ("perceptual_hash", pa.string()),
        ],
        metadata={
            "class_names": json.dumps(list(class_names)),
            "huggingface": json.dumps({"info": {"features": features}}),
        },
    )


def class_names_of(schema: pa.Schema) -> tuple[str, ...]:
    """The class names in a shard's or an index's schema metadata.

    Raises:
        DatasetError: There are none.
    """
    text = (schema.metadata or {}).get(b"class_names")
    if text is None:
        raise DatasetError(
            "Parquet schema",
            rule="names no classes in its metadata, so yololine did not write it",
            remedy="make the dataset with the step clean_dataset",
        )
    return tuple(json.loads(text))


def write_shards(
    rows: Iterable[Row],
    folder: Path,
    class_names: Sequence[str],
    *,
    shard_bytes: int = SHARD_BYTES,
) -> list[Path]:
    """Write rows, in the order given, to `<first 16 hex of sha256>.parquet` files in `folder`.

    The same rows make the same bytes. At most one row group of images is held in memory.

    Args:
        rows: Taken one at a time.
        folder: Made where it is not there.
        class_names: In the order of the categories.
        shard_bytes: A shard is closed once it holds this many bytes of images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards: list[Path] = []
    writer = _ShardWriter(folder / ".shard.part", arrow_schema(class_names))
    try:
        for row in rows:
            writer.add(row)
            if writer.size_bytes >= shard_bytes:
                shards.append(writer.close())
        if writer.size_bytes:
            shards.append(writer.close())
    finally:
        writer.discard()
    return shards


class _ShardWriter:
    """One shard at a time, under a temporary name until it is whole."""

    def __init__(self, part: Path, schema: pa.Schema) -> None:
        self.size_bytes = 0
        self._part = part
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None
        self._pending: list[Row] = []
        self._pending_bytes = 0

    def add(self, row: Row) -> None:
        self._pending.append(row)
        self._pending_bytes += len(row.image_bytes)
        self.size_bytes += max(len(row.image_bytes), 1)
        if self._pending_bytes >= ROW_GROUP_BYTES:
            self._flush()

    def close(self) -> Path:
        """Finish the shard and give it its name."""
        if self._pending:
            self._flush()
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        shard = self._part.with_name(f"{sha256_file(self._part)[:16]}.parquet")
        self._part.replace(shard)
        self.size_bytes = 0
        return shard

    def discard(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._part.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._writer is None:
            # Image bytes are compressed already: neither zstd, nor a dictionary, nor statistics
            # (which would hold whole images) has anything to win there.
            others = [c for c in _leaf_columns(self._schema) if c != "image.bytes"]
            self._writer = pq.ParquetWriter(
                self._part,
                self._schema,
                compression=dict.fromkeys(others, "zstd") | {"image.bytes": "none"},
                use_dictionary=["objects.category.list.element", "width", "height"],
                write_statistics=others,
            )
        self._writer.write_table(_to_table(self._pending, self._schema))
        self._pending, self._pending_bytes = [], 0


def _leaf_columns(schema: pa.Schema) -> list[str]:
    names = [f.name for f in schema if not pa.types.is_struct(f.type)]
    return [
        *names,
        "image.bytes",
        "image.path",
        "objects.bbox.list.element.list.element",
        "objects.category.list.element",
    ]


def _to_table(rows: list[Row], schema: pa.Schema) -> pa.Table:
    boxes = np.concatenate([row.boxes_xywh.reshape(-1, 4) for row in rows]).astype(np.float32)
    ends = np.cumsum([0, *(len(row.categories) for row in rows)], dtype=np.int32)
    each_box = pa.ListArray.from_arrays(
        pa.array(np.arange(len(boxes) + 1, dtype=np.int32) * 4), pa.array(boxes.ravel())
    )
    categories = np.concatenate([row.categories for row in rows]).astype(np.int64)
    columns = {
        "image": pa.StructArray.from_arrays(
            [
                pa.array([row.image_bytes for row in rows], pa.binary()),
                pa.array([row.image_id + row.suffix for row in rows], pa.string()),
            ],
            fields=list(schema.field("image").type),
        ),
        "objects": pa.StructArray.from_arrays(
            [
                pa.ListArray.from_arrays(pa.array(ends), each_box),
                pa.ListArray.from_arrays(pa.array(ends), pa.array(categories)),
            ],
            fields=list(schema.field("objects").type),
        ),
    }
    arrays = [
        columns[f.name]
        if f.name in columns
        else pa.array([getattr(row, f.name) for row in rows], f.type)
        for f in schema
    ]
    return pa.Table.from_arrays(arrays, schema=schema)


def read_rows(shard: Path, *, images: bool = True) -> Iterator[Row]:
    """The shard's rows in their order, one row group in memory at a time.

    Args:
        shard: A file of `write_shards`.
        images: False leaves `image_bytes` empty and reads none of them.

    Raises:
        DatasetError: The file is no shard of this schema.
    """
    with _opened(shard) as file:
        columns = None if images else _INDEX_COLUMNS
        for group in range(file.num_row_groups):
            yield from _to_rows(file.read_row_group(group, columns=columns))


def read_index(shards: Iterable[Path]) -> pa.Table:
    """Every column of all shards but the image bytes; `image` keeps its `path`.

    Raises:
        DatasetError: A file is no shard of this schema, or the shards name different classes.
    """
    tables: list[pa.Table] = []
    for shard in shards:
        with _opened(shard) as file:
            table = file.read(columns=_INDEX_COLUMNS)
        if tables and class_names_of(tables[0].schema) != class_names_of(table.schema):
            raise DatasetError(
                shard,
                rule="names other classes than the shards before it",
                remedy="give shards of one dataset only",
            )
        tables.append(table)
    if not tables:
        raise DatasetError(
            "no shard", rule="a dataset has at least one", remedy="run the step clean_dataset"
        )
    return pa.concat_tables(tables)


def _opened(shard: Path) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(shard)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            shard,
            rule=f"cannot be read as Parquet ({error})",
            remedy="fetch the shard again, or run the step that makes it",
        ) from error
    if not file.schema_arrow.equals(arrow_schema(())):
        file.close()
        raise DatasetError(
            shard,
            rule="has other columns than a dataset shard of this version of yololine",
            remedy="make the dataset anew with the step clean_dataset",
        )
    return file


def _to_rows(table: pa.Table) -> Iterator[Row]:
    table = table.combine_chunks()
    image = table["image"].chunk(0) if table.num_rows else None
    if image is None:
        return
    with_bytes = image.type.get_field_index("bytes") >= 0
    contents = image.field("bytes") if with_bytes else [None] * table.num_rows
    objects = table["objects"].chunk(0)
    boxes = objects.field("bbox").flatten().flatten().to_numpy(zero_copy_only=False)
    boxes_xywh = boxes.astype(np.float32, copy=False).reshape(-1, 4)
    categories = objects.field("category").flatten().to_numpy(zero_copy_only=False)
    counts = objects.field("category").value_lengths().to_numpy(zero_copy_only=False)
    ends = np.cumsum(counts)
    plain = table.drop_columns(["image", "objects"]).to_pylist()
    paths = image.field("path").to_pylist()
    for i, (values, content, path) in enumerate(zip(plain, contents, paths, strict=True)):
        here = slice(int(ends[i] - counts[i]), int(ends[i]))
        yield Row(
            **values,
            image_bytes=content.as_py() if content is not None else b"",
            boxes_xywh=boxes_xywh[here].copy(),
            categories=categories[here].astype(np.int32),
            suffix=Path(path).suffix,
        )


@dataclass
class Tally:
    """Counts rows as they stream by, and digests their content."""

    class_names: Sequence[str]
    images: int = 0
    background: int = 0
    _objects: Counter[int] = field(default_factory=Counter)
    _images_with: Counter[int] = field(default_factory=Counter)
    _row_digests: list[bytes] = field(default_factory=list)

    def watch(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Pass rows on, counted."""
        for row in rows:
            self.add(row)
            yield row

    def add(self, row: Row) -> None:
        """Count one row."""
        self.images += 1
        self.background += not len(row.categories)
        self._objects.update(row.categories.tolist())
        self._images_with.update(set(row.categories.tolist()))
        self._row_digests.append(_row_digest(row))

    @property
    def objects_per_class(self) -> dict[str, int]:
        """Objects by class name, in the order of the classes, zeros included."""
        return {name: self._objects[i] for i, name in enumerate(self.class_names)}

    @property
    def images_per_class(self) -> dict[str, int]:
        """Images with at least one object of the class, by class name."""
        return {name: self._images_with[i] for i, name in enumerate(self.class_names)}

    def digest(self) -> str:
        """sha256 over the class names and the rows, whatever their order and their shards."""
        whole = hashlib.sha256(json.dumps(list(self.class_names)).encode())
        for row_digest in sorted(self._row_digests):
            whole.update(row_digest)
        return whole.hexdigest()


def _row_digest(row: Row) -> bytes:
    """sha256 over image, name, size, boxes to a thousandth of a pixel, and categories."""
    boxes = sorted(
        (category, *(round(value * 1000) for value in box))
        for category, box in zip(row.categories.tolist(), row.boxes_xywh.tolist(), strict=True)
    )
    canonical = json.dumps([row.sha256, row.file_name, row.width, row.height, boxes])
    return hashlib.sha256(canonical.encode()).digest()
