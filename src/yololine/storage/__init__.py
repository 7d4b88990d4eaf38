"""Store URIs, local folders and S3, verified parallel transfers, atomic publishing."""

from yololine.storage.base import Entry, FileRef, Store, sha256_bytes, sha256_file
from yololine.storage.transfer import fetch_files, publish_files
from yololine.storage.uris import open_object, open_store

__all__ = [
    "Entry",
    "FileRef",
    "Store",
    "fetch_files",
    "open_object",
    "open_store",
    "publish_files",
    "sha256_bytes",
    "sha256_file",
]
