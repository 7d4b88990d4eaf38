"""Recorded requests: pictures as the endpoint got them, for a shadow to answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from yololine.dataset.sources import IMAGE_SUFFIXES, no_file
from yololine.errors import NotFound, UsageError, legible
from yololine.inference.decoding import decode_rgb
from yololine.serving.pictures import Limits
from yololine.serving.refusals import Refusal
from yololine.serving.settings import Settings
from yololine.storage import Store, open_store

if TYPE_CHECKING:
    from yololine.deployment import RecordedRequest

MOST = 200
"""Each is asked of two versions, one after the other: some seconds to a minute for all of them."""
_NAMED = 3
_REMEDY = "copy pictures there as the endpoint gets them, or leave it empty"


@dataclass(kw_only=True)
class Requests:
    """Pictures of one place, read one at a time: no more than one is in memory.

    Attributes:
        uri: As the user wrote it.
        found: Pictures that lie there.
        paths: Those that are read: 200 at most, evenly chosen over the names in their order.
        left_out: Why one of them could not be read, a sentence each; filled while they are.
    """

    store: Store
    uri: str
    found: int
    paths: tuple[str, ...]
    left_out: list[str] = field(default_factory=list)

    def __iter__(self) -> Iterator[RecordedRequest]:
        from yololine.deployment import RecordedRequest

        self.left_out.clear()
        limits = Limits.of(Settings(model_dir=Path()))
        for path in self.paths:
            name = legible(path)
            try:
                data = self._read(path, limits)
                limits.check_header(data)
                height, width = decode_rgb(data).shape[:2]
            except Refusal as error:
                self.left_out.append(f"{name}: {error.reason}")
            except (NotFound, UsageError) as error:
                # Removed since it was listed, or cut short while it was copied.
                self.left_out.append(f"{name}: {error.rule}")
            else:
                yield RecordedRequest(name=name, image_bytes=data, width=width, height=height)

    def __str__(self) -> str:
        """What will be asked."""
        return f"{len(self.paths)} of {self.found} pictures in {self.store.uri}"

    def left_out_in_words(self) -> str:
        """Which were left out and why; empty where none was."""
        if not self.left_out:
            return ""
        more = len(self.left_out) - _NAMED
        told = "; ".join(self.left_out[:_NAMED]) + (f"; and {more} more" if more > 0 else "")
        return f"recorded requests: {len(self.left_out)} left out: {told}"

    def _read(self, path: str, limits: Limits) -> bytes:
        # Before it is read, however large it is.
        limits.check_bytes(self.store.size_bytes(path) or 0)
        return self.store.read_bytes(path)


def find_requests(uri: str) -> Requests:
    """The recorded requests of a folder or prefix, of which at least one can be read.

    Raises:
        UsageError: There is no picture, or none that the predictor would take.
        StoreError: The place cannot be read.
    """
    store = open_store(uri)
    files = list(store.paths())
    if not files:
        raise _fault(uri, no_file(store).rule)
    pictures = [path for path in files if path.lower().endswith(IMAGE_SUFFIXES)]
    if not pictures:
        raise _fault(uri, f"holds no picture ({len(files)} other files)")
    requests = Requests(store=store, uri=uri, found=len(pictures), paths=_evenly(pictures))
    if next(iter(requests), None) is None:
        raise _fault(uri, f"holds no picture that the predictor takes ({requests.left_out[0]})")
    return requests


def _evenly(paths: list[str]) -> tuple[str, ...]:
    """At most 200, the first among them, with equal steps between them."""
    count = min(len(paths), MOST)
    return tuple(paths[index * len(paths) // count] for index in range(count))


def _fault(uri: str, rule: str) -> UsageError:
    return UsageError(f"deploy_requests_uri={uri!r}", rule=rule, remedy=_REMEDY)
