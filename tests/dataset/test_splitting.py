"""Splits: whole, seeded, stratified, and groups together."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yololine.dataset.cleaning import Cleaned
from yololine.dataset.schema import Row, read_index, write_shards
from yololine.dataset.splitting import (
    Split,
    read_table,
    rows_of,
    split_dataset,
    split_of,
    write_table,
)
from yololine.errors import DatasetError
from yololine.storage import sha256_bytes

CLASSES = ("common", "rare", "rarest")


@pytest.fixture
def index_of(tmp_path: Path) -> Any:
    def index(rows: list[Row]) -> pa.Table:
        return read_index(write_shards(rows, tmp_path / "shards", CLASSES))

    return index


def categories_of(number: int) -> list[int]:
    """A tenth backgrounds, and classes from common to rare, some of them together."""
    rng = random.Random(number)
    if rng.random() < 0.1:
        return []
    shares = (0.9, 0.1, 0.03)
    return [c for c, share in enumerate(shares) if rng.random() < share] or [0]


@pytest.fixture
def rows(made: Any) -> list[Row]:
    return [made.row(i, categories_of(i)) for i in range(1000)]


def split(index: pa.Table, *, val: float = 0.1, test: float = 0.2, seed: int = 0) -> Split:
    return split_dataset(index, val_fraction=val, test_fraction=test, seed=seed)


def members(made: Split) -> dict[str, set[str]]:
    by_split: dict[str, set[str]] = defaultdict(set)
    for image_id, name in made.assignments.items():
        by_split[name].add(image_id)
    return by_split


@pytest.mark.parametrize(
    ("val", "test"),
    [(0.1, 0.1), (0.2, 0.1), (0.005, 0.1), (0.1, 0), (0, 0.3), (0, 0), (0.3, 0.333)],
)
def test_fractions_are_met(index_of: Any, rows: list[Row], val: float, test: float) -> None:
    made = split(index_of(rows), val=val, test=test)
    assert len(made.assignments) == 1000
    for name, fraction in (("val", val), ("test", test), ("train", 1 - val - test)):
        assert made.counts[name].images == pytest.approx(1000 * fraction, abs=1)
    assert set(made.assignments.values()) == {n for n, c in made.counts.items() if c.images}
    assert not any("were asked for" in note for note in made.notes)


def test_counts_are_of_the_assignments(index_of: Any, rows: list[Row]) -> None:
    made = split(index_of(rows))
    objects: dict[str, Counter[int]] = defaultdict(Counter)
    for row in rows:
        objects[made.assignments[row.image_id]].update(row.categories.tolist())
    for name, ids in members(made).items():
        assert made.counts[name].images == len(ids)
        expected = {label: objects[name][i] for i, label in enumerate(CLASSES)}
        assert made.counts[name].objects_per_class == expected


def test_the_digest_is_of_the_sorted_assignments(index_of: Any, rows: list[Row]) -> None:
    made = split(index_of(rows))
    text = "".join(f"{i}\t{name}\n" for i, name in sorted(made.assignments.items()))
    assert made.digest == sha256_bytes(text.encode())
    assert list(made.assignments) == sorted(made.assignments)


def test_order_of_the_rows_does_not_matter(index_of: Any, rows: list[Row]) -> None:
    one = split(index_of(rows))
    random.Random(5).shuffle(rows)
    assert split(index_of(rows)) == one


def test_the_seed_decides(index_of: Any, rows: list[Row]) -> None:
    index = index_of(rows)
    splits = [split(index, seed=seed) for seed in (0, 0, 1)]
    assert splits[0] == splits[1]
    assert splits[0].digest != splits[2].digest
    shared = members(splits[0])["test"] & members(splits[2])["test"]
    assert len(shared) < 0.5 * len(members(splits[0])["test"])


def unevenness(rows: list[Row], assignments: dict[str, str], fractions: dict[str, float]) -> float:
    """Mean distance of each split's share of each class, and of backgrounds, from its fraction."""
    by_class: dict[int, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for category in set(row.categories.tolist()) or {-1}:
            by_class[category][assignments[row.image_id]] += 1
    gaps = [
        abs(counts[name] / counts.total() - fraction)
        for counts in by_class.values()
        for name, fraction in fractions.items()
    ]
    return sum(gaps) / len(gaps)


def test_stratified_is_better_than_random(index_of: Any, rows: list[Row]) -> None:
    index = index_of(rows)
    fractions = {"train": 0.7, "val": 0.1, "test": 0.2}
    chance = random.Random(0)
    at_random = []
    for _ in range(100):
        chance.shuffle(rows)
        drawn = {r.image_id: "train" for r in rows[:700]}
        drawn |= {r.image_id: "val" for r in rows[700:800]}
        drawn |= {r.image_id: "test" for r in rows[800:]}
        at_random.append(unevenness(rows, drawn, fractions))
    for seed in range(5):
        made = split(index, seed=seed)
        found = unevenness(rows, made.assignments, fractions)
        assert found < 0.005
        assert found < min(at_random) / 2
        background = {r.image_id for r in rows if not len(r.categories)}
        assert len(members(made)["val"] & background) == pytest.approx(len(background) / 10, abs=1)


def test_groups_stay_together(index_of: Any, made: Any) -> None:
    rng = random.Random(3)
    sizes = [rng.choice([1, 1, 2, 5, 9]) for _ in range(150)]
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    rows = [made.row(i, categories_of(i), group=group) for i, group in enumerate(groups)]
    for seed in range(3):
        done = split(index_of(rows), seed=seed)
        places: dict[str, set[str]] = defaultdict(set)
        for row in rows:
            places[row.group].add(done.assignments[row.image_id])
        assert all(len(found) == 1 for found in places.values())
        for name, fraction in (("val", 0.1), ("test", 0.2)):
            assert done.counts[name].images == pytest.approx(
                len(rows) * fraction, abs=0.01 * len(rows)
            )


def test_near_duplicates_stay_together_with_their_groups(index_of: Any, made: Any) -> None:
    rows = [made.row(i, categories_of(i)) for i in range(400)]
    for i in range(0, 40, 4):
        hashed = int(rows[i].perceptual_hash, 16)
        rows[i + 1] = made.row(i + 1, [0], perceptual_hash=f"{hashed ^ 3:016x}")
        rows[i + 2] = made.row(i + 2, [1], group=rows[i + 1].group)
    for seed in range(3):
        done = split(index_of(rows), val=0.3, test=0.3, seed=seed)
        for i in range(0, 40, 4):
            assert len({done.assignments[rows[i + k].image_id] for k in range(3)}) == 1
        assert done.notes == (
            "20 images look like another one; each such cluster is kept in one split.",
        )


def test_a_fixed_camera_is_said(index_of: Any, made: Any) -> None:
    rows = [made.row(i, [0], perceptual_hash="0f" * 8) for i in range(30)]
    done = split(index_of(rows))
    assert done.counts["test"].images == 6
    assert "30 images look so much alike" in done.notes[0]


@pytest.mark.parametrize(
    ("images", "val", "test", "expected"),
    [
        (3, 0.01, 0.01, (1, 1, 1)),
        (4, 0.1, 0.1, (2, 1, 1)),
        (2, 0.1, 0, (1, 1, 0)),
        (1, 0, 0, (1, 0, 0)),
        (3, 0.49, 0.5, (1, 1, 1)),
        (30, 0.1, 0.1, (24, 3, 3)),
    ],
)
def test_small_sets(
    index_of: Any, made: Any, images: int, val: float, test: float, expected: tuple[int, ...]
) -> None:
    done = split(index_of([made.row(i) for i in range(images)]), val=val, test=test)
    assert tuple(done.counts[name].images for name in ("train", "val", "test")) == expected


@pytest.mark.parametrize("sizes", [[8, 1, 1], [5, 5, 5], [9, 9, 2], [1, 1, 20]])
def test_large_groups_leave_no_split_empty(index_of: Any, made: Any, sizes: list[int]) -> None:
    groups = [f"g{number}" for number, size in enumerate(sizes) for _ in range(size)]
    done = split(index_of([made.row(i, group=group) for i, group in enumerate(groups)]))
    assert all(count.images for count in done.counts.values())


@pytest.mark.parametrize("backgrounds", [0, 1, 7, 40, 97])
@pytest.mark.parametrize("seed", range(3))
def test_each_split_gets_an_object_where_three_images_have_one(
    index_of: Any, made: Any, backgrounds: int, seed: int
) -> None:
    rows = [made.row(i, [0] if i < 3 else []) for i in range(3 + backgrounds)]
    counts = split(index_of(rows), seed=seed).counts
    assert [sum(count.objects_per_class.values()) for count in counts.values()] == [1, 1, 1]


@pytest.mark.parametrize("labelled", [1, 2])
def test_a_split_without_objects_is_refused(index_of: Any, made: Any, labelled: int) -> None:
    rows = [made.row(i, [0] if i < labelled else []) for i in range(30)]
    words = f"would have no object: only {labelled} groups of images have any, and each of 3"
    with pytest.raises(DatasetError, match=words):
        split(index_of(rows))
    # Images that look alike are one group, however many they are.
    rows = [made.row(i, [0] if i < 9 else [], group=f"g{i % labelled}") for i in range(9)]
    rows += [made.row(i, []) for i in range(9, 30)]
    with pytest.raises(DatasetError, match=words):
        split(index_of(rows))


def test_a_class_that_is_too_rare_is_said(index_of: Any, made: Any) -> None:
    rows = [made.row(i, [0, 2] if i == 0 else [0]) for i in range(50)]
    notes = split(index_of(rows)).notes
    assert len(notes) == 2
    assert "No object of rarest in " in notes[0]


def test_fractions_that_groups_do_not_allow_are_said(index_of: Any, made: Any) -> None:
    rows = [made.row(i, group=f"g{i // 10}") for i in range(40)]
    notes = split(index_of(rows)).notes
    assert any("val has 25.0% of the images, 10.0% were asked for." in note for note in notes)


@pytest.mark.parametrize(
    ("images", "val", "test", "words"),
    [
        (9, 1.0, 0.1, "val_fraction 1.0: must be at least 0 and below 1"),
        (9, 0.1, -0.1, "test_fraction -0.1: must be"),
        (9, float("nan"), 0.1, "val_fraction nan: must be"),
        (9, 0.5, 0.5, "leave nothing to train on"),
        (2, 0.1, 0.1, r"2 images in 2 groups: cannot fill 3 splits \(train, val, test\)"),
        (1, 0.1, 0, "cannot fill 2 splits"),
    ],
)
def test_impossible_splits(
    index_of: Any, made: Any, images: int, val: float, test: float, words: str
) -> None:
    index = index_of([made.row(i) for i in range(images)])
    with pytest.raises(DatasetError, match=words):
        split(index, val=val, test=test)


def test_the_table_is_plain_parquet(tmp_path: Path, index_of: Any, rows: list[Row]) -> None:
    made = split(index_of(rows))
    write_table(made, tmp_path / "split.parquet")
    assert read_table(tmp_path / "split.parquet") == made.assignments
    table = pq.read_table(tmp_path / "split.parquet")
    assert table.schema.equals(pa.schema([("image_id", pa.string()), ("split", pa.string())]))


@pytest.mark.parametrize("content", [b"no parquet", None])
def test_other_tables_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "split.parquet"
    if content is None:
        pq.write_table(pa.table({"x": [1]}), path)
    else:
        path.write_bytes(content)
    with pytest.raises(DatasetError, match="is no split table"):
        read_table(path)


def test_rows_of_a_split(tmp_path: Path, made: Any, rows: list[Row]) -> None:
    shards = write_shards(rows, tmp_path, CLASSES, shard_bytes=3000)
    assert len(shards) > 2
    done = split(read_index(shards))
    found = [row.image_id for row in rows_of(shards, done.assignments, "val")]
    assert set(found) == members(done)["val"]
    assert found == [r.image_id for r in rows if r.image_id in set(found)]
    with pytest.raises(DatasetError, match="is in no split, so the split table belongs to another"):
        split_of(made.row(5000), done.assignments)


def test_bccd(bccd_cleaned: Cleaned) -> None:
    index = read_index(bccd_cleaned.shards)
    done = split(index, val=0.1, test=0.1)
    ids = dict(zip(index["file_name"].to_pylist(), index["image_id"].to_pylist(), strict=True))
    assert [done.counts[name].images for name in ("train", "val", "test")] == [291, 37, 36]
    for name in ("val", "test"):
        for label, objects in done.counts[name].objects_per_class.items():
            share = objects / bccd_cleaned.objects_per_class[label]
            assert share == pytest.approx(0.1, abs=0.02)
    # Two photographs of one field of view.
    burst = [ids[f"JPEGImages/BloodImage_0003{n}.jpg"] for n in (7, 8)]
    assert done.assignments[burst[0]] == done.assignments[burst[1]]
