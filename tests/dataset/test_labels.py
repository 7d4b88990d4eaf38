"""Label files, rule by rule."""

from __future__ import annotations

from typing import Any

import pytest

from yololine.dataset.labels import (
    BoxFaultReason,
    parse_voc,
    parse_yolo,
    voc_class_names,
    yolo_class_ids,
)
from yololine.errors import SourceError

CLASSES = ("scratch", "dent")
SIZE_WH = (200, 100)


def yolo(*lines: str) -> Any:
    return parse_yolo("\n".join(lines).encode(), "a.txt", CLASSES, SIZE_WH)


def boxes(labels: Any) -> list[Any]:
    return [(b.category, pytest.approx(b.box_xywh, abs=1e-6)) for b in labels.boxes]


@pytest.mark.parametrize(
    ("line", "category", "box_xywh"),
    [
        ("0 0.5 0.5 0.2 0.4", 0, (80, 30, 40, 40)),
        ("1 .25 .25 .5 .5", 1, (0, 0, 100, 50)),
        ("  1.0\t0.5 0.5  1 1 ", 1, (0, 0, 200, 100)),
        ("0 0.1 0.1 0.3 0.1 0.2 0.5", 0, (20, 10, 40, 40)),
        ("0 0.1 0.1 0.3 0.1 0.3 0.5 0.1 0.5", 0, (20, 10, 40, 40)),
        # Within a pixel or a percent, clipped without a fault.
        ("0 0.05 0.5 0.115 0.4", 0, (0, 30, 21.5, 40)),
        ("0 0.5 0.99 0.2 0.038", 0, (80, 97.1, 40, 2.9)),
        # One pixel, written with six decimals.
        ("0 0.502500 0.505000 0.005000 0.009999", 0, (100, 50.00005, 1, 0.9999)),
    ],
)
def test_good_yolo_lines(line: str, category: int, box_xywh: tuple[float, ...]) -> None:
    labels = yolo(line)
    assert labels.faults == ()
    assert boxes(labels) == [(category, box_xywh)]


@pytest.mark.parametrize(
    ("line", "reason", "detail"),
    [
        ("0 0.5 0.5 0.2", "wrong number of columns", "4 columns"),
        ("0", "wrong number of columns", "1 column; a box has 5"),
        (
            "0,0.5,0.5,0.2,0.4",
            "wrong number of columns",
            "1 column; a box has 5 (class cx cy w h), ",
        ),
        ("0 0.5 0.5 0.2 0.4 0.9", "wrong number of columns", "confidence"),
        ("0 0.1 0.1 0.3 0.1 0.2 0.5 0.3", "wrong number of columns", "8 columns"),
        ("dent 0.5 0.5 0.2 0.4", "not a number", "'dent'"),
        ("0 0.5 0.5 0,2 0.4", "not a number", "'0,2'; a decimal point is wanted"),
        ("0 0.5 0.5 0_2 0.4", "not a number", "'0_2'"),
        ("0 0.5 0.5 0x1 0.4", "not a number", "'0x1'"),
        ("0 0.5 \u0661 0.2 0.4", "not a number", "'\u0661'"),
        ("0 0.5 0.5 1e400 0.4", "not finite", "'1e400'"),
        ("0 0.5 0.5 -Infinity 0.4", "not finite", "'-Infinity'"),
        ("0 0.5 nan 0.2 0.4", "not finite", "'nan'"),
        ("0 0.5 0.5 inf 0.4", "not finite", "'inf'"),
        ("0 0.5 0.5 1e308 0.4", "not finite", "too large"),
        ("2 0.5 0.5 0.2 0.4", "unknown class", "class 2, but 2 classes are named (0-1)"),
        ("-1 0.5 0.5 0.2 0.4", "unknown class", "class -1"),
        ("0.5 0.5 0.5 0.2 0.4", "unknown class", "class 0.5"),
        ("0 0.5 0.5 0 0.4", "zero extent", "0 x 40 px"),
        ("0 0.5 0.5 0.2 -0.4", "zero extent", "40 x -40 px"),
        ("0 0.5 0.5 0.004 0.4", "zero extent", "0.80 x 40.00 px"),
        ("0 -0.003 0.5 0.01 0.4", "zero extent", "0.40 x 40.00 px inside"),
        ("0 0.1 0.1 0.3 0.1 0.5 0.1", "zero extent", "80 x 0 px"),
        ("0 0.05 0.5 0.121 0.4", "box outside image", "x -2.1 to 22.1"),
        ("0 0.5 0.5 0.2 1.021", "box outside image", "in a picture of 200 x 100 px"),
        ("0 1.2 0.5 0.2 0.4", "box outside image", "x 220.0 to 260.0"),
        ("0 100 50 40 40", "box outside image", "pixels where fractions belong?"),
        ("0 3 0.5 1 1", "box outside image", "pixels where fractions belong?"),
    ],
)
def test_faulty_yolo_lines(line: str, reason: str, detail: str) -> None:
    labels = yolo("", line, "1 0.5 0.5 0.2 0.4")
    [fault] = labels.faults
    assert (fault.file, fault.line, fault.reason) == ("a.txt", 2, reason)
    assert detail in fault.detail
    unread = {"wrong number of columns", "not a number", "not finite"}
    assert (fault.box_xywh is None) is (reason in unread)
    assert [box.line for box in labels.boxes] == [3]


