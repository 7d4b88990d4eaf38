"""Shards: what is written is read back, by us and by everyone else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yololine.dataset.schema import (
    Row,
    Tally,
    arrow_schema,
    class_names_of,
    read_index,
    read_rows,
    write_shards,
)
from yololine.errors import DatasetError
from yololine.storage import sha256_file

CLASSES = ("scratch", "dent", "Öl-Fleck")


@pytest.fixture
def rows(made: Any) -> list[Row]:
    return [made.row(0, [0, 2]), made.row(1, []), made.row(2, [1]), made.row(3, [])]


def same(one: Row, other: Row) -> bool:
    fields = vars(one).keys() - {"boxes_xywh", "categories"}
    return (
        all(getattr(one, name) == getattr(other, name) for name in fields)
        and np.array_equal(one.boxes_xywh, other.boxes_xywh)
        and np.array_equal(one.categories, other.categories)
        and other.boxes_xywh.dtype == np.float32
        and other.categories.dtype == np.int32
        and other.boxes_xywh.shape == (len(other.categories), 4)
    )


def test_rows_come_back_in_their_order(tmp_path: Path, rows: list[Row]) -> None:
    [shard] = write_shards(iter(rows), tmp_path, CLASSES)
    assert all(same(a, b) for a, b in zip(rows, read_rows(shard), strict=True))
    without = list(read_rows(shard, images=False))
    assert {row.image_bytes for row in without} == {b""}
    assert [row.file_name for row in without] == [row.file_name for row in rows]


def test_a_shard_of_backgrounds_alone(tmp_path: Path, made: Any) -> None:
    rows = [made.row(0, []), made.row(1, [])]
    [shard] = write_shards(rows, tmp_path, CLASSES)
    assert all(same(a, b) for a, b in zip(rows, read_rows(shard), strict=True))


def test_the_same_rows_make_the_same_named_bytes(tmp_path: Path, rows: list[Row]) -> None:
    [one] = write_shards(rows, tmp_path / "a", CLASSES)
    [two] = write_shards(rows, tmp_path / "b", CLASSES)
    assert one.name == two.name == f"{sha256_file(one)[:16]}.parquet"
    assert one.read_bytes() == two.read_bytes()
    assert [file.name for file in (tmp_path / "a").iterdir()] == [one.name]


def test_shards_and_row_groups_are_bounded(
    tmp_path: Path, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yololine.dataset.schema.ROW_GROUP_BYTES", 3000)
    rows = [made.row(i, image_bytes=bytes([i]) * 1000) for i in range(25)]
    shards = write_shards(rows, tmp_path, CLASSES, shard_bytes=10_000)
    assert [pq.read_metadata(shard).num_rows for shard in shards] == [10, 10, 5]
    assert [pq.read_metadata(shard).num_row_groups for shard in shards] == [4, 4, 2]
    read = [row for shard in shards for row in read_rows(shard)]
    assert all(same(a, b) for a, b in zip(rows, read, strict=True))


def test_a_failure_leaves_no_part(tmp_path: Path, rows: list[Row]) -> None:
    def failing() -> Any:
        yield from rows
        raise RuntimeError("decoder")

    with pytest.raises(RuntimeError, match="decoder"):
        write_shards(failing(), tmp_path, CLASSES)
    assert list(tmp_path.iterdir()) == []


def test_no_rows_make_no_shard(tmp_path: Path) -> None:
    assert write_shards([], tmp_path, CLASSES) == []
    with pytest.raises(DatasetError, match="no shard"):
        read_index([])


def test_the_index_is_everything_but_the_images(tmp_path: Path, rows: list[Row]) -> None:
    shards = write_shards(rows, tmp_path, CLASSES, shard_bytes=1)
    assert len(shards) == len(rows)
    index = read_index(shards)
    assert index.num_rows == len(rows)
    assert class_names_of(index.schema) == CLASSES
    assert index.schema.field("image").type == pa.struct([("path", pa.string())])
    assert index["objects"].to_pylist()[0] == {
        "bbox": rows[0].boxes_xywh.tolist(),
        "category": [0, 2],
    }


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not parquet at all", "cannot be read as Parquet"),
        (None, "has other columns"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes | None, words: str) -> None:
    file = tmp_path / "x.parquet"
    if content is None:
        pq.write_table(pa.table({"image_id": ["a"]}), file)
    else:
        file.write_bytes(content)
    for read in (lambda: list(read_rows(file)), lambda: read_index([file])):
        with pytest.raises(DatasetError, match=words):
            read()


def test_shards_of_two_datasets_make_no_index(tmp_path: Path, rows: list[Row]) -> None:
    shards = [
        *write_shards(rows, tmp_path, ("a", "b", "c")),
        *write_shards(rows, tmp_path, CLASSES),
    ]
    with pytest.raises(DatasetError, match="names other classes"):
        read_index(shards)
    with pytest.raises(DatasetError, match="names no classes"):
        class_names_of(pa.schema([]))


def test_hugging_face_features_match_the_columns() -> None:
    """`datasets` uses a feature only where its Arrow type is the column's."""
    schema = arrow_schema(CLASSES)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert list(features) == schema.names
    assert features["image"] == {"_type": "Image"}
    assert features["objects"]["category"]["feature"] == {
        "names": list(CLASSES),
        "_type": "ClassLabel",
    }
    assert schema.field("objects").type.field("category").type == pa.list_(pa.int64())


