"""The small JSON documents that travel between steps in place of the data itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from yololine.frozen import Frozen
from yololine.storage.base import FileRef

SPLITS = ("train", "val", "test")


class ShardRef(FileRef):
    """One Parquet shard: rows are images, with their bytes inside."""

    images: int


class ShardedImages(Frozen):
    """Images in shards; `digest` names their content: images, boxes, names of the classes."""

    digest: str
    key: str = ""
    """Of the step's result, which may differ where the content is the same."""
    class_names: tuple[str, ...]
    shards: tuple[ShardRef, ...]
    images: int
    objects_per_class: dict[str, int]
    tool_version: str


class DatasetManifest(ShardedImages):
    """A cleaned dataset."""

    kind: Literal["dataset"] = "dataset"
    source_uri: str
    source_digest: str
    parameters: dict[str, Any] = Field(default_factory=dict)


class SplitCount(Frozen):
    """Size of one split."""

    images: int
    objects_per_class: dict[str, int]


class SplitManifest(Frozen):
    """Which image is in which split; `table` is Parquet with `image_id: string, split: string`."""

    kind: Literal["split"] = "split"
    digest: str
    key: str = ""
    dataset: DatasetManifest
    table: FileRef
    counts: dict[str, SplitCount]
    seed: int
    val_fraction: float
    test_fraction: float
    tool_version: str


class AugmentedManifest(ShardedImages):
    """Augmented copies of train images, as shards of the dataset's schema."""

    kind: Literal["augmented"] = "augmented"
    split_digest: str
    policy: str
    policy_sha256: str
    copies: int


class TestSetManifest(ShardedImages):
    """The held-out test images, as shards of the dataset's schema."""

    __test__ = False  # its name looks like a test's to pytest

    kind: Literal["test_set"] = "test_set"
    dataset_digest: str
    split_digest: str
