"""What cleaning found, kept and dropped: counts that add up, and every refusal by name."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import model_validator

from yololine.dataset.labels import BoxXywh
from yololine.frozen import Frozen

MAX_LISTED = 10_000
"""Refusals listed one by one; the counts are of all."""


class FileFault(StrEnum):
    """Why a file that decodes is dropped; `pictures.PictureFault` has the rest."""

    NO_LABEL = "no label file"
    LABEL_UNREADABLE = "unreadable label file"
    OTHER_SIZE = "label made for another picture size"
    DUPLICATE = "duplicate picture"
    NO_VALID_BOX = "no valid box left"
    NO_PICTURE = "label file without picture"
    PICTURE_DROPPED = "its picture was dropped"


class FileCounts(Frozen):
    """`ignored` are files that are neither picture nor label nor name the classes."""

    total: int
    kept: int
    dropped: int
    ignored: int


class ImageCounts(Frozen):
    """`background` are the kept images without an object."""

    total: int
    kept: int
    dropped: int
    background: int


class BoxCounts(Frozen):
    """Of the label files whose picture and text could be read."""

    total: int
    kept: int
    dropped: int


class DroppedFile(Frozen):
    """`file` is relative to the source; `exhibit` names a picture of `Cleaned.exhibits`, or ""."""

    file: str
    reason: str
    detail: str
    exhibit: str = ""


class DroppedBox(Frozen):
    """A box that was refused while its picture stayed, or took its picture with it."""

    file: str
    line: int
    reason: str
    detail: str
    box_xywh: BoxXywh | None = None
    exhibit: str = ""


class Spread(Frozen):
    """Of a picture's side, in pixels."""

    min: int
    median: int
    max: int


class ImageSizes(Frozen):
    """Of the kept images, upright."""

    width: Spread
    height: Spread


class CleaningReport(Frozen):
    """The whole account: kept + dropped + ignored = total, for files, images and boxes."""

    source_format: str
    class_names: tuple[str, ...]
    class_names_guessed: bool
    """True where no file names the classes and class_0, class_1, ... were made up."""
    files: FileCounts
    images: ImageCounts
    boxes: BoxCounts
    dropped_files: tuple[DroppedFile, ...]
    dropped_files_by_reason: dict[str, int]
    dropped_images_by_reason: dict[str, int]
    box_faults: tuple[DroppedBox, ...]
    dropped_boxes_by_reason: dict[str, int]
    objects_per_class: dict[str, int]
    images_per_class: dict[str, int]
    image_sizes: ImageSizes | None
    """None where no image was kept."""
    normalised: int
    """Images stored anew as upright 8-bit RGB PNG."""
    notes: tuple[str, ...]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        files, images, boxes = self.files, self.images, self.boxes
        account = {
            "files": (files.total, files.kept + files.dropped + files.ignored),
            "images": (images.total, images.kept + images.dropped),
            "boxes": (boxes.total, boxes.kept + boxes.dropped),
            "dropped files": (files.dropped, sum(self.dropped_files_by_reason.values())),
            "dropped images": (images.dropped, sum(self.dropped_images_by_reason.values())),
            "dropped boxes": (boxes.dropped, sum(self.dropped_boxes_by_reason.values())),
            "objects": (boxes.kept, sum(self.objects_per_class.values())),
            "listed files": (
                min(files.dropped, MAX_LISTED),
                len(self.dropped_files),
            ),
        }
        wrong = {name: pair for name, pair in account.items() if pair[0] != pair[1]}
        if wrong or images.background > images.kept:
            raise ValueError(f"the account does not add up: {wrong or images}")
        return self
