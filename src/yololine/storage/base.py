"""What a store is: flat, slash-separated keys under one root URI."""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path

from yololine.errors import IntegrityError, NotFound, UsageError
from yololine.frozen import Frozen
from yololine.storage.disk import TEMPORARY_SUFFIX, disk_in_words, replacing

CHUNK_BYTES = 1 << 20


# urlsplit would end a bucket's prefix at `#` or `?`, and refuses brackets with a ValueError.
class Entry(Frozen):
    """One object of a listing; `md5` is its content's MD5, or an S3 multipart ETag."""

    path: str
    size_bytes: int
    md5: str


class FileRef(Frozen):
    """A published file: where it lies below the store's root, and what it must hold."""

    path: str
    sha256: str
    size_bytes: int


class Store(ABC):
    """Objects below one root URI. Paths are relative, with `/`, and never leave the root.

    Writing an object is atomic: a reader sees the old content or the new one, never a part.

    Every method may raise StoreUnavailable (it does not answer, however patiently asked),
    StoreRefused (it answers and says no) and UsageError (the path leaves the root).
    """

    uri: str

    @abstractmethod
    def chunks(self, path: str) -> Iterator[bytes]:
        """Content of one object, at most CHUNK_BYTES at a time.

        Raises:
            NotFound: There is no such object.
            IntegrityError: It was replaced while it was being read, or breaks off early.
        """

    @abstractmethod
    def write_bytes(self, path: str, data: bytes) -> None:
        """Create or replace an object."""

    @abstractmethod
    def upload(
        self, source: Path, path: str, *, sending: Callable[[int], None] | None = None
    ) -> None:
        """Stream a file into an object, which is created or replaced.

        Args:
            source: The file.
            path: The object.
            sending: Called with the bytes of each piece that is about to be sent. What it raises
                ends the upload, of which nothing stays.

        Raises:
            NotFound: There is no such file.
        """

    @abstractmethod
    def size_bytes(self, path: str) -> int | None:
        """Size of an object, None where there is none."""

    @abstractmethod
    def entries(self, prefix: str = "") -> Iterator[Entry]:
        """Every object below `prefix/` (or all), in the order of their paths' code points.

        Hidden ones (`is_hidden`) are left out.
        """

    @abstractmethod
    def paths(self, prefix: str = "") -> Iterator[str]:
        """As `entries`, without reading content: paths alone."""

    @abstractmethod
    def delete(self, path: str) -> None:
        """Remove an object; one that is not there is no error."""

    def read_bytes(self, path: str) -> bytes:
        """Content of a small object.

        Raises:
            NotFound: There is no such object.
        """
        return b"".join(self.chunks(path))

    def download(self, path: str, destination: Path) -> None:
        """Stream an object into a file, whose folder exists; it appears whole or not at all.

        Raises:
            NotFound: There is no such object.
        """
        with disk_in_words(destination), replacing(destination) as file:
            for chunk in self.chunks(path):
                file.write(chunk)

    def digest(self, path: str) -> str:
        """sha256 of an object's content as it is stored now; the whole object is read.

        Raises:
            NotFound: There is no such object.
        """
        sha256 = hashlib.sha256()
        for chunk in self.chunks(path):
            sha256.update(chunk)
        return sha256.hexdigest()

    def exists(self, path: str) -> bool:
        """Whether the object is there."""
        return self.size_bytes(path) is not None

    def verified(self, ref: FileRef) -> bool:
        """Whether the object is there and is what was published.

        A store that has kept the sha256 with which the content arrived answers from that; of any
        other all is read. Who goes on to use the content fetches it, and that always verifies.
        """
        if self.size_bytes(ref.path) != ref.size_bytes:
            return False
        try:
            return self.digest(ref.path) == ref.sha256
        except NotFound:
            return False

    def check_readable(self) -> None:
        """Raise a StoreError where the store cannot be listed."""
        next(self.paths(), None)

    def check_writable(self) -> None:
        """Raise a StoreError where an object cannot be written and removed again."""
        # Hidden, so that no listing of a run beside this one meets it.
        probe = f"runs/.probe-{os.getpid()}-{os.urandom(4).hex()}"
        self.write_bytes(probe, b"yololine")
        self.delete(probe)


def check_content(store_uri: str, ref: FileRef, size_bytes: int, sha256: str) -> None:
    """Raise IntegrityError unless size and sha256 are the published ones."""
    where = f"{store_uri}/{ref.path}"
    remedy = f"delete {where.rsplit('/', 1)[0]} and run again: the same command makes it anew"
    if size_bytes != ref.size_bytes:
        raise IntegrityError(
            where, rule=f"{size_bytes} bytes, published with {ref.size_bytes}", remedy=remedy
        )
    if sha256 != ref.sha256:
        raise IntegrityError(
            where, rule=f"sha256 {sha256[:12]}..., published as {ref.sha256[:12]}...", remedy=remedy
        )


def safe_path(path: str) -> str:
    """The path, if it names one object below the root, by the same name in every store.

    Raises:
        UsageError: It is absolute, climbs out, is not UTF-8, or has empty segments, which a
            folder would drop and a bucket would keep.
    """
    segments = path.split("/")
    if not path.strip() or not {"", ".", ".."}.isdisjoint(segments) or re.search(r"[\\\0]", path):
        raise UsageError(
            repr(path),
            rule="is no path below the store's root",
            remedy="write folder/name: no leading or double slash, no . or .., no backslash",
        )
    if not is_utf8(path):
        raise UsageError(repr(path), rule="is not UTF-8", remedy="rename the file")
    return path


def is_utf8(name: str) -> bool:
    """Whether a name can be stored; one the disk holds in another encoding has surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_hidden(path: str) -> bool:
    """Whether listings leave an object out: dot files, dot folders and unfinished files."""
    return path.endswith(TEMPORARY_SUFFIX) or any(name[:1] == "." for name in path.split("/"))


def sha256_bytes(data: bytes) -> str:
    """Hex sha256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Hex sha256 of a file, streamed."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
