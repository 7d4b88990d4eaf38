"""The small pictures that show what was found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from yololine.dataset.exhibits import (
    FAULTY_COLOUR,
    GOOD_COLOUR,
    MAX_EXHIBITS,
    Gallery,
    draw_found,
    draw_pair,
)


def drawn_at(image: Image.Image, colour: str) -> np.ndarray:
    return (np.asarray(image) == tuple(bytes.fromhex(colour[1:]))).all(-1)


def test_good_is_green_and_faulty_is_red() -> None:
    image = draw_found(Image.new("RGB", (640, 480)), [(20, 40, 100, 60)], [(300, 200, 40, 80)])
    assert image.size == (320, 240)
    green, red = drawn_at(image, GOOD_COLOUR), drawn_at(image, FAULTY_COLOUR)
    assert green[22:48, 10].all()
    assert green[20, 12:58].all()
    assert not green[30, 20]
    assert red[100, 152:168].all()
    assert red[102:138, 150].all()


@pytest.mark.parametrize(
    ("box_xywh", "row", "column"),
    [
        ((-50, 10, 100, 60), None, 0),
        ((280, 190, 500, 500), 190, None),
        ((-9e8, 10, 9e8, 60), None, 0),
        ((10, -9e8, 100, 60), 0, None),
    ],
)
def test_what_leaves_the_picture_is_dashed_at_its_border(
    box_xywh: Any, row: int | None, column: int | None
) -> None:
    red = drawn_at(draw_found(Image.new("RGB", (320, 240)), [], [box_xywh]), FAULTY_COLOUR)
    line = red[:, column] if row is None else red[row]
    first, last = line.nonzero()[0][[0, -1]]
    assert last - first > 10
    assert not line[first : last + 1].all()


@pytest.mark.parametrize(
    "box_xywh", [(100, 100, 0, 0), (100, 100, -40, 20), (320, 50, 0, 50), (900, 50, 9, 9)]
)
def test_what_has_no_extent_is_still_seen(box_xywh: Any) -> None:
    red = drawn_at(draw_found(Image.new("RGB", (320, 240)), [], [box_xywh]), FAULTY_COLOUR)
    assert red.any(axis=1).sum() > 3
    assert red.any(axis=0).sum() > 3


@pytest.mark.parametrize("size_wh", [(10, 3000), (3000, 10), (8, 8), (320, 240)])
def test_sizes_stay_small(size_wh: tuple[int, int]) -> None:
    image = Image.new("L", size_wh)
    one = draw_found(image, [(1, 1, 5, 5)])
    two = draw_pair((image, []), (image, []), ("kept", "duplicate"))
    for picture in (one, two):
        assert picture.width <= 320
        assert picture.height <= 640


def test_a_gallery_shows_each_reason_in_turn() -> None:
    gallery, picture = Gallery(), Image.new("RGB", (8, 8))
    for number in range(100):
        if gallery.wants("no label file"):
            gallery.add("no label file", picture, f"{number}.jpg")
    gallery.add("zero extent", picture, "a.txt", "a.jpg")
    jpegs, names = gallery.chosen()
    assert len(jpegs) == MAX_EXHIBITS
    assert list(jpegs)[:3] == ["01-no-label-file.jpg", "02-zero-extent.jpg", "03-no-label-file.jpg"]
    assert names["a.txt"] == names["a.jpg"] == "02-zero-extent.jpg"
    assert set(names.values()) == set(jpegs)
    assert Gallery().chosen() == ({}, {})
