"""Many files between a store and a folder: in parallel, verified, what arrived wrong once more."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Lock
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from yololine.errors import IntegrityError
from yololine.storage.base import FileRef, Store, check_content, sha256_file
from yololine.storage.disk import disk_in_words, replacing

LOG = logging.getLogger("yololine")
THREADS = 8
ATTEMPTS = 3
"""How often one file is sent or fetched when its content arrives wrong.

A store that does not answer is asked again by the store itself.
"""
PROGRESS_SECONDS = 15
"""A transfer that takes longer says in the log, this often, how far it is."""
A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R")


def fetch_files(store: Store, files: Iterable[tuple[FileRef, Path]]) -> None:
    """Bring published objects into files; each appears whole and verified, or not at all.

    The first error stops the others, as an interruption (KeyboardInterrupt, a SIGTERM handler
    that raises) does; files that had arrived by then stay.

    Args:
        store: Where the objects lie.
        files: Pairs of reference and destination; the destinations' folders are made.

    Raises:
        NotFound: An object is not there.
        IntegrityError: An object still differs from its reference after ATTEMPTS.
        StoreError: The store cannot be read, or a destination not written.
    """
    pairs = list(files)
    traffic = _Traffic("fetched from", store, sum(ref.size_bytes for ref, _ in pairs))

    def fetch(ref: FileRef, destination: Path) -> None:
        with disk_in_words(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
        for attempt in _retrying():
            with (
                attempt,
                traffic.of_a_file() as moving,
                disk_in_words(destination),
                replacing(destination) as file,
            ):
                sha256 = hashlib.sha256()
                for chunk in store.chunks(ref.path):
                    moving(len(chunk))
                    sha256.update(chunk)
                    file.write(chunk)
                check_content(store.uri, ref, file.tell(), sha256.hexdigest())

    _in_parallel(fetch, pairs, traffic)


def publish_files(store: Store, files: Iterable[tuple[Path, str]]) -> list[FileRef]:
    """Upload files and return what was published, in the order given.

    An object that is already there with the same content is not sent again. To publish a
    result, write the manifest that names the returned references afterwards: a reader that
    starts from the manifest then never meets a part of the result.

    Raises:
        NotFound: A file is not there; nothing was sent.
        StoreError: The store cannot be written.
    """
    pairs = list(files)
    traffic = _Traffic("sent to", store, sum(_size_bytes(source) for source, _ in pairs))

    def publish(source: Path, path: str) -> FileRef:
        with disk_in_words(source):
            ref = FileRef(path=path, sha256=sha256_file(source), size_bytes=_size_bytes(source))
        for attempt in _retrying():
            with attempt, traffic.of_a_file() as moving:
                # Asked each time: another run may have published the same by now.
                if store.verified(ref):
                    moving(ref.size_bytes)
                    break
                store.upload(source, path, sending=moving)
                # Its content was checked on the way: S3 verifies the digest each request carries.
                check_content(store.uri, ref, store.size_bytes(path) or 0, ref.sha256)
        return ref

    return _in_parallel(publish, pairs, traffic)


class _Traffic:
    """What the threads of one call have moved, told in the log; and the way to stop them."""

    def __init__(self, what: str, store: Store, total_bytes: int) -> None:
        self.stopped = Event()
        self._what = f"{what} {store.uri}"
        self._total_bytes = total_bytes
        self._counting = Lock()
        self._moved_bytes = self._told_bytes = 0
        self._told_at = time.monotonic()

    @contextmanager
    def of_a_file(self) -> Iterator[Callable[[int], None]]:
        """Takes the bytes of each piece; they count for nothing when the block ends in an error.

        The function raises CancelledError once the transfer has been stopped.
        """
        counted = 0

        def moving(size_bytes: int) -> None:
            nonlocal counted
            if self.stopped.is_set():
                raise CancelledError
            counted += size_bytes
            self._add(size_bytes)

        try:
            yield moving
        except BaseException:
            self._add(-counted)
            raise

    def _add(self, size_bytes: int) -> None:
        with self._counting:
            self._moved_bytes += size_bytes
            passed_seconds = time.monotonic() - self._told_at
            if passed_seconds < PROGRESS_SECONDS:
                return
            LOG.info(
                "%s: %.0f of %.0f MB, %.1f MB/s",
                self._what,
                self._moved_bytes / 1e6,
                self._total_bytes / 1e6,
                max(0, self._moved_bytes - self._told_bytes) / 1e6 / max(passed_seconds, 1e-3),
            )
            self._told_bytes = self._moved_bytes
            self._told_at += passed_seconds


def _size_bytes(source: Path) -> int:
    with disk_in_words(source):
        return source.stat().st_size


def _in_parallel(
    work: Callable[[A, B], R], pairs: Iterable[tuple[A, B]], traffic: _Traffic
) -> list[R]:
    """Results in order; the first error, whichever file it is about, stops the traffic."""
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            futures = [pool.submit(work, a, b) for a, b in pairs]
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
            return [future.result() for future in futures]
        except BaseException:
            traffic.stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _retrying() -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(IntegrityError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=2),
        reraise=True,
    )
