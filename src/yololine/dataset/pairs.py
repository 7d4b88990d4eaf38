"""Pictures with their labels, read from a laid-out source."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from yololine.dataset.labels import MAX_BYTES as MAX_LABEL_BYTES
from yololine.dataset.labels import (
    Labels,
    parse_voc,
    parse_yolo,
    voc_class_names,
    yolo_class_ids,
)
from yololine.dataset.parallel import in_order
from yololine.dataset.pictures import MAX_BYTES as MAX_PICTURE_BYTES
from yololine.dataset.pictures import BadPicture, Picture, read_picture, too_many_bytes
from yololine.dataset.sources import Layout, Pair, SourceFormat, SourceListing
from yololine.errors import NotFound, SourceError
from yololine.storage.base import Store, sha256_bytes

MAX_GUESSED_CLASSES = 1000
"""A class id beyond is taken for a slip, not for a thousand classes more."""
THREADS = 8
WINDOW = THREADS + 4
"""Pairs read ahead: so many pictures are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One pair as read; of picture and bad_picture, one is None."""

    pair: Pair
    sha256: str = ""
    """Of the picture's file as it lies in the source; empty where it was not read."""
    picture: Picture | None = None
    bad_picture: BadPicture | None = None
    labels: Labels | None = None
    """None where there is no label file, or it is unreadable, or the picture is."""
    label_error: str = ""


class PairReader:
    """Reads pairs in threads; where no file names the classes, the labels are read first."""

    def __init__(
        self, store: Store, listing: SourceListing, layout: Layout, pool: ThreadPoolExecutor
    ) -> None:
        self.layout = layout
        self._store = store
        self._pool = pool
        self._size_bytes = {entry.path: entry.size_bytes for entry in listing.entries}
        self.class_names = (
            self._find_classes() if layout.class_names is None else layout.class_names
        )

    @property
    def classes_guessed(self) -> bool:
        """Whether class_0, class_1, ... were made up."""
        return self.layout.class_names is None and self.layout.source_format is SourceFormat.YOLO

    def findings(self) -> Iterator[Finding]:
        """Every pair of the layout, in its order.

        Raises:
            SourceError: A file is not what was listed.
            StoreError: The store cannot be read.
        """
        return in_order(self._pool, self._read, self.layout.pairs, window=WINDOW)

    def labels_of(self, pair: Pair, image_size_wh: tuple[int, int]) -> Labels:
        """The labels of a pair; no boxes where it has no label file.

        Raises:
            SourceError: The label file is unreadable, or is not what was listed.
        """
        if pair.label is None:
            return Labels(boxes=(), faults=())
        return self._parse(self._content(pair.label), pair.label, image_size_wh)

    def _parse(self, content: bytes, label: str, image_size_wh: tuple[int, int]) -> Labels:
        parse = parse_voc if self.layout.source_format is SourceFormat.VOC else parse_yolo
        return parse(content, label, self.class_names, image_size_wh)

    def _read(self, pair: Pair) -> Finding:
        size_bytes = self._size_bytes[pair.image]
        if size_bytes > MAX_PICTURE_BYTES:
            return Finding(pair=pair, bad_picture=too_many_bytes(size_bytes))
        data = self._content(pair.image)
        sha256 = sha256_bytes(data)
        try:
            picture = read_picture(data)
        except BadPicture as bad:
            return Finding(pair=pair, sha256=sha256, bad_picture=bad)
        if pair.label is None:
            return Finding(pair=pair, sha256=sha256, picture=picture)
        if self._is_too_large(pair.label):
            words = f"has {self._size_bytes[pair.label]} bytes, at most {MAX_LABEL_BYTES} are read"
            return Finding(pair=pair, sha256=sha256, picture=picture, label_error=words)
        content = self._content(pair.label)
        try:
            labels = self._parse(content, pair.label, picture.size_wh)
        except SourceError as error:
            return Finding(pair=pair, sha256=sha256, picture=picture, label_error=error.rule)
        return Finding(pair=pair, sha256=sha256, picture=picture, labels=labels)

    def _find_classes(self) -> tuple[str, ...]:
        labels = dict.fromkeys(
            pair.label
            for pair in self.layout.pairs
            if pair.label is not None and not self._is_too_large(pair.label)
        )
        if self.layout.source_format is SourceFormat.VOC:
            names = in_order(self._pool, self._voc_names, labels, window=WINDOW)
            return tuple(sorted(set[str]().union(*names)))
        last = max(in_order(self._pool, self._last_id, labels, window=WINDOW), default=-1)
        return tuple(f"class_{i}" for i in range(last + 1))

    def _voc_names(self, label: str) -> set[str]:
        content = self._content(label)
        try:
            return voc_class_names(content, label)
        except SourceError:
            return set()

    def _last_id(self, label: str) -> int:
        content = self._content(label)
        try:
            ids = yolo_class_ids(content, label)
        except SourceError:
            return -1
        return max((i for i in ids if i < MAX_GUESSED_CLASSES), default=-1)

    def _is_too_large(self, label: str) -> bool:
        return self._size_bytes[label] > MAX_LABEL_BYTES

    def _content(self, path: str) -> bytes:
        try:
            data = self._store.read_bytes(path)
        except NotFound as error:
            raise self._changed(path) from error
        if len(data) != self._size_bytes[path]:
            raise self._changed(path)
        return data

    def _changed(self, path: str) -> SourceError:
        return SourceError(
            f"{self._store.uri}/{path}",
            rule="changed since the source was listed",
            remedy="run again once nothing writes to the source",
        )
