"""A folder as a store: for laptops, tests and mounted volumes."""

# ruff: noqa: D102 (what a method promises stands once, in Store)

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from yololine.errors import StoreRefused, UsageError
from yololine.storage.base import CHUNK_BYTES, Entry, Store, is_hidden, is_utf8, safe_path
from yololine.storage.disk import disk_in_words, no_such_file, replacing

_MAX_DEPTH = 200


class LocalStore(Store):
    """Objects are files below a folder; links that lead out of it are not followed."""

    def __init__(self, root: Path) -> None:
        with suppress(RuntimeError):  # ~name of nobody: a folder that is called so
            root = root.expanduser()
        self.root = root.absolute()
        self.uri = str(self.root)

    def chunks(self, path: str) -> Iterator[bytes]:
        file = self._file(path)
        with disk_in_words(file):
            # Opening a pipe or a device would wait for its writer, perhaps for ever.
            if not file.is_file():
                raise no_such_file(file)
            with file.open("rb") as stream:
                while chunk := stream.read(CHUNK_BYTES):
                    yield chunk

    def write_bytes(self, path: str, data: bytes) -> None:
        with self._writing(path) as file:
            file.write(data)

    def upload(
        self, source: Path, path: str, *, sending: Callable[[int], None] | None = None
    ) -> None:
        with disk_in_words(source), source.open("rb") as stream, self._writing(path) as file:
            while chunk := stream.read(CHUNK_BYTES):
                if sending:
                    sending(len(chunk))
                file.write(chunk)

    def size_bytes(self, path: str) -> int | None:
        file = self._file(path)
        with disk_in_words(file):
            return file.stat().st_size if file.is_file() else None

    def paths(self, prefix: str = "") -> Iterator[str]:
        top = prefix.rstrip("/")
        yield from self._below(self._file(top) if top else self.root, f"{top}/" if top else "")

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        for path in self.paths(prefix):
            file = self.root / path
            with disk_in_words(file):
                try:
                    stream = file.open("rb")
                except FileNotFoundError:
                    continue  # removed since the folder was read
            with disk_in_words(file), stream:
                # MD5 is what S3 answers as ETag, so that a folder and its copy in a bucket have
                # one digest; it tells content apart and guards nothing.
                md5 = hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False))
                size_bytes = stream.tell()
            yield Entry(path=path, size_bytes=size_bytes, md5=md5.hexdigest())

    def delete(self, path: str) -> None:
        file = self._file(path)
        with disk_in_words(file):
            if file.is_file():
                file.unlink(missing_ok=True)

    def check_readable(self) -> None:
        # A store that does not exist yet is an empty one; check_writable creates it.
        if self.root.exists() and not self.root.is_dir():
            raise StoreRefused(self.root, rule="is no folder", remedy="name the folder itself")
        super().check_readable()

    def _file(self, path: str) -> Path:
        file = self.root / safe_path(path)
        if not self._stays_inside(file):
            raise UsageError(
                file,
                rule="a link leads out of the store's root",
                remedy="copy what it leads to into the root",
            )
        return file

    def _stays_inside(self, file: Path) -> bool:
        # realpath, for Path.resolve raises RuntimeError on a loop of links before Python 3.13.
        return Path(os.path.realpath(file)).is_relative_to(os.path.realpath(self.root))

    def _below(self, folder: Path, prefix: str) -> Iterator[str]:
        """Paths of the files below a folder, in order, holding one folder's names at a time."""
        if prefix.count("/") > _MAX_DEPTH:
            raise StoreRefused(
                f"{self.root / prefix[:200]}...",
                rule=f"nests folders deeper than {_MAX_DEPTH}",
                remedy="look for a folder that was copied into itself",
            )
        with disk_in_words(folder):
            try:
                found = list(os.scandir(folder))
            except (FileNotFoundError, NotADirectoryError):
                return
        # A folder sorts as the paths in it do, with its slash: `a.txt` comes before `a/b`.
        names = {f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name: e for e in found}
        for name, entry in sorted(names.items()):
            if is_hidden(name):
                continue
            if not is_utf8(name):
                raise StoreRefused(
                    repr(entry.path),
                    rule="the name is not UTF-8",
                    remedy="rename it, a whole tree with: convmv -r -f latin1 -t utf8 --notest",
                )
            file = folder / entry.name
            if name.endswith("/"):
                yield from self._below(file, prefix + name)
                continue
            with disk_in_words(file):
                listed = entry.is_file(follow_symlinks=False) or (
                    entry.is_symlink() and self._stays_inside(file) and file.is_file()
                )
            if listed:
                yield prefix + name

    @contextmanager
    def _writing(self, path: str) -> Iterator[BinaryIO]:
        target = self._file(path)
        with disk_in_words(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with replacing(target) as file:
                yield file
                file.flush()
                # A manifest written after this file must not outlive it in a power cut.
                os.fsync(file.fileno())
