from __future__ import annotations

import numpy as np
import pytest

from yololine.serving.parameters import Reader, Thresholds, class_min_scores_of_query
from yololine.serving.refusals import BadRequest

DEFAULTS = Thresholds(min_score=0.25, iou_threshold=0.5, max_detections=300)
READER = Reader(defaults=DEFAULTS, deadline_seconds=30, class_names=("a", "b:c"))


def test_what_is_not_said_is_the_servers() -> None:
    read = READER.read({})
    assert read.thresholds is DEFAULTS
    assert read.deadline_seconds == 30
    assert READER.read({"min_score": None, "binary_data_output": True}).thresholds == DEFAULTS


def test_what_is_said_holds() -> None:
    read = READER.read(
        {
            "min_score": "0.125",
            "iou_threshold": 1,
            "max_detections": 7.0,
            "class_min_scores": '{"b:c": 0.5}',
            "deadline_seconds": 2,
        }
    )
    assert (read.thresholds.min_score, read.thresholds.iou_threshold) == (0.125, 1)
    assert read.thresholds.max_detections == 7
    assert read.thresholds.class_min_scores is not None
    assert np.array_equal(read.thresholds.class_min_scores, np.float32([0.125, 0.5]))
    assert read.deadline_seconds == 2
    assert READER.read({"deadline_seconds": 1e9}).deadline_seconds == 30


def test_class_names_may_hold_colons() -> None:
    assert class_min_scores_of_query(["a:0.1", "b:c:0.2"]) == {"a": "0.1", "b:c": "0.2"}


@pytest.mark.parametrize("value", [-0.1, 1.1, "x", "nan", "inf", 10**400, [], {}, False])
def test_no_score_but_from_0_to_1(value: object) -> None:
    with pytest.raises(BadRequest, match="min_score="):
        READER.read({"min_score": value})
