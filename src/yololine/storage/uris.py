"""Which store a URI means."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

from yololine.errors import UsageError, without_secrets
from yololine.storage.base import Store
from yololine.storage.local import LocalStore

_SCHEME = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(.*)", re.DOTALL)
_FILE_URI = re.compile(r"(?://(?:localhost)?)?(/[^/].*)", re.DOTALL)


def open_object(uri: str) -> tuple[Store, str]:
    """The store and the path in it that the URI of a single file means.

    Raises:
        UsageError: The URI has another scheme, or names no file.
    """
    folder, slash, name = uri.rpartition("/")
    return open_store(folder or slash or "."), name


def open_store(uri: str) -> Store:
    """The store behind a URI: `s3://bucket/prefix`, `file:///folder` or a folder's path.

    Nothing is asked of the store yet.

    Raises:
        UsageError: The URI has another scheme, or names no bucket or folder.
        StoreRefused: S3 credentials are missing.
    """
    text = uri.strip()
    scheme, rest = _SCHEME.fullmatch(text).groups("")  # type: ignore[union-attr]
    match scheme.lower():
        case "s3" | "minio":
            from yololine.storage.s3 import S3Store

            return S3Store.from_uri(text)
        case "file" if folder := _FILE_URI.fullmatch(rest):
            return LocalStore(Path(unquote(folder[1])))
        case "" if text:
            return LocalStore(Path(text))
    raise UsageError(
        repr(without_secrets(uri)),
        rule="is no store: a bucket or a folder is needed",
        remedy="write s3://bucket/prefix, file:///folder or the path of a folder",
    )
