"""Many files between a store and a folder: in parallel, verified, what arrived wrong once more."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Event, Lock
from typing import TypeVar

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from yololine.errors import IntegrityError
from yololine.storage.base import FileRef, Store, check_content, sha256_file
from yololine.storage.disk import disk_in_words, replacing

THREADS = 8
ATTEMPTS = 3
"""How often one file is sent or fetched when its content arrives wrong.

A store that does not answer is asked again by the store itself.
"""
A = TypeVar("A")
B = TypeVar("B")
R = TypeVar("R")


def fetch_files(
    store: Store,
    files: Iterable[tuple[FileRef, Path]],
    *,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Bring published objects into files; each appears whole and verified, or not at all.

    The first error stops the others, as an interruption (KeyboardInterrupt, a SIGTERM handler
    that raises) does; files that had arrived by then stay.

    Args:
        store: Where the objects lie.
        files: Pairs of reference and destination; the destinations' folders are made.
        progress: Called with the bytes of each file that has arrived, from the transfer's
            threads, one call at a time.

    Raises:
        NotFound: An object is not there.
        IntegrityError: An object still differs from its reference after ATTEMPTS.
        StoreError: The store cannot be read, or a destination not written.
    """
    stopped = Event()
    counting = Lock()

    def fetch(ref: FileRef, destination: Path) -> None:
        with disk_in_words(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
        for attempt in _retrying():
            with attempt, disk_in_words(destination), replacing(destination) as file:
                sha256 = hashlib.sha256()
                for chunk in store.chunks(ref.path):
                    if stopped.is_set():
                        raise CancelledError
                    sha256.update(chunk)
                    file.write(chunk)
                check_content(store.uri, ref, file.tell(), sha256.hexdigest())
        if progress:
            with counting:
                progress(ref.size_bytes)

    _in_parallel(fetch, files, stopped)


def publish_files(store: Store, files: Iterable[tuple[Path, str]]) -> list[FileRef]:
    """Upload files and return what was published, in the order given.

    An object that is already there with the same content is not sent again. To publish a
    result, write the manifest that names the returned references afterwards: a reader that
    starts from the manifest then never meets a part of the result.

    Raises:
        NotFound: A file is not there.
        StoreError: The store cannot be written.
    """
    stopped = Event()

    def publish(source: Path, path: str) -> FileRef:
        with disk_in_words(source):
            ref = FileRef(path=path, sha256=sha256_file(source), size_bytes=source.stat().st_size)
        if store.verified(ref):
            return ref
        for attempt in _retrying():
            if stopped.is_set():
                raise CancelledError
            with attempt:
                store.upload(source, path)
                # Its content was checked on the way: S3 verifies the digest each request carries.
                check_content(store.uri, ref, store.size_bytes(path) or 0, ref.sha256)
        return ref

    return _in_parallel(publish, files, stopped)


def _in_parallel(
    work: Callable[[A, B], R], pairs: Iterable[tuple[A, B]], stopped: Event
) -> list[R]:
    """Results in order; the first error, whichever file it is about, sets `stopped`."""
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            futures = [pool.submit(work, a, b) for a, b in pairs]
            for future in wait(futures, return_when=FIRST_EXCEPTION).done:
                future.result()
            return [future.result() for future in futures]
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _retrying() -> Retrying:
    return Retrying(
        retry=retry_if_exception_type(IntegrityError),
        stop=stop_after_attempt(ATTEMPTS),
        wait=wait_random_exponential(multiplier=0.2, max=2),
        reraise=True,
    )
