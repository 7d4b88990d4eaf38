from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from yololine.reporting.exhibits import Exhibits


def encoded(format_name: str, size: tuple[int, int] = (32, 20)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, "#4a55d2").save(file, format_name)
    return file.getvalue()


@pytest.mark.parametrize(("format_name", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png")])
def test_a_picture_is_embedded_with_its_size(format_name: str, mime: str) -> None:
    data = encoded(format_name)
    found = Exhibits({"a": data}, budget_bytes=3_000_000).find("a")
    assert found is not None
    assert (found.width, found.height) == (32, 20)
    head, _, body = found.uri.partition(",")
    assert head == f"data:{mime};base64"
    assert base64.b64decode(body) == data


@pytest.mark.parametrize("name", ["b", "", None, 3, ["a"]])
def test_a_name_that_is_not_there(name: Any) -> None:
    assert Exhibits({"a": encoded("PNG")}, budget_bytes=3_000_000).find(name) is None


@pytest.mark.parametrize(
    "data",
    [b"", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xff\xd8\xff", encoded("GIF")],
    ids=["empty", "svg", "cut short", "gif"],
)
def test_what_is_no_jpeg_or_png_is_left_out(data: bytes) -> None:
    assert Exhibits({"a": data}, budget_bytes=3_000_000).find("a") is None


def test_a_full_page_takes_no_more() -> None:
    heavy = encoded("PNG") + bytes(2_000_000)
    exhibits = Exhibits({"a": heavy, "b": heavy, "c": encoded("PNG")}, budget_bytes=3_000_000)
    assert [exhibits.find(name) is not None for name in "abc"] == [True, False, True]
