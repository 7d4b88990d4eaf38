"""The held-out images as shards of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from yololine.dataset.schema import Tally, read_rows
from yololine.dataset.testset import build_test_set
from yololine.errors import DatasetError


def test_it_holds_the_test_images_and_no_others(tmp_path: Path, made: Any) -> None:
    shards = made.shards(tmp_path / "all", [(0,), (1, 1), (), (2,), (0, 2)])
    rows = [row for shard in shards for row in read_rows(shard)]
    splits = ["train", "test", "test", "val", "test"]
    assignments = {row.image_id: split for row, split in zip(rows, splits, strict=True)}
    held_out = build_test_set(shards, assignments, tmp_path / "test")
    found = [row for shard in held_out.shards for row in read_rows(shard)]
    assert [r.image_id for r in found] == [rows[i].image_id for i in (1, 2, 4)]
    assert [r.image_bytes for r in found] == [rows[i].image_bytes for i in (1, 2, 4)]
    assert held_out.images == 3
    assert held_out.objects_per_class == {"a": 1, "b": 2, "c": 1}
    tally = Tally(("a", "b", "c"))
    for row in found:
        tally.add(row)
    assert held_out.digest == tally.digest()
    again = build_test_set(shards, assignments, tmp_path / "again")
    assert [shard.name for shard in again.shards] == [shard.name for shard in held_out.shards]


@pytest.mark.parametrize(
    ("split", "words"), [("train", "split test: has no image"), (None, "is in no split")]
)
def test_refusals(tmp_path: Path, made: Any, split: str | None, words: str) -> None:
    [shard] = made.shards(tmp_path / "all", [(0,)])
    assignments = {row.image_id: split for row in read_rows(shard)} if split else {}
    with pytest.raises(DatasetError, match=words):
        build_test_set([shard], assignments, tmp_path / "test")
