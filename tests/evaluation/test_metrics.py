from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.boxes import Box, found, truth
from tests.evaluation.slow_ap import THRESHOLDS, average_precision
from yololine.errors import EvaluationError
from yololine.evaluation.metrics import ClassMetrics, Truth, coco_metrics
from yololine.inference.postprocess import Detections

NAMES = ("crack", "pin hole")
A: Box = (10, 10, 60, 60)
B: Box = (100, 100, 180, 150)
C: Box = (300, 300, 400, 420)
D: Box = (500, 20, 600, 90)
# 80 of 120 columns shared: IoU 2/3.
A_SHIFTED: Box = (20, 10, 70, 60)

# At recall 1/2 of 101 points, 51 points are reached.
HALF = 51 / 101


# Objects, detections; AP50, and precision and recall where F1 is best.
CASES = {
    "perfect": ([A, B], [(A, 0.9), (B, 0.8)], 1, 1, 1),
    "half missed": ([A, B], [(A, 0.9)], HALF, 1, 0.5),
    "a duplicate after it": ([A], [(A, 0.9), (A, 0.8)], 1, 1, 1),
    "a false one before it": ([A], [(B, 0.9), (A, 0.8)], 0.5, 0.5, 1),
    "a false one between": (
        [A, B],
        [(A, 0.9), (C, 0.8), (B, 0.7)],
        (51 + 50 * 2 / 3) / 101,
        2 / 3,
        1,
    ),
    "nothing found": ([A], [], 0, 0, 0),
    "only false ones": ([A], [(B, 0.9)], 0, 0, 0),
    "low scores": ([A, B, C, D], [(A, 0.1), (B, 0.2), (C, 0.3)], 76 / 101, 1, 0.75),
}


@pytest.mark.parametrize(
    ("objects", "detections", "ap50", "precision", "recall"), CASES.values(), ids=CASES
)
def test_small_cases_are_as_by_hand(
    objects: list[Box],
    detections: list[tuple[Box, float]],
    ap50: float,
    precision: float,
    recall: float,
) -> None:
    scores = coco_metrics(
        [truth(*((0, box) for box in objects))],
        [found(*((0, box, score) for box, score in detections))],
        ("crack",),
    )
    crack = scores.per_class["crack"]
    assert crack.ap50 == pytest.approx(ap50, abs=1e-5)
    assert scores.ap50 == crack.ap50
    # Boxes that fit exactly fit at every threshold.
    assert scores.ap50_95 == crack.ap50_95 == crack.ap50
    assert crack.precision == pytest.approx(precision, abs=1e-5)
    assert crack.recall == pytest.approx(recall, abs=0.01)
    expected = 2 * precision * recall / max(precision + recall, 1e-9)
    assert crack.f1 == pytest.approx(expected, abs=0.01)
    assert (crack.objects, crack.images) == (len(objects), 1)


def test_a_box_counts_up_to_its_overlap() -> None:
    """IoU 2/3: right at 0.5, 0.55, 0.6 and 0.65, wrong at the other six."""
    scores = coco_metrics([truth((0, A))], [found((0, A_SHIFTED, 0.9))], ("crack",))
    assert (scores.ap50, scores.ap50_95) == (1, 0.4)


def test_another_class_is_no_hit() -> None:
    scores = coco_metrics(
        [truth((0, A), (1, B))], [found((1, A, 0.9), (0, B, 0.8), (1, B, 0.7))], NAMES
    )
    assert scores.per_class["crack"].ap50 == 0
    assert scores.per_class["pin hole"].ap50 == 0.5
    assert scores.ap50 == 0.25


def test_a_class_that_the_test_split_lacks_is_none_and_left_out_of_the_mean() -> None:
    scores = coco_metrics(
        [truth((0, A)), truth()], [found((0, A, 0.9), (1, B, 0.9)), found((1, B, 0.5))], NAMES
    )
    assert scores.per_class["pin hole"] == ClassMetrics(
        ap50=None, ap50_95=None, precision=None, recall=None, f1=None, objects=0, images=0
    )
    assert (scores.ap50, scores.ap50_95) == (1, 1)
    assert set(scores.pr_curves) == {"crack"}
    assert "NaN" not in scores.model_dump_json()


