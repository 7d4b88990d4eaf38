from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.boxes import Box, found, truth
from yololine.evaluation.confusion import Confusion, confusion, iou_matrix
from yololine.evaluation.metrics import Truth
from yololine.inference.postprocess import Detections

NAMES = ("crack", "pin hole")
A: Box = (0, 0, 100, 100)
A_SHIFTED: Box = (20, 0, 120, 100)  # IoU 2/3
B: Box = (200, 200, 300, 300)


def _confusion(truths: list[Truth], predictions: list[Detections]) -> Confusion:
    return confusion(truths, predictions, NAMES, min_score=0.25, min_iou=0.5)


# Rows and columns: crack, pin hole, background.
CASES = {
    "right": ([(0, A), (1, B)], [(0, A, 0.9), (1, B, 0.9)], [[1, 0, 0], [0, 1, 0], [0, 0, 0]]),
    "taken for another": ([(0, A)], [(1, A, 0.9)], [[0, 1, 0], [0, 0, 0], [0, 0, 0]]),
    "missed": ([(1, A)], [], [[0, 0, 0], [0, 0, 1], [0, 0, 0]]),
    "false": ([], [(1, A, 0.9)], [[0, 0, 0], [0, 0, 0], [0, 1, 0]]),
    "too weak": ([(0, A)], [(0, A, 0.24)], [[0, 0, 1], [0, 0, 0], [0, 0, 0]]),
    "just strong": ([(0, A)], [(0, A, 0.25)], [[1, 0, 0], [0, 0, 0], [0, 0, 0]]),
    "elsewhere": ([(0, A)], [(0, B, 0.9)], [[0, 0, 1], [0, 0, 0], [1, 0, 0]]),
    "twice": ([(0, A)], [(0, A, 0.9), (0, A, 0.8)], [[1, 0, 0], [0, 0, 0], [1, 0, 0]]),
    # Not the better score.
    "the better overlap": (
        [(0, A)],
        [(1, A, 0.3), (0, A_SHIFTED, 0.9)],
        [[0, 1, 0], [0, 0, 0], [1, 0, 0]],
    ),
}


@pytest.mark.parametrize(("objects", "detections", "matrix"), CASES.values(), ids=CASES)
def test_rows_are_the_truth_and_columns_what_was_found(
    objects: list[tuple[int, Box]],
    detections: list[tuple[int, Box, float]],
    matrix: list[list[int]],
) -> None:
    counted = _confusion([truth(*objects)], [found(*detections)])
    assert counted.labels == ("crack", "pin hole", "background")
    assert [list(row) for row in counted.matrix] == matrix


def test_pictures_add_up() -> None:
    truths = [truth((0, A)), truth((0, A), (1, B)), truth()]
    predictions = [found((0, A, 0.9)), found((0, A, 0.5)), found((0, B, 0.4))]
    assert _confusion(truths, predictions).matrix == ((2, 0, 0), (0, 0, 1), (1, 0, 0))
    with pytest.raises(ValueError, match="zip"):
        _confusion(truths, predictions[:2])


def test_every_object_and_every_detection_is_counted_once() -> None:
    random = np.random.default_rng(0)
    corners = random.uniform(0, 100, (60, 2))
    boxes = np.concatenate([corners, corners + random.uniform(10, 90, (60, 2))], axis=1)
    rows = [tuple(map(float, box)) for box in boxes]
    counted = _confusion(
        [truth(*((i % 2, box) for i, box in enumerate(rows[:25])))],
        [found(*((i % 2, box, 0.9) for i, box in enumerate(rows[25:])))],
    )
    matrix = np.array(counted.matrix)
    assert matrix[:2].sum() == 25
    assert matrix[:, :2].sum() == 35
    assert matrix[2, 2] == 0


def test_overlaps() -> None:
    one = np.array([A, (0, 0, 0, 0)], np.float32)
    other = np.array([A, A_SHIFTED, B, (0, 0, 50, 50)], np.float32)
    assert np.allclose(iou_matrix(one, other), [[1, 2 / 3, 0, 0.25], [0, 0, 0, 0]])
    assert iou_matrix(np.zeros((0, 4), np.float32), other).shape == (0, 4)
    assert iou_matrix(other, np.zeros((0, 4), np.float32)).shape == (4, 0)
