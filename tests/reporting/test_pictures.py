from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yololine.reporting.palette import CLASS_COLOURS, class_colour
from yololine.reporting.pictures import draw_boxes, side_by_side, thumbnail, to_jpeg

GREY = np.full((120, 200, 3), 128, np.uint8)


def colour_at(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    pixel = image.getpixel((x, y))
    assert isinstance(pixel, tuple)
    return pixel


def opened(jpeg: bytes) -> Image.Image:
    return Image.open(io.BytesIO(jpeg), formats=("JPEG",))


@pytest.mark.parametrize(
    ("image", "size"),
    [
        (GREY, (200, 120)),
        (np.zeros((900, 1600), np.uint8), (480, 270)),
        (Image.new("RGBA", (960, 960)), (480, 480)),
        (Image.new("P", (10, 10)), (10, 10)),
        (np.zeros((2, 3000, 3), np.uint8), (480, 1)),
    ],
    ids=["small", "grey", "alpha", "palette", "line"],
)
def test_thumbnails_fit_the_width_and_are_never_enlarged(image: Any, size: tuple[int, int]) -> None:
    made = opened(thumbnail(image, 480))
    assert (made.size, made.mode) == (size, "RGB")


def test_sixteen_bits_are_spread_not_clipped() -> None:
    ramp = np.linspace(3000, 9000, 64 * 64).reshape(64, 64).astype(np.uint16)
    made = np.asarray(opened(thumbnail(ramp)))  # type: ignore[arg-type]
    assert made.min() < 20
    assert made.max() > 235


def test_boxes_are_drawn_in_their_colours_where_they_are() -> None:
    made = draw_boxes(
        GREY, [[20, 30, 60, 80], [100, 30, 160, 80]], colours=["#ff0000", "#00ff00"], max_width=200
    )
    assert made.size == (200, 120)
    assert colour_at(made, 20, 50) == (255, 0, 0)
    assert colour_at(made, 160, 50) == (0, 255, 0)
    assert colour_at(made, 40, 50) == (128, 128, 128)


def test_boxes_follow_the_scale() -> None:
    made = draw_boxes(
        np.full((1200, 2000, 3), 128, np.uint8), [[200, 300, 600, 800]], colours=["#ff0000"],
        max_width=200,
    )  # fmt: skip
    assert made.size == (200, 120)
    assert colour_at(made, 20, 50) == (255, 0, 0)


def test_small_images_are_enlarged_twice_at_most() -> None:
    assert draw_boxes(GREY, [], colours=[], max_width=4000).size == (400, 240)


def test_a_dashed_line_has_gaps() -> None:
    made = draw_boxes(GREY, [[20, 30, 180, 100]], colours=["#ff0000"], dashed=[True], max_width=200)
    red = sum(colour_at(made, x, 30) == (255, 0, 0) for x in range(20, 180))
    assert 60 < red < 100


@pytest.mark.parametrize(
    "box",
    [
        [np.nan, 0, 10, 10],
        [np.inf, 0, 10, 10],
        [60, 80, 20, 30],
        [40, 40, 40, 40],
        [-500, -500, 5000, 5000],
        [300, 300, 400, 400],
        [1e12, 1e12, 1e13, 1e13],
    ],
)
@pytest.mark.parametrize("dashed", [True, False])
def test_boxes_of_any_shape_do_no_harm(box: list[float], dashed: bool) -> None:
    draw_boxes(GREY, [box], colours=["#ff0000"], dashed=[dashed])


def test_no_box_is_the_image() -> None:
    made = draw_boxes(GREY, np.zeros((0, 4)), colours=[], max_width=200)
    assert np.array_equal(np.asarray(made), GREY)


def test_the_given_image_stays_as_it_was() -> None:
    given = Image.fromarray(GREY)
    draw_boxes(given, [[20, 30, 60, 80]], colours=["#ff0000"], max_width=200)
    assert np.array_equal(np.asarray(given), GREY)


def test_two_pictures_stand_beside_each_other() -> None:
    left, right = Image.new("RGB", (100, 80), "#ff0000"), Image.new("RGB", (60, 120), "#0000ff")
    made = side_by_side(left, right, ("left", "right"))
    assert made.size == (166, 120)
    assert colour_at(made, 50, 10) == (255, 0, 0)
    assert colour_at(made, 130, 10) == (0, 0, 255)
    assert opened(to_jpeg(made)).size == (166, 120)


def test_class_colours_come_again() -> None:
    assert len(set(CLASS_COLOURS)) == len(CLASS_COLOURS)
    assert class_colour(0) == class_colour(len(CLASS_COLOURS))
