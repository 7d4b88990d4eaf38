"""Which image is for training, which for validation, which is held out."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from yololine.dataset.duplicates import near_duplicates
from yololine.dataset.manifest import SPLITS, SplitCount
from yololine.dataset.schema import Row, class_names_of, read_rows
from yololine.errors import DatasetError

_BACKGROUND = -1
"""Images without an object, spread over the splits as if they were a class of their own."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """Every image in one of train, val and test."""

    assignments: dict[str, str]
    """image_id -> split, sorted by image_id."""
    digest: str
    """sha256 over the sorted assignments."""
    counts: dict[str, SplitCount]
    """Of train, val and test, empty ones included."""
    notes: tuple[str, ...]


def split_dataset(
    index: pa.Table, *, val_fraction: float, test_fraction: float, seed: int
) -> Split:
    """Assign every image of an index (`read_index`) to a split.

    Images of one group go together, and so do near-duplicates (`duplicates.near_duplicates`).

    Iterative stratification (Sechidis, Tsoumakas, Vlahavas: "On the stratification of multi-label
    data", ECML PKDD 2011): the class with the fewest images left is dealt out first, each time to
    the split that still lacks most of it. Chance, where splits are equal, comes from
    sha256(seed, image_id), so it depends on no order and no library.

    Raises:
        DatasetError: The fractions leave nothing for a split, or there are fewer groups with
            objects than splits.
    """
    fractions = _fractions(val_fraction, test_fraction)
    alike, too_many = near_duplicates(index["perceptual_hash"].to_pylist())
    groups = _groups(index, alike, seed)
    images = sum(len(group.image_ids) for group in groups)
    _check_enough(fractions, len(groups), images)
    capacity = _shares(images, fractions)
    dealt = _deal(groups, capacity, images)
    wanted = [split for split, share in fractions.items() if share > 0]
    _fill_empty(dealt, wanted)
    _check_objects(dealt, wanted)
    assignments = dict(
        sorted((i, split) for split, those in dealt.items() for g in those for i in g.image_ids)
    )
    counts = _count(index, assignments)
    return Split(
        assignments=assignments,
        digest=_digest(assignments),
        counts=counts,
        notes=(*_notes_on_likeness(alike, too_many), *_notes(counts, fractions)),
    )


def write_table(split: Split, path: Path) -> None:
    """Write the assignments as Parquet: `image_id: string, split: string`."""
    table = pa.table(
        {
            "image_id": pa.array(split.assignments.keys(), pa.string()),
            "split": pa.array(split.assignments.values(), pa.string()),
        }
    )
    pq.write_table(table, path, compression="zstd")


def read_table(path: Path) -> dict[str, str]:
    """The assignments of `write_table`.

    Raises:
        DatasetError: The file is no such table.
    """
    try:
        table = pq.read_table(path, columns=["image_id", "split"])
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(
            path, rule=f"is no split table ({error})", remedy="run the step split_dataset"
        ) from error
    columns = table.to_pydict()
    return dict(zip(columns["image_id"], columns["split"], strict=True))


def rows_of(shards: Sequence[Path], assignments: Mapping[str, str], split: str) -> Iterator[Row]:
    """The rows of one split, in the shards' order.

    Raises:
        DatasetError: An image is in no split.
    """
    for shard in shards:
        for row in read_rows(shard):
            if split_of(row, assignments) == split:
                yield row


def split_of(row: Row, assignments: Mapping[str, str]) -> str:
    """The row's split.

    Raises:
        DatasetError: It has none.
    """
    split = assignments.get(row.image_id)
    if split is None:
        raise DatasetError(
            f"{row.file_name} (image_id {row.image_id})",
            rule="is in no split, so the split table belongs to another dataset",
            remedy="split this dataset with the step split_dataset",
        )
    return split


@dataclass(frozen=True, kw_only=True)
class _Group:
    """Images that stay together."""

    image_ids: tuple[str, ...]
    images_with: Mapping[int, int]
    """Category, or background -> how many of the images have it."""
    chance: str

    @property
    def has_objects(self) -> bool:
        """Whether not all of them are backgrounds."""
        return bool(self.images_with.keys() - {_BACKGROUND})


def _fractions(val_fraction: float, test_fraction: float) -> dict[str, float]:
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 <= value < 1:
            raise DatasetError(
                f"{name} {value}", rule="must be at least 0 and below 1", remedy="use 0.1 or so"
            )
    if val_fraction + test_fraction >= 1:
        raise DatasetError(
            f"val_fraction {val_fraction} + test_fraction {test_fraction}",
            rule="leave nothing to train on",
            remedy="let them add up to less than 1",
        )
    return {
        "train": 1 - val_fraction - test_fraction,
        "val": val_fraction,
        "test": test_fraction,
    }


def _categories(index: pa.Table) -> list[list[int]]:
    """Of each image's objects."""
    found: list[list[int]] = []
    for objects in index["objects"].chunks:
        found += objects.field("category").to_pylist()
    return found


def _check_enough(fractions: Mapping[str, float], groups: int, images: int) -> None:
    wanted = [split for split, fraction in fractions.items() if fraction > 0]
    if groups < len(wanted):
        raise DatasetError(
            f"{images} images in {groups} groups",
            rule=f"cannot fill {len(wanted)} splits ({', '.join(wanted)}); "
            "images of one group stay together",
            remedy="give more images",
        )


def _groups(index: pa.Table, alike: Sequence[Sequence[int]], seed: int) -> list[_Group]:
    """Images of one group, and near-duplicates with their groups, in the order of chance."""
    image_ids = index["image_id"].to_pylist()
    group_of = index["group"].to_pylist()
    members: dict[str, list[int]] = defaultdict(list)
    for row, group in enumerate(group_of):
        members[group].append(row)
    for rows in alike:
        first = group_of[rows[0]]
        for group in {group_of[row] for row in rows} - {first}:
            for row in members[group]:
                group_of[row] = first
            members[first] += members.pop(group)
    categories = [set(found) for found in _categories(index)]
    groups: list[_Group] = []
    for rows in members.values():
        ids = tuple(sorted(image_ids[row] for row in rows))
        groups.append(
            _Group(
                image_ids=ids,
                images_with=Counter(c for row in rows for c in categories[row] or {_BACKGROUND}),
                chance=hashlib.sha256(f"{seed}\0{ids[0]}".encode()).hexdigest(),
            )
        )
    return sorted(groups, key=lambda group: group.chance)


def _shares(images: int, fractions: Mapping[str, float]) -> dict[str, int]:
    """Whole images per split by largest remainder, at least 1 where the fraction is above 0."""
    exact = {split: images * fraction for split, fraction in fractions.items()}
    # 0.1 * 30 is 3.0000000000000004 in floats, and no reason for a remainder.
    shares = {split: int(value + 1e-9) for split, value in exact.items()}
    by_remainder = sorted(exact, key=lambda split: shares[split] - exact[split])
    for split in by_remainder[: images - sum(shares.values())]:
        shares[split] += 1
    for split, fraction in fractions.items():
        if fraction > 0 and not shares[split]:
            shares[split] = 1
            shares[max(shares, key=lambda name: shares[name])] -= 1
    return shares


def _deal(
    groups: Sequence[_Group], capacity: Mapping[str, int], images: int
) -> dict[str, list[_Group]]:
    """Deal groups to splits; `groups` are in the order of chance."""
    waiting: dict[int, dict[int, _Group]] = defaultdict(dict)
    images_left: Counter[int] = Counter()
    for number, group in enumerate(groups):
        for label, count in group.images_with.items():
            waiting[label][number] = group
            images_left[label] += count
    room = dict(capacity)
    lacking = {
        split: {label: total * share / images for label, total in images_left.items()}
        for split, share in capacity.items()
    }
    dealt: dict[str, list[_Group]] = {split: [] for split in capacity}
    while images_left:
        rarest = min(images_left, key=lambda label: (images_left[label], label))
        for number, group in list(waiting[rarest].items()):
            split = _neediest(group, rarest, room, lacking)
            dealt[split].append(group)
            room[split] -= len(group.image_ids)
            for label, count in group.images_with.items():
                lacking[split][label] -= count
                images_left[label] -= count
                del waiting[label][number]
        del images_left[rarest]
        for label in [label for label, left in images_left.items() if not left]:
            del images_left[label]
    return dealt


def _neediest(
    group: _Group,
    label: int,
    room: Mapping[str, int],
    lacking: Mapping[str, Mapping[int, float]],
) -> str:
    """The split with room for the group that lacks most of the label, then most images."""
    fitting = [split for split in room if room[split] >= len(group.image_ids)]
    if not fitting:
        return max(room, key=lambda split: room[split])

    def need(split: str) -> tuple[float, int, str]:
        chance = hashlib.sha256(f"{group.chance}{split}".encode()).hexdigest()
        return round(lacking[split][label], 9), room[split], chance

    return max(fitting, key=need)


def _fill_empty(dealt: dict[str, list[_Group]], wanted: Sequence[str]) -> None:
    """Give each wanted split that large groups or chance left without objects a group with some.

    It is the smallest of the split that has most of them, if that one keeps another.
    """
    for split in wanted:
        if not any(group.has_objects for group in dealt[split]):
            fullest = max(dealt.values(), key=lambda those: sum(g.has_objects for g in those))
            smallest = sorted(
                (group for group in fullest if group.has_objects),
                key=lambda group: (len(group.image_ids), group.chance),
            )
            if len(smallest) > 1:
                fullest.remove(smallest[0])
                dealt[split].append(smallest[0])


def _check_objects(dealt: Mapping[str, Sequence[_Group]], wanted: Sequence[str]) -> None:
    """Refuse a split without objects: nothing is learnt from it, chosen by it or scored on it."""
    with_objects = sum(group.has_objects for groups in dealt.values() for group in groups)
    for split in wanted:
        if not any(group.has_objects for group in dealt[split]):
            raise DatasetError(
                f"split {split}",
                rule=f"would have no object: only {with_objects} groups of images have any, and "
                f"each of {len(wanted)} splits needs one",
                remedy="label more images that do not look alike",
            )


def _count(index: pa.Table, assignments: Mapping[str, str]) -> dict[str, SplitCount]:
    names = class_names_of(index.schema)
    images: Counter[str] = Counter(assignments.values())
    objects: dict[str, Counter[int]] = {split: Counter() for split in SPLITS}
    for image_id, found in zip(index["image_id"].to_pylist(), _categories(index), strict=True):
        objects[assignments[image_id]].update(found)
    return {
        split: SplitCount(
            images=images[split],
            objects_per_class={name: objects[split][i] for i, name in enumerate(names)},
        )
        for split in SPLITS
    }


def _digest(assignments: Mapping[str, str]) -> str:
    whole = hashlib.sha256()
    for image_id, split in sorted(assignments.items()):
        whole.update(f"{image_id}\t{split}\n".encode())
    return whole.hexdigest()


def _notes_on_likeness(alike: Sequence[Sequence[int]], too_many: int) -> Iterable[str]:
    if alike:
        images = sum(len(rows) for rows in alike)
        yield f"{images} images look like another one; each such cluster is kept in one split."
    if too_many:
        yield (
            f"{too_many} images look so much alike that near-duplicates cannot be told among them "
            "(a fixed camera?): only images of the same pixels are kept together there."
        )


def _notes(counts: Mapping[str, SplitCount], fractions: Mapping[str, float]) -> Iterable[str]:
    total: Counter[str] = Counter()
    for count in counts.values():
        total.update(count.objects_per_class)
    for split, count in counts.items():
        if not fractions[split]:
            continue
        absent = [name for name, n in count.objects_per_class.items() if not n and total[name]]
        if absent:
            yield f"No object of {', '.join(absent)} in {split}: too few images have one."
        wanted, met = fractions[split], count.images / sum(c.images for c in counts.values())
        if abs(met - wanted) > 0.01:
            yield f"{split} has {met:.1%} of the images, {wanted:.1%} were asked for."
