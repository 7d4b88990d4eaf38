"""Pictures of every kind: what is stored, what is refused, what is the same."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yololine.dataset.pictures import (
    BadPicture,
    Picture,
    PictureFault,
    difference_hash,
    own_pixel_limit,
    read_picture,
)

SIZE_WH = (64, 48)


def stored(picture: Picture) -> Image.Image:
    image = Image.open(io.BytesIO(picture.content))
    image.load()
    return image


@pytest.mark.parametrize(
    ("mode", "kind", "suffix"),
    [
        ("RGB", "JPEG", ".jpg"),
        ("L", "JPEG", ".jpg"),
        ("RGB", "PNG", ".png"),
        ("L", "PNG", ".png"),
        ("RGB", "BMP", ".bmp"),
        ("L", "BMP", ".bmp"),
        ("RGB", "WEBP", ".webp"),
    ],
)
def test_plain_pictures_are_stored_as_they_are(
    made: Any, mode: str, kind: str, suffix: str
) -> None:
    data = made.file(image=made.picture(mode=mode), kind=kind)
    picture = read_picture(data)
    assert picture.content == data
    assert (picture.suffix, picture.size_wh, picture.normalised) == (suffix, SIZE_WH, "")


def sixteen_bits(made: Any) -> Image.Image:
    values = np.asarray(made.picture(mode="L")).astype(np.uint16)
    return Image.fromarray(values * 256 + 77)


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + crc


def png_rgb_16(made: Any, bits: int = 16) -> bytes:
    """Pillow writes no 16-bit RGB."""
    pixels = (np.asarray(made.picture()).astype(">u2") * 256 + 77) >> (16 - bits)
    pixels = pixels.astype(">u2")

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", *SIZE_WH, 16, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + _png_chunk(b"IHDR", header)
        + _png_chunk(b"IDAT", zlib.compress(rows))
        + _png_chunk(b"IEND", b"")
    )


def odd(made: Any, which: str) -> tuple[bytes, Image.Image]:
    """A file, and the RGB picture that must be stored for it."""
    rgb, grey = made.picture(), made.picture(mode="L")
    if which == "mode RGBA":
        image = rgb.convert("RGBA")
        image.putalpha(99)
        return made.file(image=image, kind="PNG"), rgb
    if which == "mode P":
        palette = rgb.quantize(16)
        data = made.file(image=palette, kind="PNG", transparency=bytes([0, 128] + [255] * 14))
        return data, palette.convert("RGB")
    if which == "mode CMYK":
        data = made.file(image=rgb.convert("CMYK"), kind="JPEG", quality=100)
        with Image.open(io.BytesIO(data)) as image:
            return data, image.convert("RGB")
    if which == "mode 1":
        black = grey.convert("1")
        return made.file(image=black, kind="PNG"), black.convert("RGB")
    if which == "mode LA":
        return made.file(image=grey.convert("LA"), kind="PNG"), grey.convert("RGB")
    if which == "mode I;16":
        return made.file(image=sixteen_bits(made), kind="PNG"), grey.convert("RGB")
    if which == "TIFF, mode I;16":
        return made.file(image=sixteen_bits(made), kind="TIFF"), grey.convert("RGB")
    if which == "TIFF, mode I":
        values = np.asarray(grey).astype(np.int32) * 256 + 5
        return made.file(image=Image.fromarray(values), kind="TIFF"), grey.convert("RGB")
    if which == "16 bits per channel":
        return png_rgb_16(made), rgb
    if which == "TIFF":
        return made.file(image=rgb, kind="TIFF", compression="tiff_lzw"), rgb
    if which == "TIFF, first of 2 frames":
        return made.file(image=rgb, kind="TIFF", save_all=True, append_images=[grey]), rgb
    if which == "first of 2 frames":
        frames = [made.picture(5)]
        data = made.file(image=rgb, kind="WEBP", save_all=True, append_images=frames, lossless=True)
        return data, rgb
    raise AssertionError(which)


@pytest.mark.parametrize(
    "which",
    [
        "mode RGBA",
        "mode P",
        "mode CMYK",
        "mode 1",
        "mode LA",
        "mode I;16",
        "TIFF, mode I;16",
        "TIFF, mode I",
        "16 bits per channel",
        "TIFF",
        "TIFF, first of 2 frames",
        "first of 2 frames",
    ],
)
def test_other_pictures_become_rgb_png(made: Any, which: str) -> None:
    data, expected = odd(made, which)
    picture = read_picture(data)
    assert (picture.normalised, picture.suffix, picture.size_wh) == (which, ".png", SIZE_WH)
    image = stored(picture)
    assert (image.format, image.mode) == ("PNG", "RGB")
    assert np.array_equal(np.asarray(image), np.asarray(expected))
    again = read_picture(picture.content)
    assert again.normalised == ""
    assert again.pixels_sha256 == picture.pixels_sha256


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(made: Any, kind: str, orientation: int) -> None:
    """A red corner at the top left of the upright picture, wherever the raster has it."""
    upright = np.full((48, 64, 3), 40, np.uint8)
    upright[:16, :16] = (230, 20, 20)
    image = Image.fromarray(upright)
    # What a camera held so writes: the inverse of what makes it upright.
    inverse = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    if orientation > 1:
        image = image.transpose(inverse[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = read_picture(made.file(image=image, kind=kind, exif=exif))
    assert picture.size_wh == SIZE_WH
    assert picture.raw_size_wh == image.size
    assert picture.normalised == ("EXIF orientation" if orientation > 1 else "")
    pixels = np.asarray(stored(picture)).astype(int)
    assert pixels[4, 4, 0] > 180
    assert pixels[4, -4, 0] < 100
    assert pixels[-4, 4, 0] < 100


def test_damaged_exif_is_no_damaged_picture(made: Any) -> None:
    data = made.file(kind="JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 40)
    with own_pixel_limit():
        assert read_picture(data).content == data


def broken(made: Any, which: str) -> bytes:
    data: bytes = made.file()
    if which == "empty":
        return b""
    if which == "text":
        return b"<html>404 Not Found</html>"
    if which == "gif":
        return bytes(made.file(image=made.picture(mode="P"), kind="GIF"))
    if which == "random":
        return np.random.default_rng(0).bytes(5000)
    if which == "jpeg cut in half":
        return data[: len(data) // 2]
    if which == "jpeg header alone":
        return data[:200]
    png: bytes = made.file(kind="PNG")
    if which == "png cut":
        return png[:-400]
    if which == "png with a flipped bit":
        return png[:600] + bytes([png[600] ^ 1]) + png[601:]
    kind = which.split()[0].upper()
    whole: bytes = made.file(kind=kind)
    return whole[: len(whole) * 2 // 3]


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("empty", PictureFault.UNREADABLE),
        ("text", PictureFault.UNREADABLE),
        ("gif", PictureFault.UNREADABLE),
        ("random", PictureFault.UNREADABLE),
        ("jpeg cut in half", PictureFault.TRUNCATED),
        ("jpeg header alone", None),
        ("png cut", PictureFault.TRUNCATED),
        ("png with a flipped bit", None),
        ("webp cut", None),
        ("bmp cut", PictureFault.TRUNCATED),
        ("tiff cut", None),
    ],
)
def test_damaged_pictures(made: Any, which: str, reason: PictureFault | None) -> None:
    with own_pixel_limit(), pytest.raises(BadPicture) as caught:
        read_picture(broken(made, which))
    assert caught.value.reason in (
        {reason} if reason else {PictureFault.TRUNCATED, PictureFault.UNREADABLE}
    )
    assert caught.value.detail


@pytest.mark.parametrize("size_wh", [(1, 1), (7, 64), (64, 7)])
def test_too_small(made: Any, size_wh: tuple[int, int]) -> None:
    with pytest.raises(BadPicture, match=f"under 8 pixels: {size_wh[0]} x {size_wh[1]} px"):
        read_picture(made.file(image=made.picture(size_wh=size_wh), kind="PNG"))


def test_too_large_is_refused_before_it_is_decoded(made: Any) -> None:
    image = Image.new("1", (10_001, 10_000))
    bomb = made.file(image=image, kind="PNG")
    assert len(bomb) < 50_000
    with own_pixel_limit(), pytest.raises(BadPicture, match="100 megapixels: 10001 x 10000"):
        read_picture(bomb)


def test_the_limit_is_ours_and_only_for_a_while(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow's limit of 1000 pixels would warn of, or refuse, a picture of 3072."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with own_pixel_limit():
        assert read_picture(made.file()).size_wh == SIZE_WH
    assert Image.MAX_IMAGE_PIXELS == 1000


@pytest.mark.parametrize(
    "values",
    [
        np.linspace(0, 1, 64 * 48, dtype=np.float32).reshape(48, 64),
        np.full((48, 64), 70_000, np.int32),
        np.full((48, 64), -1, np.int32),
    ],
)
def test_measurements_are_no_pictures(made: Any, values: np.ndarray) -> None:
    with pytest.raises(BadPicture, match="unsupported pixel type"):
        read_picture(made.file(image=Image.fromarray(values), kind="TIFF"))


def twelve_of_sixteen(made: Any, which: str) -> bytes:
    if which == "PNG RGB":
        return png_rgb_16(made, bits=12)
    kind, mode = which.split()
    values = np.asarray(sixteen_bits(made)) >> 4
    image = Image.fromarray(values.astype(np.int32) if mode == "I" else values)
    return bytes(made.file(image=image, kind=kind))


@pytest.mark.parametrize("which", ["PNG I;16", "TIFF I;16", "TIFF I", "PNG RGB"])
def test_twelve_bits_in_sixteen_would_be_black(made: Any, which: str) -> None:
    """As industrial cameras write them; what is only dark is not refused."""
    data = twelve_of_sixteen(made, which)
    with pytest.raises(BadPicture, match=r"uses 12 bits or fewer: brightest value 1\d of 255"):
        read_picture(data)
    dark = Image.fromarray(np.full((48, 64), 16 * 256, np.uint16))
    assert np.asarray(stored(read_picture(made.file(image=dark, kind="PNG")))).max() == 16
    black = made.file(image=Image.new("L", (64, 48)), kind="PNG")
    assert read_picture(black).content == black


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>", "it is HTML"),
        (b"\n<HTML>", "it is HTML"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "it is XML"),
        (b"GIF89a" + b"\0" * 50, "it is a GIF"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 50, "it is a HEIC picture"),
        (b"\0\0\0\x1cftypavif" + b"\0" * 50, "it is an AVIF picture"),
        (b"\0\0\0\x0cjP  \r\n", "it is a JPEG 2000 picture"),
        (b"%PDF-1.4", "it is a PDF"),
        (b"PK\x03\x04", "it is a ZIP file"),
        (b"\x1f\x8b\x08", "it is a gzip file"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "its content was not fetched"),
        (b"\x01\x02", "it is of an unknown kind: its first bytes are 01 02"),
    ],
)
def test_what_is_no_picture_is_told(content: bytes, words: str) -> None:
    with pytest.raises(BadPicture, match=words) as caught:
        read_picture(content)
    assert caught.value.reason == PictureFault.UNREADABLE


def test_a_huge_file_is_refused(monkeypatch: pytest.MonkeyPatch, made: Any) -> None:
    monkeypatch.setattr("yololine.dataset.pictures.MAX_BYTES", 100)
    with pytest.raises(BadPicture, match=r"more than 512 MiB: \d+ bytes"):
        read_picture(made.file())


def test_a_picture_may_be_long_but_not_longer_than_a_jpeg(made: Any) -> None:
    image = made.picture(size_wh=(65_500, 8))
    assert read_picture(made.file(image=image)).size_wh == (65_500, 8)
    image = made.picture(size_wh=(8, 65_501))
    with pytest.raises(BadPicture, match="a side over 65500 pixels: 8 x 65501 px"):
        read_picture(made.file(image=image, kind="PNG"))


@pytest.mark.parametrize("kind", ["zTXt", "iCCP"])
def test_what_unfolds_beside_the_pixels_is_no_picture(made: Any, kind: str) -> None:
    plain = made.file(kind="PNG")
    packed = zlib.compress(bytes(50 << 20), 9)
    bomb = plain[:33] + _png_chunk(kind.encode(), b"a\0\0" + packed) + plain[33:]
    assert len(bomb) < 100_000
    with own_pixel_limit(), pytest.raises(BadPicture, match="too large"):
        read_picture(bomb)


def test_damage_anywhere_is_told_or_harmless(made: Any) -> None:
    """Whatever bytes are wrong, there is a picture or a BadPicture, and nothing else."""
    rng = np.random.default_rng(0)
    exif = Image.Exif()
    exif[0x0112] = 6
    wholes = [made.file(kind=kind, exif=exif) for kind in ("JPEG", "PNG", "WEBP", "TIFF")]
    wholes += [made.file(kind="BMP"), png_rgb_16(made), odd(made, "mode P")[0]]
    seen = set()
    with own_pixel_limit():
        for whole in wholes:
            for _ in range(60):
                data = bytearray(whole)
                for at in rng.integers(0, len(data), rng.integers(1, 12)):
                    data[at] = rng.integers(0, 256)
                try:
                    read_picture(bytes(data[: rng.integers(len(data) // 2, len(data) + 1)]))
                except BadPicture as bad:
                    seen.add(bad.reason)
                else:
                    seen.add(None)
    assert {None, PictureFault.UNREADABLE, PictureFault.TRUNCATED} <= seen


def test_pixels_are_the_same_in_every_container(made: Any) -> None:
    image = made.picture()
    pictures = [read_picture(made.file(image=image, kind=kind)) for kind in ("PNG", "BMP", "TIFF")]
    assert len({picture.pixels_sha256 for picture in pictures}) == 1


def test_pixels_of_another_shape_are_others(made: Any) -> None:
    shapes = [(64, 48), (48, 64)]
    grey = [made.file(image=Image.new("RGB", shape, (9, 9, 9)), kind="PNG") for shape in shapes]
    assert len({read_picture(data).pixels_sha256 for data in grey}) == 2


@pytest.mark.parametrize(
    ("columns", "digits"),
    [
        (np.arange(90), "f" * 16),
        (np.arange(90)[::-1], "0" * 16),
        (np.full(90, 7), "0" * 16),
        (np.abs(np.arange(90) - 45), "0f" * 8),
    ],
)
def test_difference_hash(columns: np.ndarray, digits: str) -> None:
    image = Image.fromarray(np.tile(columns.astype(np.uint8), (80, 1)))
    assert difference_hash(image) == digits


def test_difference_hash_is_imagehash_s(made: Any) -> None:
    imagehash = pytest.importorskip("imagehash")
    for seed in range(5):
        image = made.picture(seed, (320, 240))
        assert difference_hash(image) == str(imagehash.dhash(image))
