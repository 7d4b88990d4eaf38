from __future__ import annotations

from itertools import combinations
from typing import Any

import pytest

from yololine.reporting.boxes import panel
from yololine.reporting.palette import class_colour

DENT = {"name": "dent", "xywh": [0.5, 0.5, 0.2, 0.1], "right": True, "score": None}


def drawn(*boxes: Any, height: int = 480) -> Any:
    return panel(
        list(boxes), width=640, height=height, wrong="missed", colours=lambda _: class_colour(0)
    )


def test_a_box_is_where_it_is_in_percent_and_named_above() -> None:
    made = drawn(DENT)
    (box,), (tag,) = made.outlines, made.tags
    assert (box.x, box.y, box.width, box.height) == (50, 50, 20, 10)
    assert tag.left == pytest.approx(50)
    assert 40 < tag.top < 50
    assert made.summary == "1 dent"


@pytest.mark.parametrize(
    ("y", "below"), [(0.5, False), (0.0, True), (0.01, True)], ids=["middle", "edge", "near"]
)
def test_a_name_stays_in_the_picture(y: float, below: bool) -> None:
    (tag,) = drawn({**DENT, "xywh": [0.95, y, 0.05, 0.1]}).tags
    assert tag.left < 95
    assert 0 <= tag.top <= 100
    assert (tag.top > 100 * y) is below


def test_names_do_not_cover_each_other() -> None:
    tags = drawn(*[{**DENT, "xywh": [0.3, 0.3 + n / 200, 0.2, 0.2]} for n in range(9)]).tags
    assert 1 < len(tags) < 9
    # 16 of 330 * 480 / 640 px.
    assert all(abs(a.top - b.top) > 6.4 for a, b in combinations(tags, 2))


def test_wide_letters_take_their_room() -> None:
    side_by_side = [
        {**DENT, "xywh": [x, 0.5, 0.05, 0.4], "name": name}
        for x, name in ((0.1, "划痕划痕划痕"), (0.25, "b"))
    ]
    assert len({tag.top for tag in drawn(*side_by_side).tags}) == 2
    latin = [{**box, "name": "scrat"} for box in side_by_side]
    assert len({tag.top for tag in drawn(*latin).tags}) == 1


def test_what_is_wrong_is_dashed_and_said() -> None:
    made = drawn({**DENT, "right": False}, DENT, {**DENT, "name": "rust"})
    assert [box.wrong for box in made.outlines] == [True, False, False]
    assert made.summary == "2 dent (1 missed), 1 rust"


@pytest.mark.parametrize(
    "boxes",
    [
        None,
        [],
        [{}],
        [None],
        [{"name": "a"}],
        [{"name": "a", "xywh": [0, 0, 1]}],
        [{"name": "a", "xywh": [0, 0, float("nan"), 1]}],
        [{"name": "a", "xywh": "abcd"}],
    ],
)
def test_facts_of_another_version_draw_nothing(boxes: Any) -> None:
    made = panel(boxes, width=10, height=10, wrong="missed", colours=lambda _: "#000000")
    assert (made.outlines, made.tags, made.summary) == ((), (), "nothing")
