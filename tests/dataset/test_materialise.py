"""Folders that trainers read."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from yololine.dataset.cleaning import Cleaned
from yololine.dataset.materialise import materialise_yolo, yolo_text
from yololine.dataset.schema import Row, read_index, read_rows
from yololine.dataset.sources import detect_layout, list_source
from yololine.dataset.splitting import split_dataset
from yololine.errors import DatasetError
from yololine.storage import open_store

CLASSES = ("a", "b", "c: d")


def read_labels(path: Path, size_wh: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Categories and boxes (x y w h, pixels) as ultralytics reads a label file."""
    lines = [line.split() for line in path.read_text().splitlines()]
    values = np.array(lines, np.float32).reshape(-1, 5)
    w, h = size_wh
    boxes = values[:, 1:] * np.array([w, h, w, h], np.float32)
    boxes[:, :2] -= boxes[:, 2:] / 2
    return values[:, 0].astype(int), boxes


def test_a_split_as_files(tmp_path: Path, made: Any) -> None:
    shards = made.shards(tmp_path / "shards", [(0, 2), (), (1,), (2,)], CLASSES)
    rows = [row for shard in shards for row in read_rows(shard)]
    splits = ["train", "train", "val", "test"]
    assignments = {row.image_id: split for row, split in zip(rows, splits, strict=True)}
    folder = tmp_path / "yolo"
    data_yaml = materialise_yolo(shards, assignments, folder, CLASSES)
    assert yaml.safe_load(data_yaml.read_text()) == {
        "path": str(folder.resolve()),
        "train": "images/train",
        "val": "images/val",
        "test": "images/test",
        "names": {0: "a", 1: "b", 2: "c: d"},
    }
    for row, split in zip(rows, splits, strict=True):
        image = folder / "images" / split / f"{row.image_id}.jpg"
        assert image.read_bytes() == row.image_bytes
        label = folder / "labels" / split / f"{row.image_id}.txt"
        categories, boxes = read_labels(label, (row.width, row.height))
        assert categories.tolist() == row.categories.tolist()
        np.testing.assert_allclose(boxes, row.boxes_xywh, atol=1e-4)
    assert len(list(folder.rglob("*.*"))) == 9


def test_some_splits_and_then_copies(tmp_path: Path, made: Any) -> None:
    shards = made.shards(tmp_path / "shards", [(0,), (1,), (2,)], CLASSES)
    copies = made.shards(tmp_path / "copies", [(), (), (), (2,)], CLASSES)[:1]
    ids = [row.image_id for shard in shards for row in read_rows(shard)]
    assignments = dict(zip(ids, ("train", "val", "test"), strict=True))
    folder = tmp_path / "yolo"
    materialise_yolo(shards, assignments, folder, CLASSES, splits=("train", "val"))
    data_yaml = materialise_yolo(copies, None, folder, CLASSES)
    counts = Counter(file.parent.name for file in (folder / "images").rglob("*.jpg"))
    assert counts == {"train": 4, "val": 1}
    assert yaml.safe_load(data_yaml.read_text()).keys() == {"path", "train", "val", "names"}
    assert not (folder / "images" / "test").exists()


def test_an_image_in_no_split_is_refused(tmp_path: Path, made: Any) -> None:
    shards = made.shards(tmp_path / "shards", [(0,)], CLASSES)
    with pytest.raises(DatasetError, match="is in no split"):
        materialise_yolo(shards, {}, tmp_path / "yolo", CLASSES)


def test_labels_stay_within_the_image(made: Any) -> None:
    """Trainers refuse a coordinate above 1 by any rounding."""
    row: Row = made.row(0, [0])
    for width in range(100, 4000, 37):
        wide = Row(**{**vars(row), "width": width, "height": width})
        wide.boxes_xywh[:] = [[width / 3, 0, width - width / 3, width]]
        _, *values = (float(value) for value in yolo_text(wide).split())
        assert all(0 <= value <= 1 for value in values)


def test_bccd_round_trip(tmp_path: Path, bccd_cleaned: Cleaned, made: Any) -> None:
    index = read_index(bccd_cleaned.shards)
    done = split_dataset(index, val_fraction=0.1, test_fraction=0.1, seed=0)
    folder = tmp_path / "yolo"
    materialise_yolo(bccd_cleaned.shards, done.assignments, folder, bccd_cleaned.class_names)
    for split, count in done.counts.items():
        assert len(list((folder / "images" / split).iterdir())) == count.images
        assert len(list((folder / "labels" / split).iterdir())) == count.images
    store = open_store(str(folder))
    assert detect_layout(store, list_source(store)).class_names == bccd_cleaned.class_names
    again = made.clean(folder, tmp_path / "again")
    assert again.objects_per_class == bccd_cleaned.objects_per_class
    before = {row.image_id: row for shard in bccd_cleaned.shards for row in read_rows(shard)}
    for shard in again.shards:
        for row in read_rows(shard, images=False):
            assert row.categories.tolist() == before[row.image_id].categories.tolist()
            np.testing.assert_allclose(row.boxes_xywh, before[row.image_id].boxes_xywh, atol=1e-3)
