from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from yololine.reporting import words


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.04, "40 ms"),
        (0.0996, "0.1 s"),
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (134, "2 min 14 s"),
        (3600, "1 h"),
        (11_100, "3 h 5 min"),
        (187_200, "2 d 4 h"),
        (None, words.MISSING),
        (math.nan, words.MISSING),
    ],
)
def test_duration(seconds: Any, said: str) -> None:
    assert words.duration(seconds).replace("\xa0", " ") == said


@pytest.mark.parametrize(
    ("size_bytes", "said"),
    [(0, "0 B"), (812, "812 B"), (3_400_000, "3.4 MB"), (999_600, "1 MB"), (5e15, "5e+03 TB")],
)
def test_size(size_bytes: Any, said: str) -> None:
    assert words.size(size_bytes).replace("\xa0", " ") == said


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (words.count(4888), "4,888"),
        (words.count(True), words.MISSING),
        (words.fraction(0.7126), "0.713"),
        (words.fraction("0.7"), words.MISSING),
        (words.percent(0.098), "9.8 %"),
        (words.percent(0.37), "37 %"),
        (words.percent(1.0), "100 %"),
        (words.plural(1, "copy", "copies"), "1 copy"),
        (words.plural(2, "copy", "copies"), "2 copies"),
        (words.plural(1200, "file"), "1,200 files"),
        (words.significant(3.14e-06), "3.14e-06"),
        (words.spaced("box_outside_image"), "box outside image"),
        (words.plain(3.0), "3"),
        (words.plain(["a", 1]), '["a", 1]'),
        (words.plain(None), "none"),
        (words.plain(False), "false"),
        (words.metric("ap50_95"), "AP50-95"),
        (words.metric("per_class.No. 5 wire.ap50"), "AP50 of No. 5 wire"),
        (words.metric("recall"), "recall"),
        (words.latency(12.345), "12.3 ms"),
        (words.latency({"p50": 12.3, "p95": 20}), "p50 12.3 ms, p95 20 ms"),
        (words.sentence("set it to 0"), "Set it to 0."),
        (words.without("a: b; do c", "do c"), "a: b"),
        (words.without("a: b", ""), "a: b"),
        (words.short_id("7c1e4b52-9a53-4f0e-b1f7-5a2f0c9d1e77"), "7c1e4b52"),
        (words.short_id("nightly-2025-05-03"), "nightly-2025-05-03"),
        (words.short_id("x" * 60), "x" * 22 + "\N{HORIZONTAL ELLIPSIS}"),
    ],
)
def test_words(made: str, said: str) -> None:
    assert made.replace("\xa0", " ") == said


def test_moment_is_utc() -> None:
    berlin = datetime(2025, 5, 3, 16, 7, tzinfo=timezone(timedelta(hours=2)))
    assert words.moment(berlin).replace("\xa0", " ") == "3 May 2025, 14:07 UTC"
    assert words.moment(datetime(2025, 1, 1, tzinfo=UTC)).startswith("1\xa0January")


@pytest.mark.parametrize(
    ("part", "whole", "is_"),
    [(1, 4, 0.25), (5, 4, 1.0), (1, 0, 0.0), (None, 4, 0.0), (1, None, 0.0)],
)
def test_share(part: Any, whole: Any, is_: float) -> None:
    assert words.share(part, whole) == is_


def test_sums_over_what_is_a_number() -> None:
    assert words.total({"a": 1, "b": None, "c": 2.5}) == 3.5
    assert words.largest({"a": 1, "b": None, "c": 2.5}) == 2.5
    assert words.largest({}) == words.total(None) == 0


def test_parts_tell_units_from_numbers() -> None:
    assert words.parts(words.duration(134)) == [
        ("2", False),
        ("min", True),
        ("14", False),
        ("s", True),
    ]
    assert words.parts("1,214") == [("1,214", False)]
