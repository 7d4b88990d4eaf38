"""The held-out images, laid out once so that every scoring reads the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from yololine.dataset.schema import Tally, class_names_of, write_shards
from yololine.dataset.splitting import rows_of
from yololine.errors import DatasetError


@dataclass(frozen=True, kw_only=True)
class TestSet:
    """The images of split test as shards of their own."""

    __test__ = False  # its name looks like a test's to pytest

    shards: list[Path]
    digest: str
    images: int
    objects_per_class: dict[str, int]


def build_test_set(shards: Sequence[Path], assignments: Mapping[str, str], out: Path) -> TestSet:
    """Copy the rows of split test to new shards in `out`.

    Raises:
        DatasetError: No image is in split test, or an image is in no split.
    """
    class_names = class_names_of(pq.read_schema(shards[0]))
    tally = Tally(class_names)
    written = write_shards(tally.watch(rows_of(shards, assignments, "test")), out, class_names)
    if not tally.images:
        raise DatasetError(
            "split test", rule="has no image", remedy="split with a test_fraction above 0"
        )
    return TestSet(
        shards=written,
        digest=tally.digest(),
        images=tally.images,
        objects_per_class=tally.objects_per_class,
    )
