"""Raw images and labels in, a checked dataset and its account out."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from yololine.dataset.cleaning_report import (
    MAX_LISTED,
    BoxCounts,
    CleaningReport,
    DroppedBox,
    DroppedFile,
    FileCounts,
    FileFault,
    ImageCounts,
    ImageSizes,
    Spread,
)
from yololine.dataset.exhibits import Gallery, draw_found, draw_pair
from yololine.dataset.labels import BoxFault, BoxXywh, Labels
from yololine.dataset.pairs import THREADS, Finding, PairReader
from yololine.dataset.pictures import Picture, open_rgb, own_pixel_limit
from yololine.dataset.schema import Row, Tally, write_shards
from yololine.dataset.sources import Pair, SourceFormat, SourceListing, detect_layout
from yololine.errors import DatasetError, SourceError
from yololine.storage.base import Store, sha256_bytes


@dataclass(frozen=True, kw_only=True)
class Cleaned:
    """A cleaned dataset; `digest` names its content, whatever the shards' boundaries."""

    shards: list[Path]
    digest: str
    class_names: tuple[str, ...]
    images: int
    objects_per_class: dict[str, int]
    report: CleaningReport
    exhibits: dict[str, bytes]
    """File name -> small JPEG; the report's `exhibit` fields name them."""


def clean_dataset(
    store: Store,
    listing: SourceListing,
    out: Path,
    *,
    source_format: str = SourceFormat.AUTO,
    progress: Callable[[int, int], None] | None = None,
) -> Cleaned:
    """Decode every picture, pair it with its labels, check each box, and write what is good.

    The same source makes the same shards, in the order of the pictures' paths. Whether enough is
    left to go on with is for `check_cleaned` to say, who asks it having the account.

    Args:
        store: Where the source lies.
        listing: Of `list_source`.
        out: The shards' folder.
        source_format: yolo, voc or auto.
        progress: Called with (pictures done, pictures in all).

    Raises:
        SourceError: The layout is not known, or a file changed since it was listed.
        StoreError: The store cannot be read.
    """
    layout = detect_layout(store, listing, source_format)
    with own_pixel_limit(), ThreadPoolExecutor(THREADS) as pool:
        reader = PairReader(store, listing, layout, pool)
        tally = Tally(reader.class_names)
        account = _Account(reader)
        rows = tally.watch(account.rows(progress))
        shards = write_shards(rows, out, reader.class_names)
    exhibits, exhibit_of = account.gallery.chosen()
    return Cleaned(
        shards=shards,
        digest=tally.digest(),
        class_names=reader.class_names,
        images=tally.images,
        objects_per_class=tally.objects_per_class,
        report=account.report(tally, exhibit_of),
        exhibits=exhibits,
    )


def check_cleaned(report: CleaningReport, source_uri: str, *, max_dropped_fraction: float) -> None:
    """Refuse a dataset that is not worth training on.

    Args:
        report: Of `clean_dataset`.
        source_uri: For the message.
        max_dropped_fraction: Of all pictures, 0 to 1; more than that is taken for a mistake.

    Raises:
        SourceError: No picture or no box is left.
        DatasetError: More than `max_dropped_fraction` of the pictures were dropped.
    """
    images, boxes = report.images, report.boxes
    reasons = _listed(report.dropped_images_by_reason)
    if not images.kept:
        first = report.dropped_files[0]
        raise SourceError(
            source_uri,
            rule=f"no picture is left of {images.total}: {reasons}",
            remedy=f"mend the source, starting with {first.file} ({first.reason}: {first.detail})",
        )
    if not boxes.kept:
        why = _listed(report.dropped_boxes_by_reason) or "every label file is empty"
        raise SourceError(
            source_uri, rule=f"no box is left in {images.kept} pictures: {why}", remedy="give boxes"
        )
    if images.dropped > max_dropped_fraction * images.total:
        raise DatasetError(
            f"{images.dropped} of {images.total} pictures were dropped ({reasons})",
            rule=f"max_dropped_fraction allows {100 * max_dropped_fraction:.4g}%",
            remedy="mend the source, or raise max_dropped_fraction if this is as it should be",
        )


