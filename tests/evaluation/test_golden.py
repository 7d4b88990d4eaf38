from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from yololine.errors import EvaluationError
from yololine.evaluation.golden import (
    GOLDEN_BYTES,
    GOLDEN_IMAGES,
    Golden,
    GoldenImage,
    choose_golden,
    disagreements,
    read_golden,
    write_golden,
)
from yololine.inference.postprocess import Detections

NAMES = ("dent", "scratch", "pin hole")
Found = tuple[int, float, tuple[float, float, float, float]]
BOX = (10.0, 20.0, 60.0, 80.0)
OTHER_BOX = (100.0, 100.0, 140.0, 140.0)


def detections(*found: Found) -> Detections:
    return Detections(
        boxes_xyxy=np.array([box for _, _, box in found], np.float32).reshape(-1, 4),
        scores=np.array([score for _, score, _ in found], np.float32),
        class_ids=np.array([class_id for class_id, _, _ in found], np.int32),
    )


def image(*found: Found) -> GoldenImage:
    return GoldenImage(
        file_name="a.jpg",
        image_bytes=b"\xff\xd8 a picture",
        width=160,
        height=160,
        detections=detections(*found),
    )


def shifted(box: tuple[float, float, float, float], pixels: float) -> tuple[float, ...]:
    x1, y1, x2, y2 = box
    return (x1 + pixels, y1, x2 + pixels, y2)


# Which images.


def chosen(shown: list[set[int]], sizes: list[int] | None = None) -> list[set[int]]:
    found = [detections(*((one, 0.9, BOX) for one in sorted(classes))) for classes in shown]
    names = [f"{index}.jpg" for index in range(len(shown))]
    sizes = sizes or [1000] * len(shown)
    picked = choose_golden(names, found, sizes, min_score=0.25)
    assert picked == sorted(set(picked)) == choose_golden(names, found, sizes, min_score=0.25)
    return [shown[index] for index in picked]


def test_every_class_is_shown_and_one_image_has_nothing() -> None:
    common = [{0}] * 200
    picked = chosen([*common, {1}, *common, set(), *common, {2}, set(), set()])
    assert len(picked) == GOLDEN_IMAGES
    assert set().union(*picked) == {0, 1, 2}
    assert picked.count(set()) == 1


def test_images_with_more_of_the_missing_classes_come_first() -> None:
    """Thirty classes do not fit into twelve images of one each."""
    picked = chosen([*({one} for one in range(30)), set(range(15)), set(range(15, 30))])
    assert set().union(*picked) == set(range(30))


def test_an_image_without_detections_is_better_than_none() -> None:
    assert chosen([set(), set()]) == [set(), set()]
    assert chosen([{0}]) == [{0}]
    assert chosen([]) == []


def test_weak_detections_do_not_count() -> None:
    weak = detections((0, 0.1, BOX))
    assert choose_golden(["a", "b"], [weak, detections()], [1, 1], min_score=0.25) == [0, 1]


def test_they_are_not_more_than_a_deployment_can_send() -> None:
    large = GOLDEN_BYTES // 3
    picked = chosen([{0}] * 40, [large] * 40)
    assert len(picked) == 3
    assert len(chosen([{0}, {1}], [2 * GOLDEN_BYTES, 3 * GOLDEN_BYTES])) == 1
    # A rare class in an image that is too large is not worth all the others.
    assert chosen([{0}, {1}], [10, 2 * GOLDEN_BYTES]) == [{0}]


# What is kept.


def test_what_is_written_is_read(tmp_path: Path) -> None:
    golden = Golden(
        images=(image((0, 0.9, BOX), (2, 0.3, OTHER_BOX)), image()),
        class_names=NAMES,
        min_score=0.25,
        iou_threshold=0.5,
    )
    write_golden(tmp_path / "golden.parquet", golden)
    read = read_golden(tmp_path / "golden.parquet")
    assert (read.class_names, read.min_score, read.iou_threshold) == (NAMES, 0.25, 0.5)
    for one, other in zip(read.images, golden.images, strict=True):
        assert (one.file_name, one.image_bytes) == (other.file_name, other.image_bytes)
        assert (one.width, one.height) == (other.width, other.height)
        for field in ("boxes_xyxy", "scores", "class_ids"):
            array, written = getattr(one.detections, field), getattr(other.detections, field)
            np.testing.assert_array_equal(array, written)
            assert (array.dtype, array.shape) == (written.dtype, written.shape)
        assert disagreements(other, one.detections) == []


