"""A run must not read what it writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from yololine.dataset.places import check_apart
from yololine.errors import UsageError


@pytest.mark.parametrize(
    ("source", "store"),
    [
        ("raw", "store"),
        ("raw", "."),
        ("store/raw", "store"),
        ("raw", "raw-store"),
        ("link", "store"),
        ("s3://bucket/raw", "s3://bucket/store"),
        ("s3://bucket/raw", "s3://bucket"),
        ("s3://bucket/raw", "s3://bucket/raw-store"),
        ("s3://bucket", "bucket"),
        ("raw", "s3://bucket"),
        (" ", "store"),
        ("raw", ""),
    ],
)
def test_apart(source: str, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    (tmp_path / "link").symlink_to("raw")
    check_apart(source, store)


@pytest.mark.parametrize(
    ("source", "store", "words"),
    [
        ("raw", "raw", "is the store too"),
        ("raw/", "file:{here}/raw", "is the store too"),
        ("raw", "file://{here}/raw/x", "takes in the store"),
        (".", "store", "takes in the store store"),
        ("{here}", "raw/../store", "takes in the store"),
        ("raw", "link/store", "takes in the store"),
        ("link", "raw/store", "takes in the store"),
        ("/", "store", "takes in the store"),
        ("store/runs", "store", "takes in the store"),
        ("store/datasets/", "store", "takes in the store"),
        ("s3://bucket/raw", "s3://bucket/raw/", "is the store too"),
        ("S3://bucket", "minio://bucket/raw", "takes in the store"),
        ("s3://bucket", "s3://bucket/", "is the store too"),
    ],
)
def test_not_apart(
    source: str, store: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    (tmp_path / "link").symlink_to("raw")
    here = os.fspath(tmp_path)
    with pytest.raises(UsageError, match=f"{words}.*put the store beside the source"):
        check_apart(source.format(here=here), store.format(here=here))


def test_a_home_that_is_not_there_is_no_error_here() -> None:
    check_apart("~nobody-of-that-name/x", "store")
