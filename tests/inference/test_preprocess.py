from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yololine.inference.postprocess import detections
from yololine.inference.preprocess import PADDING_GREY, decode_rgb, letterbox, letterbox_batch


def _encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


RAMP = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
RGB = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8))


def _sixteen_bits() -> bytes:
    return _encoded(Image.fromarray(RAMP), "PNG")


def _transparent_palette() -> bytes:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 100, 50])
    return _encoded(image, "PNG", transparency=b"\x00\x10")


@pytest.mark.parametrize(
    ("data", "pixel"),
    [
        (_encoded(Image.new("RGB", (8, 8), (1, 2, 3)), "PNG"), (1, 2, 3)),
        (_encoded(Image.new("L", (8, 8), 77), "PNG"), (77, 77, 77)),
        (_encoded(Image.new("LA", (8, 8), (77, 0)), "PNG"), (77, 77, 77)),
        (_encoded(Image.new("1", (8, 8), 1), "PNG"), (255, 255, 255)),
        (_encoded(Image.new("RGBA", (8, 8), (1, 2, 3, 0)), "PNG"), (1, 2, 3)),
        (_encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF"), (255, 0, 0)),
        (_encoded(Image.new("L", (8, 8), 77), "JPEG"), (77, 77, 77)),
        (_encoded(Image.new("RGB", (8, 8), (9, 9, 9)), "BMP"), (9, 9, 9)),
        (_encoded(Image.new("RGB", (8, 8), (9, 9, 9)), "WEBP", lossless=True), (9, 9, 9)),
        (_transparent_palette(), (200, 100, 50)),
    ],
)
def test_every_kind_of_picture_becomes_rgb(data: bytes, pixel: tuple[int, ...]) -> None:
    image = decode_rgb(data)
    assert (image.shape, image.dtype) == ((8, 8, 3), np.uint8)
    assert tuple(image[0, 0]) == pixel


def test_a_cmyk_jpeg_has_its_colours() -> None:
    red = decode_rgb(_encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(red.astype(int) - (255, 0, 0)).max() < 12


def test_sixteen_bits_are_scaled() -> None:
    assert np.array_equal(decode_rgb(_sixteen_bits())[..., 1], RAMP >> 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_upright(orientation: int) -> None:
    """Each of EXIF's orientations stores the same picture turned otherwise."""
    stored = {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, 1),
        7: lambda p: np.rot90(p, 2).swapaxes(0, 1),
        8: lambda p: np.rot90(p, -1),
    }[orientation]
    upright = np.asarray(RGB)
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored(upright)))
    assert np.array_equal(decode_rgb(_encoded(image, "PNG", exif=exif)), upright)


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


def test_a_batch_is_what_the_model_takes() -> None:
    images = [np.full((32, 64, 3), 255, np.uint8), np.zeros((64, 64, 3), np.uint8)]
    images[0][..., 2] = 0
    batch, places = letterbox_batch(images, 64)
    assert (batch.shape, batch.dtype) == ((2, 3, 64, 64), np.float32)
    assert batch.flags.c_contiguous
    assert tuple(batch[0, :, 32, 32]) == (1, 1, 0)
    assert tuple(batch[0, :, 0, 0]) == (np.float32(PADDING_GREY) / 255,) * 3
    assert [place.top for place in places] == [16, 0]
