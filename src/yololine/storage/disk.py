"""Files on a disk: written whole or not at all, and the system's refusals in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from yololine.errors import NotFound, StoreError, StoreRefused, StoreUnavailable

TEMPORARY_SUFFIX = ".part"


@contextmanager
def replacing(target: Path) -> Iterator[BinaryIO]:
    """A temporary sibling that takes the target's place when the block ends well.

    The sibling is gone afterwards, whatever happened. The target's folder must exist.
    """
    part = target.with_name(f".{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY_SUFFIX}")
    try:
        with part.open("xb") as file:
            yield file
        part.replace(target)
    finally:
        with suppress(OSError):
            part.unlink()


@contextmanager
def disk_in_words(path: Path) -> Iterator[None]:
    """Raise the operating system's errors about a file as StoreErrors."""
    try:
        yield
    except OSError as error:
        raise _words(path, error) from error


def _words(path: Path, error: OSError) -> StoreError:
    match error.errno:
        case errno.ENOENT:
            return no_such_file(path)
        case errno.ENOSPC | errno.EDQUOT:
            return StoreRefused(
                path, rule="the disk is full", remedy="free space or choose another store"
            )
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return StoreRefused(
                path,
                rule=f"no permission ({error.strerror})",
                remedy=f"let user {os.getuid()} read and write the folder, or choose another store",
            )
        case errno.EEXIST | errno.ENOTDIR | errno.EISDIR:
            return StoreRefused(
                path,
                rule="a file and a folder want the same name",
                remedy="choose another path, or remove what is there",
            )
        case errno.ENAMETOOLONG:
            return StoreRefused(
                path, rule="the name is longer than the disk allows", remedy="choose a shorter name"
            )
    return StoreUnavailable(path, rule=str(error.strerror or error), remedy="check the disk")


def no_such_file(path: Path) -> NotFound:
    """The error for a file that is not there."""
    return NotFound(
        path,
        rule="there is no such file",
        remedy="check the URI, or run the step that makes it",
    )
