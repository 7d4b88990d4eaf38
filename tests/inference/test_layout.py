from __future__ import annotations

import re

import numpy as np
import pytest

from yololine.errors import EvaluationError
from yololine.inference.layout import in_steps, layout_of


@pytest.mark.parametrize(
    ("shape", "class_count", "layout"),
    [
        ((1, 6, 84), 2, "raw"),
        ((1, 84, 8400), 80, "raw"),
        ((1, 6, 21), 2, "raw"),
        ((1, 300, 6), 2, "end2end"),
        ((1, 21, 6), 80, "end2end"),
        # 4 + 2 rows of 6 columns: six detections, for no input has six anchors.
        ((1, 6, 6), 2, "end2end"),
        ((1, 300, 6), 296, "end2end"),
    ],
)
def test_the_layout_is_learnt(shape: tuple[int, ...], class_count: int, layout: str) -> None:
    assert layout_of(shape, class_count) == layout


@pytest.mark.parametrize(
    ("shape", "class_count"),
    [((1, 6, 84), 3), ((1, 301, 6), 2), ((1, 84, 6, 1), 80), ((1, 1000), 996), ((), 1)],
)
def test_other_outputs_are_refused(shape: tuple[int, ...], class_count: int) -> None:
    words = f"output {shape}: is neither (n, {4 + class_count}, anchors) nor (n, detections, 6)"
    with pytest.raises(EvaluationError, match=re.escape(words)):
        layout_of(shape, class_count)


@pytest.mark.parametrize(("pictures", "at_most", "sizes"), [(5, 2, [2, 2, 1]), (2, 2, [2])])
def test_a_batch_goes_in_steps(pictures: int, at_most: int, sizes: list[int]) -> None:
    batch = np.arange(pictures * 4, dtype=np.float32).reshape(pictures, 4)
    seen: list[int] = []

    def run(some: np.ndarray) -> np.ndarray:
        seen.append(len(some))
        return some * 2

    assert np.array_equal(in_steps(batch, at_most, run), batch * 2)
    assert seen == sizes
