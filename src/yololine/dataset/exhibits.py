"""Small pictures that show a person what was found in the source."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from yololine.dataset.labels import BoxXywh
from yololine.reporting.pictures import draw_boxes, side_by_side, to_jpeg

MAX_EXHIBITS = 24
MAX_WIDTH_PX = 320
MAX_HEIGHT_PX = 640
GOOD_COLOUR = "#00aa3c"
FAULTY_COLOUR = "#e1141e"
MARGIN = 0.03
"""Of the picture's width: as much must a box leave it to be dashed, or extend to be drawn as is."""


def draw_found(
    image: Image.Image,
    good: Sequence[BoxXywh] = (),
    faulty: Sequence[BoxXywh] = (),
    *,
    max_width: int = MAX_WIDTH_PX,
) -> Image.Image:
    """The picture with good boxes in green and faulty ones in red.

    A faulty box that leaves the picture is drawn at its border, and dashed; one without extent is
    drawn large enough to be seen.
    """
    limits_xyxy = np.array([image.width, image.height] * 2) - 1
    faulty_xyxy, good_xyxy = _corners(faulty), _corners(good)
    leaves = (faulty_xyxy < -MARGIN * image.width) | (
        faulty_xyxy > limits_xyxy + MARGIN * image.width
    )
    # Before growing, so that what lies wholly outside is seen at the border.
    faulty_xyxy = _grown(np.clip(faulty_xyxy, 0, limits_xyxy), MARGIN * image.width)
    return draw_boxes(
        image,
        # The first is drawn on top.
        np.clip(np.concatenate([faulty_xyxy, good_xyxy]), 0, limits_xyxy),
        colours=[FAULTY_COLOUR] * len(faulty) + [GOOD_COLOUR] * len(good),
        dashed=[bool(edges.any()) for edges in leaves] + [False] * len(good),
        max_width=max(1, min(max_width, MAX_HEIGHT_PX * image.width // image.height)),
    )


def draw_pair(
    left: tuple[Image.Image, Sequence[BoxXywh]],
    right: tuple[Image.Image, Sequence[BoxXywh]],
    titles: tuple[str, str],
) -> Image.Image:
    """Two pictures with their boxes beside each other, as wide as one alone."""
    half = MAX_WIDTH_PX // 2 - 3
    panels = [draw_found(image, boxes, max_width=half) for image, boxes in (left, right)]
    return side_by_side(panels[0], panels[1], titles)


def _corners(boxes_xywh: Sequence[BoxXywh]) -> NDArray[np.float64]:
    xywh = np.array(boxes_xywh, np.float64).reshape(-1, 4)
    return np.concatenate([xywh[:, :2], xywh[:, :2] + xywh[:, 2:]], axis=1)


def _grown(boxes_xyxy: NDArray[np.float64], min_extent: float) -> NDArray[np.float64]:
    """The boxes, those of less extent grown to it around their middle."""
    low = np.minimum(boxes_xyxy[:, :2], boxes_xyxy[:, 2:])
    high = np.maximum(boxes_xyxy[:, :2], boxes_xyxy[:, 2:])
    missing = np.maximum(min_extent - (high - low), 0) / 2
    return np.concatenate([low - missing, high + missing], axis=1)


class Gallery:
    """A few pictures for each reason, so that one common fault does not hide the rare ones."""

    def __init__(self) -> None:
        self._by_reason: dict[str, list[tuple[tuple[str, ...], bytes]]] = {}

    def wants(self, reason: str) -> bool:
        """Whether a picture for this reason may still be chosen."""
        return len(self._by_reason.get(reason, ())) < MAX_EXHIBITS

    def add(self, reason: str, drawn: Image.Image, *files: str) -> None:
        """Offer a picture that shows what is wrong with the files."""
        self._by_reason.setdefault(reason, []).append((files, to_jpeg(drawn)))

    def chosen(self) -> tuple[dict[str, bytes], dict[str, str]]:
        """At most `MAX_EXHIBITS`, one of each reason in turn: name -> JPEG, and file -> name."""
        rounds = zip_longest(*([(r, *shown) for shown in s] for r, s in self._by_reason.items()))
        turns = [turn for one_round in rounds for turn in one_round if turn is not None]
        jpegs: dict[str, bytes] = {}
        names: dict[str, str] = {}
        for number, (reason, files, jpeg) in enumerate(turns[:MAX_EXHIBITS], start=1):
            name = f"{number:02d}-{reason.replace(' ', '-')}.jpg"
            jpegs[name] = jpeg
            names |= dict.fromkeys(files, name)
        return jpegs, names
