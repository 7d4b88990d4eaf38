from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from yololine.errors import UsageError
from yololine.inference.decoding import Probe, decode_rgb, probe


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


def _photograph(width: int, height: int) -> Image.Image:
    random = np.random.default_rng(width * height)
    coarse = random.integers(0, 255, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"subsampling": 0},
        {"subsampling": 1},
        {"quality": 20},
        {"quality": 100, "optimize": True},
        {"progressive": True},
        {"restart_marker_blocks": 3},
    ],
)
def test_a_jpeg_has_the_pixels_that_cleaning_saw(mode: str, options: dict[str, Any]) -> None:
    """Cleaning and reports decode by Pillow, the predictor by OpenCV: to the same values."""
    for width, height in ((64, 48), (63, 47), (1, 17), (200, 131)):
        data = _encoded(_photograph(width, height).convert(mode), "JPEG", **options)
        with Image.open(io.BytesIO(data)) as opened:
            assert np.array_equal(decode_rgb(data), np.asarray(opened.convert("RGB")))


def test_a_jpeg_of_rgb_values_has_its_colours() -> None:
    data = _encoded(Image.new("RGB", (8, 8), (200, 100, 50)), "JPEG", keep_rgb=True)
    assert np.abs(decode_rgb(data).astype(int) - (200, 100, 50)).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpegs_are_upright_too(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = _photograph(40, 24)
    data = _encoded(stored, "JPEG", exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        from PIL import ImageOps

        upright = np.asarray(ImageOps.exif_transpose(opened))
    assert np.array_equal(decode_rgb(data), upright)
    height, width = upright.shape[:2]
    assert probe(data) == Probe(width, height, "JPEG")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_damaged_metadata_does_no_harm() -> None:
    image = _photograph(40, 24)
    plain = _encoded(image, "JPEG")
    for exif in (b"Exif\0\0", b"Exif\0\0MM\0*\0\0\xff\xff", b"Exif\0\0" + bytes(30)):
        assert np.array_equal(decode_rgb(_encoded(image, "JPEG", exif=exif)), decode_rgb(plain))


def test_of_several_pictures_the_first_is_taken() -> None:
    first, second = _photograph(32, 32), _photograph(48, 48)
    for kind in ("MPO", "TIFF", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        data = _encoded(
            first, kind, save_all=True, append_images=[second.resize((32, 32))], **options
        )
        assert np.abs(decode_rgb(data).astype(int) - np.asarray(first)).max() < 60
        assert probe(data)[:2] == (32, 32)


def _png_header(width: int, height: int) -> bytes:
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    start = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    pixels = b"IDAT" + zlib.compress(b"")
    return b"\x89PNG\r\n\x1a\n" + start + struct.pack(">I", len(pixels) - 4) + pixels + bytes(4)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
def test_a_header_tells_size_and_kind(kind: str) -> None:
    assert probe(_encoded(_photograph(40, 24), kind)) == Probe(40, 24, kind)
    # Of the pixels nothing has to be there.
    if kind in {"JPEG", "PNG", "BMP"}:
        assert probe(_encoded(_photograph(400, 240), kind)[:700]) == Probe(400, 240, kind)


def test_a_bomb_is_measured_and_not_decoded() -> None:
    """Ten thousand megapixels: how much is too much is the caller's to say."""
    assert probe(_png_header(100_000, 100_000)) == Probe(100_000, 100_000, "PNG")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
def test_a_header_is_read_without_its_pixels(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _encoded(_photograph(40, 24), kind)

    def load(*_: object) -> None:
        pytest.fail("its pixels were read")

    for reader in (ImageFile.ImageFile, PngImageFile, TiffImageFile, WebPImageFile):
        monkeypatch.setattr(reader, "load", load)
    assert probe(data) == Probe(40, 24, kind)


def test_an_orientation_behind_the_pixels_counts() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = _photograph(40, 24)
    data = _encoded(image, "PNG", exif=exif)
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    last = data.index(b"IEND") - 4
    moved = data[:start] + data[end:last] + data[start:end] + data[last:]
    assert np.array_equal(decode_rgb(moved), np.rot90(np.asarray(image), -1))


def test_a_webp_that_pillow_takes_for_a_bomb_is_refused() -> None:
    side = (16_383 - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + side + side
    with pytest.raises(UsageError, match=r"is no picture that can be read \(Image size"):
        probe(b"RIFF" + struct.pack("<I", len(body)) + body)


def test_a_hundred_megapixels_are_decoded() -> None:
    image = Image.new("L", (10_000, 10_000), 77)
    assert decode_rgb(_encoded(image, "PNG", compress_level=1)).shape == (10_000, 10_000, 3)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty"),
        (b"GIF89a" + bytes(50), "its first bytes are 47 49 46 38 39 61 00 00"),
        (b"<!doctype html>", "its first bytes are 3c 21"),
        (b"\xff\xd8\xff", ""),
        (b"\xff\xd8\xff\xe0" + bytes(100), ""),
        (b"\x89PNG\r\n\x1a\n", ""),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), ""),
        (_png_header(0, 5), ""),
        (b"BM", ""),
        (b"BM" + bytes(100), ""),
        (b"RIFF\0\0\0\0WAVE" + bytes(100), ""),
        (b"RIFF\0\0\0\0WEBP" + bytes(100), ""),
        (b"II*\0", ""),
        (b"II*\0" + bytes(100), ""),
        (b"MM\0*" + b"\xff" * 100, ""),
    ],
)
def test_what_is_no_picture_is_refused_by_its_header(data: bytes, words: str) -> None:
    for read in (probe, decode_rgb):
        with pytest.raises(UsageError, match=r"image: is no picture that can be read \(.+\)") as it:
            read(data)
        assert words in it.value.rule
        assert "send a whole JPEG, PNG" in it.value.remedy


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
def test_a_picture_that_is_cut_short_is_refused(kind: str) -> None:
    data = _encoded(_photograph(160, 120), kind)
    for length in (len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(UsageError, match="is no picture that can be read"):
            decode_rgb(data[:length])


def test_damaged_pixels_are_refused_or_as_cleaning_saw_them() -> None:
    random = np.random.default_rng(0)
    for kind in ("JPEG", "PNG", "BMP", "WEBP", "TIFF"):
        whole = _encoded(_photograph(64, 48), kind)
        for _ in range(40):
            data = bytearray(whole)
            for place in random.integers(10, len(data), 5):
                data[place] = random.integers(256)
            try:
                assert decode_rgb(bytes(data)).dtype == np.uint8
            except UsageError as error:
                assert "is no picture that can be read" in str(error)  # noqa: PT017


def test_values_that_are_no_colours_are_refused() -> None:
    floating = _encoded(Image.fromarray(np.full((8, 8), 0.5, np.float32)), "TIFF")
    with pytest.raises(UsageError, match="its pixels are floating-point values"):
        decode_rgb(floating)
    many = _encoded(Image.fromarray(np.full((8, 8), 70_000, np.int32)), "TIFF")
    with pytest.raises(UsageError, match="its pixels are 32-bit values"):
        decode_rgb(many)
    sixteen = _encoded(Image.fromarray(RAMP.astype(np.int32)), "TIFF")
    assert np.array_equal(decode_rgb(sixteen)[..., 0], RAMP >> 8)