def test_repeated_boxes_are_dropped_once_found() -> None:
    good, other = "0 0.5 0.5 0.2 0.4", "1 0.5 0.5 0.2 0.4"
    labels = yolo(good, other, good, "0 0.500001 0.5 0.2 0.4", "0 0.51 0.5 0.2 0.4")
    assert [box.line for box in labels.boxes] == [1, 2, 5]
    assert [(f.line, f.reason, f.detail) for f in labels.faults] == [
        (3, "duplicate box", "same class and box as line 1"),
        (4, "duplicate box", "same class and box as line 1"),
    ]


def test_polygons_are_counted_and_numbers_may_be_written_in_many_ways() -> None:
    labels = yolo("0 0.1 0.1 0.3 0.1 0.2 0.5", "0 5e-1 +.5 .2 4.e-1 ", "0 9 9 9 9 9 9")
    assert len(labels.boxes) == 2
    assert labels.polygons == 1


def test_no_class_is_named() -> None:
    [fault] = parse_yolo(b"0 0.5 0.5 0.2 0.4", "a.txt", (), SIZE_WH).faults
    assert fault.detail == "class 0, but none is named"


@pytest.mark.parametrize("ending", ["\r\n", " \t\n", "\n\n"])
def test_lines_may_end_in_many_ways(ending: str) -> None:
    text = "\ufeff" + "0 0.5\t0.5  0.2 0.4" + ending + "1 0.5 0.5 0.2 0.4" + ending
    labels = parse_yolo(text.encode(), "a.txt", CLASSES, SIZE_WH)
    assert [box.category for box in labels.boxes] == [0, 1]
    assert labels.faults == ()


def test_an_empty_file_is_a_background() -> None:
    for text in ("", "\n \n", "\ufeff"):
        labels = yolo(text)
        assert (labels.boxes, labels.faults) == ((), ())


def test_yolo_files_that_are_no_text() -> None:
    for read in (
        lambda d: parse_yolo(d, "a.txt", CLASSES, SIZE_WH),
        lambda d: yolo_class_ids(d, "a"),
    ):
        with pytest.raises(SourceError, match="is no UTF-8 text"):
            read(b"\xff\xd8\xff\xe0")
        with pytest.raises(SourceError, match="is no UTF-8 text, but UTF-16"):
            read("0 0.5 0.5 0.2 0.4".encode("utf-16"))


def test_yolo_class_ids() -> None:
    assert yolo_class_ids(b"3 1 1 1 1\n0.0 1\nx 1\n-1 2\n1.5 2\nnan 1", "a.txt") == {0, 3}


@pytest.mark.parametrize(
    ("edges", "box_xywh"),
    [
        ((10, 20, 60, 80), (10, 20, 50, 60)),
        (("10.5", " 20 ", "60.25", "80"), (10.5, 20, 49.75, 60)),
        ((0, 0, 200, 100), (0, 0, 200, 100)),
        ((-1, -1, 202, 101), (0, 0, 200, 100)),
    ],
)
def test_good_voc_objects(made: Any, edges: Any, box_xywh: Any) -> None:
    labels = parse_voc(made.voc(("dent", edges), size_wh=SIZE_WH), "a.xml", CLASSES, SIZE_WH)
    assert labels.faults == ()
    assert boxes(labels) == [(1, box_xywh)]
    assert labels.image_size_wh == SIZE_WH