@pytest.mark.parametrize("content", [b"", b"PAR1 no parquet", None])
def test_another_file_is_refused(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "golden.parquet"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(EvaluationError, match="is no golden set of this version"):
        read_golden(file)


def test_a_table_of_other_columns_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"file_name": ["a"]}), tmp_path / "golden.parquet")
    with pytest.raises(EvaluationError, match="is no golden set"):
        read_golden(tmp_path / "golden.parquet")


# What is the same, and what is not.

ONE = image((1, 0.8, BOX))


@pytest.mark.parametrize(
    ("golden", "answered"),
    [
        (ONE, detections((1, 0.8, BOX))),
        (ONE, detections((1, 0.84, shifted(BOX, 2)))),
        (ONE, detections((1, 0.76, shifted(BOX, -2)))),
        # About the least score either side may have one more.
        (ONE, detections((1, 0.8, BOX), (0, 0.29, OTHER_BOX))),
        (image((1, 0.8, BOX), (0, 0.29, OTHER_BOX)), detections((1, 0.8, BOX))),
        (image(), detections()),
        # The order is the scores', which may change places.
        (
            image((1, 0.8, BOX), (0, 0.79, OTHER_BOX)),
            detections((0, 0.8, OTHER_BOX), (1, 0.79, BOX)),
        ),
        # Two classes in one place.
        (image((1, 0.8, BOX), (0, 0.5, BOX)), detections((0, 0.5, BOX), (1, 0.8, BOX))),
    ],
)
def test_an_answer_that_is_the_same(golden: GoldenImage, answered: Detections) -> None:
    assert disagreements(golden, answered, class_names=NAMES) == []


@pytest.mark.parametrize(
    ("golden", "answered", "words"),
    [
        (ONE, detections(), ["scratch 0.80 at (10, 20, 60, 80) is not found"]),
        (ONE, detections((1, 0.7, BOX)), ["scratch 0.80 at (10, 20, 60, 80) has score 0.70 now"]),
        (
            ONE,
            detections((0, 0.8, BOX)),
            [
                "scratch 0.80 at (10, 20, 60, 80) is not found",
                "dent 0.80 at (10, 20, 60, 80) is found, and was not by the evaluation",
            ],
        ),
        (
            ONE,
            detections((1, 0.8, shifted(BOX, 6))),
            [
                "scratch 0.80 at (10, 20, 60, 80) is not found",
                "scratch 0.80 at (16, 20, 66, 80) is found, and was not by the evaluation",
            ],
        ),
        (
            image(),
            detections((7, 0.5, BOX)),
            ["class 7 0.50 at (10, 20, 60, 80) is found, and was not by the evaluation"],
        ),
        # One box answers for one box.
        (
            image((1, 0.8, BOX), (1, 0.79, BOX)),
            detections((1, 0.8, BOX)),
            ["scratch 0.79 at (10, 20, 60, 80) is not found"],
        ),
        (
            ONE,
            detections((1, float("nan"), BOX)),
            ["scratch 0.80 at (10, 20, 60, 80) has score nan now"],
        ),
        (
            image(),
            detections((1, float("nan"), BOX)),
            ["scratch nan at (10, 20, 60, 80) is found, and was not by the evaluation"],
        ),
    ],
)
def test_an_answer_that_is_another(
    golden: GoldenImage, answered: Detections, words: list[str]
) -> None:
    assert disagreements(golden, answered, class_names=NAMES) == words


def test_the_least_score_is_the_golden_sets() -> None:
    weak = replace(ONE, detections=detections((1, 0.5, BOX)))
    assert disagreements(weak, detections(), min_score=0.46) == []
    assert disagreements(weak, detections(), min_score=0.4) == [
        "class 1 0.50 at (10, 20, 60, 80) is not found"
    ]