def test_datasets_types_the_columns(tmp_path: Path, made: Any) -> None:
    datasets = pytest.importorskip("datasets")
    shards = made.shards(tmp_path / "shards", [(0, 2), (), (1,)], CLASSES)
    loaded = datasets.load_dataset(
        "parquet",
        data_files=[str(s) for s in shards],
        split="train",
        cache_dir=str(tmp_path / "hf"),
    )
    assert isinstance(loaded.features["image"], datasets.Image)
    assert loaded[0]["image"].size == (64, 48)
    assert loaded[0]["objects"]["category"] == [0, 2]
    category = loaded.features["objects"]["category"].feature
    assert isinstance(category, datasets.ClassLabel)
    assert tuple(category.names) == CLASSES


def test_polars_opens_shards(tmp_path: Path, rows: list[Row]) -> None:
    polars = pytest.importorskip("polars")
    [shard] = write_shards(rows, tmp_path, CLASSES)
    frame = polars.read_parquet(shard)
    assert frame["image"].struct.field("bytes").to_list() == [row.image_bytes for row in rows]
    assert frame["objects"].struct.field("category").to_list() == [[0, 2], [], [1], []]


def test_tally_counts_and_digests_whatever_the_order(rows: list[Row]) -> None:
    tally, reverse, renamed = Tally(CLASSES), Tally(CLASSES), Tally(("x", "y", "z"))
    assert list(tally.watch(rows)) == rows
    for row in reversed(rows):
        reverse.add(row)
        renamed.add(row)
    assert (tally.images, tally.background) == (4, 2)
    assert tally.objects_per_class == {"scratch": 1, "dent": 1, "Öl-Fleck": 1}
    assert tally.images_per_class == {"scratch": 1, "dent": 1, "Öl-Fleck": 1}
    assert tally.digest() == reverse.digest() != renamed.digest()


@pytest.mark.parametrize(("moved_px", "equal"), [(0.0002, True), (0.002, False)])
def test_the_digest_sees_a_thousandth_of_a_pixel(made: Any, moved_px: float, equal: bool) -> None:
    digests = []
    for shift in (0.0, moved_px):
        row = made.row(0, [0])
        row.boxes_xywh[0, 0] = 7.0001 + shift
        tally = Tally(CLASSES)
        tally.add(row)
        digests.append(tally.digest())
    assert (digests[0] == digests[1]) is equal
