from __future__ import annotations

from typing import Any

import pytest

from yololine.reporting.mistakes import Mistake, frequent_mistakes


def test_the_most_frequent_come_first_and_the_background_has_no_name() -> None:
    matrix = [[90, 2, 7], [0, 80, 1], [5, 0, 0]]
    assert frequent_mistakes({"labels": ["dent", "rust", "background"], "matrix": matrix}) == [
        Mistake(truth="dent", predicted="", count=7),
        Mistake(truth="", predicted="dent", count=5),
        Mistake(truth="dent", predicted="rust", count=2),
        Mistake(truth="rust", predicted="", count=1),
    ]


@pytest.mark.parametrize("confusion", [{}, {"labels": None, "matrix": None}, {"labels": ["a"]}])
def test_nothing_is_told_of_nothing(confusion: dict[str, Any]) -> None:
    assert frequent_mistakes(confusion) == []