@pytest.mark.parametrize(
    ("name", "edges", "reason", "detail"),
    [
        ("rust", (10, 20, 60, 80), "unknown class", "'rust', but the classes are scratch, dent"),
        (" ", (10, 20, 60, 80), "incomplete object", "has no name"),
        ("dent", ("", 20, 60, ""), "incomplete object", "bndbox lacks xmin, ymax"),
        ("dent", ("left", 20, 60, 80), "not a number", "'left'"),
        ("dent", ("nan", 20, 60, 80), "not finite", "'nan'"),
        ("dent", (10, 20, 10, 80), "zero extent", "0 x 60 px"),
        ("dent", (60, 20, 10, 80), "zero extent", "max lies before min: x 60 to 10, y 20 to 80"),
        ("dent", (10, 80, 60, 20), "zero extent", "max lies before min"),
        ("dent", (0.1, 0.2, 0.6, 0.8), "zero extent", "fractions where pixels belong?"),
        ("dent", (900, 900, 950, 950), "box outside image", "in a picture of 200 x 100 px"),
        ("dent", (10, 20, 203, 80), "box outside image", "x 10.0 to 203.0"),
        ("dent", (10, -2, 20, 80), "box outside image", "y -2.0 to 80.0"),
        ("dent", (99, 40, 180, 90), "duplicate box", "same class and box as line 2"),
    ],
)
def test_faulty_voc_objects(
    made: Any, name: str, edges: tuple[Any, ...], reason: str, detail: str
) -> None:
    data = made.voc(("dent", (99, 40, 180, 90)), (name, edges), size_wh=SIZE_WH)
    labels = parse_voc(data, "a.xml", CLASSES, SIZE_WH)
    [fault] = labels.faults
    assert (fault.file, fault.line, fault.reason) == ("a.xml", 3, reason)
    assert detail in fault.detail
    assert len(labels.boxes) == 1


def test_voc_parts_are_no_objects() -> None:
    data = b"""<?xml version="1.0" encoding="ISO-8859-1"?><annotation><filename>\xfc.jpg</filename>
    <object><part><name>scratch</name><bndbox><xmin>1</xmin></bndbox></part><name>dent</name>
    <bndbox><xmin>10</xmin><ymin>10</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object>
    </annotation>"""
    labels = parse_voc(data, "a.xml", CLASSES, SIZE_WH)
    assert boxes(labels) == [(1, (10, 10, 10, 20))]
    assert labels.image_size_wh is None


@pytest.mark.parametrize("size", ["<width>0</width><height>0</height>", "<width>x</width>", ""])
def test_a_voc_size_that_says_nothing(size: str) -> None:
    data = f"<annotation><size>{size}</size></annotation>".encode()
    assert parse_voc(data, "a.xml", CLASSES, SIZE_WH).image_size_wh is None


BOMB = b"""<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>
<annotation><object><name>&b;</name></object></annotation>"""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "no well-formed XML"),
        (b"<annotation>\n<object></annotation>", r"a\.xml line 2: is no well-formed XML"),
        (b"<annotation>&x;</annotation>", "no well-formed XML"),
        (BOMB, "it declares a DOCTYPE"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><annotation/>', "it declares a DOCTYPE"),
        (b"<html><object/></html>", "is no Pascal VOC annotation: its root is <html>"),
        (b"<annotation>" + b"<a>" * 100 + b"</a>" * 100 + b"</annotation>", "nests deeper"),
        (b"\xff\xd8\xff\xe0", "no well-formed XML"),
        (b'<?xml version="1.0" encoding="klingon"?><annotation/>', "no well-formed XML|refused"),
    ],
)
def test_voc_files_that_are_refused(data: bytes, words: str) -> None:
    for read in (
        lambda d: parse_voc(d, "a.xml", CLASSES, SIZE_WH),
        lambda d: voc_class_names(d, "a.xml"),
    ):
        with pytest.raises(SourceError, match=words):
            read(data)


def test_voc_names_are_compared_in_one_form(made: Any) -> None:
    data = made.voc((" e\u0301\n  b ", (10, 20, 60, 80)))
    assert voc_class_names(data, "a.xml") == {"\u00e9 b"}
    [box] = parse_voc(data, "a.xml", ("a", "\u00e9 b"), SIZE_WH).boxes
    assert box.category == 1


def test_voc_class_names(made: Any) -> None:
    data = made.voc(("b ", (1, 1, 2, 2)), ("a", (1, 1, 2, 2)), ("", (1, 1, 2, 2)))
    assert voc_class_names(data, "a.xml") == {"a", "b"}


def test_every_reason_is_tested() -> None:
    """Of the tables above."""
    tested = {
        mark.args[1][i][column]
        for test, column in ((test_faulty_yolo_lines, 1), (test_faulty_voc_objects, 2))
        for mark in test.pytestmark  # type: ignore[attr-defined]
        for i in range(len(mark.args[1]))
    }
    assert tested == set(BoxFaultReason)