def _listed(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {reason}" for reason, n in reasons.items())


@dataclass(frozen=True, kw_only=True)
class _Verdict:
    """Why a picture is dropped."""

    reason: str
    detail: str


@dataclass(frozen=True, kw_only=True)
class _Original:
    """A kept picture, as a later duplicate of it is held against."""

    pair: Pair
    labels_hash: int


@dataclass
class _Account:
    """Decides on one finding after the other, and remembers why."""

    reader: PairReader
    dropped_files: list[DroppedFile] = field(default_factory=list)
    dropped_images: Counter[str] = field(default_factory=Counter)
    dropped_labels: Counter[str] = field(default_factory=Counter)
    box_faults: list[BoxFault] = field(default_factory=list)
    dropped_boxes: Counter[str] = field(default_factory=Counter)
    normalised: Counter[str] = field(default_factory=Counter)
    polygons: int = 0
    gallery: Gallery = field(default_factory=Gallery)
    _originals: dict[str, _Original] = field(default_factory=dict)
    _kept_labels: set[str] = field(default_factory=set)
    _sizes_wh: list[tuple[int, int]] = field(default_factory=list)

    def rows(self, progress: Callable[[int, int], None] | None) -> Iterator[Row]:
        """The good ones."""
        pairs = self.reader.layout.pairs
        for done, finding in enumerate(self.reader.findings(), start=1):
            verdict = self._judge(finding)
            if verdict is not None:
                self._drop(finding, verdict)
            elif finding.picture is not None and finding.labels is not None:
                yield self._keep(finding, finding.picture, finding.labels)
            if progress:
                progress(done, len(pairs))
        self._drop_labels(pairs)

    def _judge(self, finding: Finding) -> _Verdict | None:
        """What is wrong with the picture, None where nothing is."""
        pair, picture, labels = finding.pair, finding.picture, finding.labels
        if finding.bad_picture is not None or picture is None:
            assert finding.bad_picture is not None
            return _Verdict(reason=finding.bad_picture.reason, detail=finding.bad_picture.detail)
        if finding.sha256 in self._originals:
            original = self._originals[finding.sha256]
            detail = f"same bytes as {original.pair.image}, {_compared(finding, original)}"
            return _Verdict(reason=FileFault.DUPLICATE, detail=detail)
        if pair.label is None:
            detail = "add an empty one if nothing is to be found in it"
            return _Verdict(reason=FileFault.NO_LABEL, detail=detail)
        if labels is None:
            detail = f"{pair.label} {finding.label_error}"
            return _Verdict(reason=FileFault.LABEL_UNREADABLE, detail=detail)
        if labels.image_size_wh not in {None, picture.size_wh}:
            detail = f"{pair.label} is for {labels.image_size_wh} px, it has {picture.size_wh}"
            if labels.image_size_wh == picture.raw_size_wh:
                detail += " once EXIF's orientation is applied"
            return _Verdict(reason=FileFault.OTHER_SIZE, detail=detail)
        if labels.faults and not labels.boxes:
            first = labels.faults[0]
            detail = (
                f"{len(labels.faults)} in {pair.label}, all faulty; line {first.line}: "
                f"{first.reason}: {first.detail}"
            )
            return _Verdict(reason=FileFault.NO_VALID_BOX, detail=detail)
        return None

    def _keep(self, finding: Finding, picture: Picture, labels: Labels) -> Row:
        assert finding.pair.label is not None
        self._refuse_boxes(picture, labels)
        self._originals[finding.sha256] = _Original(pair=finding.pair, labels_hash=_hash(labels))
        self._kept_labels.add(finding.pair.label)
        self._sizes_wh.append(picture.size_wh)
        self.polygons += labels.polygons
        if picture.normalised:
            self.normalised[picture.normalised] += 1
        width, height = picture.size_wh
        return Row(
            image_id=finding.sha256[:20],
            file_name=finding.pair.image,
            image_bytes=picture.content,
            width=width,
            height=height,
            boxes_xywh=np.array(_boxes(labels), np.float32).reshape(-1, 4),
            categories=np.array([box.category for box in labels.boxes], np.int32),
            group=picture.pixels_sha256[:20],
            sha256=sha256_bytes(picture.content) if picture.normalised else finding.sha256,
            perceptual_hash=picture.perceptual_hash,
            suffix=picture.suffix,
        )

    def _drop(self, finding: Finding, verdict: _Verdict) -> None:
        self.dropped_images[verdict.reason] += 1
        self._list_file(finding.pair.image, verdict.reason, verdict.detail)
        if finding.picture is None:
            return
        if verdict.reason == FileFault.NO_VALID_BOX and finding.labels is not None:
            self._refuse_boxes(finding.picture, finding.labels, finding.pair.image)
            return
        if finding.labels is not None:
            boxes = len(finding.labels.boxes) + len(finding.labels.faults)
            self.dropped_boxes.update([FileFault.PICTURE_DROPPED] * boxes)
        if self.gallery.wants(verdict.reason):
            drawn = self._draw_dropped(finding, open_rgb(finding.picture.content))
            self.gallery.add(verdict.reason, drawn, finding.pair.image)

    def _draw_dropped(self, finding: Finding, image: Image.Image) -> Image.Image:
        original = self._originals.get(finding.sha256)
        if original is None:
            return draw_found(image, _boxes(finding.labels), _faulty(finding.labels))
        first = self.reader.labels_of(original.pair, image.size)
        kept, dropped = (image, _boxes(first)), (image, _boxes(finding.labels))
        return draw_pair(kept, dropped, ("kept", "duplicate"))

    def _refuse_boxes(self, picture: Picture, labels: Labels, *lost: str) -> None:
        """Count and show faulty boxes; `lost` is the picture's path where they cost it."""
        for fault in labels.faults:
            self.dropped_boxes[fault.reason] += 1
            if len(self.box_faults) < MAX_LISTED:
                self.box_faults.append(fault)
        if labels.faults and self.gallery.wants(labels.faults[0].reason):
            drawn = draw_found(open_rgb(picture.content), _boxes(labels), _faulty(labels))
            self.gallery.add(labels.faults[0].reason, drawn, labels.faults[0].file, *lost)

    def _drop_labels(self, pairs: Sequence[Pair]) -> None:
        for orphan in self.reader.layout.orphan_labels:
            self.dropped_labels[FileFault.NO_PICTURE] += 1
            self._list_file(orphan, FileFault.NO_PICTURE, "delete it, or add its picture")
        lost = {p.label: p.image for p in pairs if p.label and p.label not in self._kept_labels}
        for label, image in lost.items():
            self.dropped_labels[FileFault.PICTURE_DROPPED] += 1
            self._list_file(label, FileFault.PICTURE_DROPPED, image)

    def _list_file(self, file: str, reason: str, detail: str) -> None:
        if len(self.dropped_files) < MAX_LISTED:
            self.dropped_files.append(DroppedFile(file=file, reason=reason, detail=detail))

    def report(self, tally: Tally, exhibit_of: dict[str, str]) -> CleaningReport:
        """The account; `exhibit_of` is file -> name of the picture that shows it."""
        layout = self.reader.layout
        dropped = self.dropped_images + self.dropped_labels
        labels = {pair.label for pair in layout.pairs if pair.label is not None}
        listed = (*layout.pairs, *labels, *layout.orphan_labels, *layout.metadata, *layout.ignored)
        objects = sum(tally.objects_per_class.values())
        return CleaningReport(
            source_format=layout.source_format,
            class_names=self.reader.class_names,
            class_names_guessed=self.reader.classes_guessed,
            files=FileCounts(
                total=len(listed),
                kept=tally.images + len(self._kept_labels) + len(layout.metadata),
                dropped=dropped.total(),
                ignored=len(layout.ignored),
            ),
            images=ImageCounts(
                total=len(layout.pairs),
                kept=tally.images,
                dropped=self.dropped_images.total(),
                background=tally.background,
            ),
            boxes=BoxCounts(
                total=objects + self.dropped_boxes.total(),
                kept=objects,
                dropped=self.dropped_boxes.total(),
            ),
            dropped_files=tuple(
                file.model_copy(update={"exhibit": exhibit_of.get(file.file, "")})
                for file in self.dropped_files
            ),
            dropped_files_by_reason=dict(dropped.most_common()),
            dropped_images_by_reason=dict(self.dropped_images.most_common()),
            box_faults=tuple(
                DroppedBox(**fault.model_dump(), exhibit=exhibit_of.get(fault.file, ""))
                for fault in self.box_faults
            ),
            dropped_boxes_by_reason=dict(self.dropped_boxes.most_common()),
            objects_per_class=tally.objects_per_class,
            images_per_class=tally.images_per_class,
            image_sizes=_sizes(self._sizes_wh),
            normalised=self.normalised.total(),
            notes=tuple(self._notes(tally)),
        )

    def _notes(self, tally: Tally) -> Iterator[str]:
        yield from self.reader.layout.notes
        names = self.reader.class_names
        if self.reader.classes_guessed and names:
            yield (
                f"No file names the classes: {names[0]} to {names[-1]} were made up from the ids "
                "in the labels. Add a data.yaml with names."
            )
        elif self.reader.layout.class_names is None:
            yield (
                "The classes are the names found in the labels, in alphabetical order. "
                "A classes.txt would fix the list, so that a misspelt class is found."
            )
        empty = [name for name, n in tally.objects_per_class.items() if not n]
        if empty:
            yield f"No object of {', '.join(empty)}."
        spelt = Counter(name.casefold() for name in names)
        alike = [name for name in names if spelt[name.casefold()] > 1]
        if alike:
            yield f"Classes whose names differ in case alone: {', '.join(alike)}. Are they one?"
        if self.polygons:
            yield f"Polygons that became the boxes around them: {self.polygons}."
        if self.normalised:
            yield (
                f"{self.normalised.total()} pictures were stored anew as upright 8-bit RGB PNG: "
                f"{_listed(dict(self.normalised.most_common()))}."
            )


def _compared(duplicate: Finding, original: _Original) -> str:
    if duplicate.pair.label is None:
        return "without a label file"
    if duplicate.labels is None:
        return "and its label file is unreadable"
    same = _hash(duplicate.labels) == original.labels_hash
    return "with the same labels" if same else "but its labels differ"


def _boxes(labels: Labels | None) -> list[BoxXywh]:
    return [box.box_xywh for box in labels.boxes] if labels is not None else []


def _faulty(labels: Labels | None) -> list[BoxXywh]:
    faults = labels.faults if labels is not None else ()
    return [fault.box_xywh for fault in faults if fault.box_xywh is not None]


def _hash(labels: Labels) -> int:
    boxes = ((box.category, *(round(v, 3) for v in box.box_xywh)) for box in labels.boxes)
    return hash(tuple(sorted(boxes)))


def _sizes(sizes_wh: Sequence[tuple[int, int]]) -> ImageSizes | None:
    if not sizes_wh:
        return None
    widths, heights = zip(*sizes_wh, strict=True)
    return ImageSizes(width=_spread(widths), height=_spread(heights))


def _spread(sides: Sequence[int]) -> Spread:
    return Spread(min=min(sides), median=round(statistics.median(sides)), max=max(sides))
