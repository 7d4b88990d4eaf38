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


class DatasetManifest(Frozen):
    """A cleaned dataset; `digest` names its content: images, boxes, names of the classes."""

    kind: Literal["dataset"] = "dataset"
    digest: str
    key: str = ""
    source_uri: str
    source_digest: str
    class_names: tuple[str, ...]
    shards: tuple[ShardRef, ...]
    images: int
    objects_per_class: dict[str, int]
    parameters: dict[str, Any] = Field(default_factory=dict)
    tool_version: str


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


class AugmentedManifest(Frozen):
    """Augmented copies of train images, as shards of the dataset's schema."""

    kind: Literal["augmented"] = "augmented"
    digest: str
    key: str = ""
    split_digest: str
    policy: str
    policy_sha256: str
    copies: int
    class_names: tuple[str, ...]
    shards: tuple[ShardRef, ...]
    images: int
    objects_per_class: dict[str, int]
    tool_version: str


class TestSetManifest(Frozen):
    """The held-out test images, as shards of the dataset's schema."""

    __test__ = False  # its name looks like a test's to pytest

    kind: Literal["test_set"] = "test_set"
    digest: str
    key: str = ""
    dataset_digest: str
    split_digest: str
    class_names: tuple[str, ...]
    shards: tuple[ShardRef, ...]
    images: int
    objects_per_class: dict[str, int]
    tool_version: str