def test_nothing_found_anywhere_is_nought_and_no_object_is_an_error() -> None:
    truths = [truth((0, A)), truth((1, B), (1, C))]
    scores = coco_metrics(truths, [found(), found()], NAMES)
    assert (scores.ap50, scores.ap50_95) == (0, 0)
    assert (scores.per_class["pin hole"].objects, scores.per_class["pin hole"].images) == (2, 1)
    for words in ([], [truth()], [truth(), truth()]):
        with pytest.raises(EvaluationError, match=rf"test split of {len(words)} images: holds no"):
            coco_metrics(words, [found((0, A, 0.9))] * len(words), NAMES)


def test_curves_fall_from_left_to_right() -> None:
    truths, predictions = _random(3)
    for curve in coco_metrics(truths, predictions, NAMES).pr_curves.values():
        assert len(curve.recall) == len(curve.precision) == 101
        assert curve.recall == tuple(round(i / 100, 2) for i in range(101))
        assert list(curve.precision) == sorted(curve.precision, reverse=True)
        assert 0 <= min(curve.precision) <= max(curve.precision) <= 1


def _random(seed: int) -> tuple[list[Truth], list[Detections]]:
    """Objects of two classes, found more or less well, now and then twice or as the other class."""
    random = np.random.default_rng(seed)

    def boxes(count: int) -> np.ndarray:
        corners = random.uniform(0, 500, (count, 2))
        return np.concatenate([corners, corners + random.uniform(60, 190, (count, 2))], axis=1)

    truths, predictions = [], []
    for _ in range(12):
        count = int(random.integers(0, 9))
        real, classes = boxes(count), random.integers(0, 2, count)
        near = real + random.uniform(-28, 28, real.shape) * random.random((count, 1))
        again, again_classes = real[: count // 3] + 2, classes[: count // 3]
        confused = np.where(random.random(count) < 0.15, 1 - classes, classes)
        false, false_classes = boxes(12), random.integers(0, 2, 12)
        found_boxes = np.concatenate([near, again, false])
        found_classes = np.concatenate([confused, again_classes, false_classes])
        scores = random.uniform(0.001, 1, len(found_boxes))
        truths.append(truth(*zip(classes, real, strict=True)))
        predictions.append(found(*zip(found_classes, found_boxes, scores, strict=True)))
    return truths, predictions


@pytest.mark.parametrize("seed", range(4))
def test_random_boxes_score_as_by_the_published_rules(seed: int) -> None:
    truths, predictions = _random(seed)
    scores = coco_metrics(truths, predictions, NAMES)
    means = []
    for class_id, name in enumerate(NAMES):
        aps = [average_precision(truths, predictions, class_id, min_iou=t) for t in THRESHOLDS]
        assert 0.1 < aps[0] < 0.95
        assert scores.per_class[name].ap50 == pytest.approx(aps[0], abs=1e-5)
        assert scores.per_class[name].ap50_95 == pytest.approx(np.mean(aps), abs=1e-5)
        means.append((aps[0], np.mean(aps)))
    assert (scores.ap50, scores.ap50_95) == pytest.approx(np.mean(means, axis=0), abs=1e-5)


def test_three_hundred_objects_of_one_picture_count() -> None:
    """COCO's own hundred would end at a recall of 0.25."""
    boxes: list[Box] = [
        (x, y, x + 20, y + 20) for x in range(0, 600, 30) for y in range(0, 600, 30)
    ]
    scores = np.linspace(0.9, 0.1, 400)
    every = coco_metrics(
        [truth(*((0, box) for box in boxes[:300]))],
        [found(*((0, box, s) for box, s in zip(boxes[:300], scores, strict=False)))],
        ("crack",),
    )
    assert every.ap50 == 1
    more = coco_metrics(
        [truth(*((0, box) for box in boxes))],
        [found(*((0, box, s) for box, s in zip(boxes, scores, strict=True)))],
        ("crack",),
    )
    assert more.ap50 == pytest.approx(76 / 101, abs=1e-5)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    coco_metrics([truth((0, A))], [found((0, A, 0.9))], NAMES)
    assert capfd.readouterr() == ("", "")
