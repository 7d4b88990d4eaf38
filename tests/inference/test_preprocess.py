from __future__ import annotations

import numpy as np
import pytest

from yololine.inference.postprocess import detections
from yololine.inference.preprocess import PADDING_GREY, STRIDE_PIXELS, Letterbox, prepare


def letterbox(image: np.ndarray, size: int, *, square: bool = True) -> tuple[np.ndarray, Letterbox]:
    """What `prepare` makes, as the uint8 picture (size, size, 3) it stands for."""
    prepared = prepare(image, size, square=square)
    assert prepared.pixels.dtype == np.float32
    values = prepared.pixels.transpose(1, 2, 0) * 255
    assert np.abs(values - values.round()).max() < 1e-4
    return values.round().astype(np.uint8), prepared.place


SIZES = [(64, 64), (640, 480), (480, 640), (1000, 751), (3000, 2001), (33, 97), (1, 500), (5000, 1)]


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("size", [64, 640])
def test_boxes_come_back_where_they_were(width: int, height: int, size: int) -> None:
    """A pixel's corner goes where resizing puts it, and back to within half a pixel."""
    square, place = letterbox(np.zeros((height, width, 3), np.uint8), size)
    inside = np.argwhere((square != PADDING_GREY).all(axis=-1))
    (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
    assert max(bottom - top, right - left) == size
    assert (place.left, place.top) == (left, top)
    assert abs((size - right) - left) <= 1
    assert abs((size - bottom) - top) <= 1

    random = np.random.default_rng(0)
    corners = np.sort(random.random((50, 2, 2)) * (width, height), axis=1).reshape(-1, 4)
    boxes = np.concatenate([corners, [[0, 0, width, height]]])
    scales = np.array([(right - left) / width, (bottom - top) / height] * 2)
    there = boxes * scales + [left, top] * 2
    output = np.concatenate([there, np.ones((51, 1)), np.zeros((51, 1))], axis=1)
    back = detections(
        output.astype(np.float32), place, layout="end2end", min_score=0.5, iou_threshold=0.7
    )
    assert np.abs(back.boxes_xyxy - boxes).max() < 0.5 * max(1, max(width, height) / 1000)


@pytest.mark.parametrize(("width", "height"), SIZES[:-2])
def test_the_square_is_the_one_of_the_training(width: int, height: int) -> None:
    from yololine.detector import ultralytics as _  # noqa: F401

    from ultralytics.data.augment import LetterBox  # isort: skip

    random = np.random.default_rng(0)
    image = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
    square, _place = letterbox(image, 64)
    assert np.array_equal(square, LetterBox((64, 64), auto=False)(image=image))


def test_a_prepared_picture_is_what_the_model_takes() -> None:
    image = np.full((32, 64, 3), 255, np.uint8)
    image[..., 2] = 0
    prepared = prepare(image, 64)
    assert (prepared.pixels.shape, prepared.pixels.dtype) == ((3, 64, 64), np.float32)
    assert prepared.pixels.flags.c_contiguous
    assert tuple(prepared.pixels[:, 32, 32]) == (1, 1, 0)
    assert tuple(prepared.pixels[:, 0, 0]) == (np.float32(PADDING_GREY) / 255,) * 3
    assert (prepared.place.top, prepared.place.width, prepared.place.height) == (16, 64, 32)


def test_every_value_is_a_255th() -> None:
    """To the last bit as in training."""
    image = np.arange(256, dtype=np.uint8).repeat(3 * 64).reshape(128, 128, 3)
    pixels = prepare(image, 128).pixels.transpose(1, 2, 0)
    assert np.array_equal(pixels, image.astype(np.float32) / 255)


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("size", [64, 640])
def test_a_rectangle_is_the_square_without_most_of_its_grey(
    width: int, height: int, size: int
) -> None:
    random = np.random.default_rng(0)
    image = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
    square, in_square = letterbox(image, size)
    rectangle, place = letterbox(image, size, square=False)
    rows, columns = rectangle.shape[:2]
    assert max(rows, columns) == size
    assert rows % STRIDE_PIXELS == columns % STRIDE_PIXELS == 0
    assert (place.scale_x, place.scale_y) == (in_square.scale_x, in_square.scale_y)
    top, left = in_square.top - place.top, in_square.left - place.left
    assert np.array_equal(rectangle, square[top : top + rows, left : left + columns])
    assert place.top < STRIDE_PIXELS
    assert place.left < STRIDE_PIXELS


@pytest.mark.parametrize(("width", "height"), SIZES[:-2])
def test_the_rectangle_is_the_one_of_the_trainers_predictions(width: int, height: int) -> None:
    from yololine.detector import ultralytics as _  # noqa: F401

    from ultralytics.data.augment import LetterBox  # isort: skip

    random = np.random.default_rng(0)
    image = random.integers(0, 255, (height, width, 3), dtype=np.uint8)
    rectangle, _place = letterbox(image, 96, square=False)
    assert np.array_equal(rectangle, LetterBox((96, 96), auto=True, stride=32)(image=image))


def test_a_single_pixel_fills_the_input() -> None:
    prepared = prepare(np.full((1, 1, 3), 51, np.uint8), 64, square=False)
    assert prepared.pixels.shape == (3, 64, 64)
    assert np.unique(prepared.pixels).tolist() == [np.float32(51) / 255]
