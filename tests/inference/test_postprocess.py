from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yololine.errors import EvaluationError
from yololine.inference.engine import load_engine
from yololine.inference.postprocess import Detections, detections
from yololine.inference.preprocess import Letterbox, prepare

SAME = Letterbox(1, 1, 0, 0, 640, 640)


def _raw(boxes_xyxy: list[list[float]], scores: list[list[float]]) -> np.ndarray:
    """(4 + classes, anchors) as a model gives it."""
    boxes = np.array(boxes_xyxy, np.float32).reshape(-1, 4)
    sizes = boxes[:, 2:] - boxes[:, :2]
    return np.concatenate([boxes[:, :2] + sizes / 2, sizes, np.array(scores, np.float32)], axis=1).T


def _found(
    output: np.ndarray,
    place: Letterbox = SAME,
    *,
    layout: str = "raw",
    min_score: float = 0.25,
    max_detections: int = 300,
) -> Detections:
    return detections(
        output.astype(np.float32),
        place,
        layout=layout,
        min_score=min_score,
        iou_threshold=0.5,
        max_detections=max_detections,
    )


def test_the_weaker_of_two_boxes_of_a_class_is_dropped() -> None:
    boxes = [[0, 0, 100, 100], [5, 0, 105, 100], [0, 0, 100, 100], [300, 300, 400, 400]]
    found = _found(_raw(boxes, [[0.7, 0], [0.9, 0], [0, 0.8], [0.3, 0]]))
    assert np.allclose(found.boxes_xyxy, [boxes[1], boxes[2], boxes[3]])
    assert np.allclose(found.scores, [0.9, 0.8, 0.3])
    assert found.class_ids.tolist() == [0, 1, 0]
    types = (found.boxes_xyxy.dtype, found.scores.dtype, found.class_ids.dtype)
    assert types == (np.float32, np.float32, np.int32)


def test_a_chain_is_cut_link_by_link() -> None:
    """What is dropped drops nothing itself: of three in a row the outer two stay."""
    boxes = [[0, 0, 100, 100], [30, 0, 130, 100], [60, 0, 160, 100]]
    assert _found(_raw(boxes, [[0.9], [0.8], [0.7]])).scores.tolist() == pytest.approx([0.9, 0.7])


def test_one_box_may_be_of_two_classes() -> None:
    found = _found(_raw([[0, 0, 10, 10]], [[0.9, 0.6]]))
    assert found.class_ids.tolist() == [0, 1]


def test_classes_do_not_meet_at_the_edges() -> None:
    """A box far out at the top left, and one of the class before it at the bottom right."""
    boxes = [[-98, -98, 2, 2], [540, 540, 640, 640]]
    assert len(_found(_raw(boxes, [[0, 0.9], [0.8, 0]])).scores) == 2


@pytest.mark.parametrize("layout", ["raw", "end2end"])
@pytest.mark.parametrize("anchors", [0, 84])
def test_nothing_found_is_empty_in_shape(layout: str, anchors: int) -> None:
    output = np.zeros((6, anchors) if layout == "raw" else (anchors, 6))
    found = _found(output, layout=layout)
    assert found.boxes_xyxy.shape == (0, 4)
    assert found.scores.shape == found.class_ids.shape == (0,)
    assert found.above(0.5).boxes_xyxy.shape == (0, 4)


def test_boxes_lie_in_the_picture_that_was_sent() -> None:
    """200 x 100 in a square of 640: scaled by 3.2, with 160 rows above."""
    place = Letterbox(3.2, 3.2, 0, 160, 200, 100)
    output = np.array([[32, 192, 64, 224, 0.9, 1], [-50, 0, 700, 640, 0.8, 0]])
    found = _found(output, place, layout="end2end")
    assert np.allclose(found.boxes_xyxy, [[10, 10, 20, 20], [0, 0, 200, 100]], atol=1e-4)
    assert found.class_ids.tolist() == [1, 0]


def test_what_is_not_in_the_picture_is_left_out() -> None:
    """Boxes of the padding, and boxes turned inside out, which would also drop others."""
    place = Letterbox(3.2, 3.2, 0, 160, 200, 100)
    in_the_padding = np.array([[32, 0, 64, 150, 0.9, 1], [32, 192, 64, 224, 0.8, 1]])
    assert _found(in_the_padding, place, layout="end2end").scores.tolist() == pytest.approx([0.8])
    inside_out = _raw([[100, 0, 0, 100], [40, 40, 60, 60]], [[0.9], [0.8]])
    assert _found(inside_out).boxes_xyxy.tolist() == [[40, 40, 60, 60]]


def test_end2end_is_sorted_filtered_and_not_suppressed() -> None:
    output = np.array([[0, 0, 9, 9, 0.3, 0], [0, 0, 9, 9, 0.9, 0], [0, 0, 9, 9, 0.1, 0]])
    assert np.allclose(_found(output, layout="end2end").scores, [0.9, 0.3])
    assert np.allclose(_found(output, layout="end2end", max_detections=1).scores, [0.9])


def test_scores_from_the_threshold_on_are_kept() -> None:
    found = _found(_raw([[0, 0, 9, 9], [20, 20, 30, 30]], [[0.25], [0.2499]]))
    assert found.scores.tolist() == [0.25]
    assert found.above(0.25).scores.tolist() == [0.25]
    assert found.above(0.26).scores.tolist() == []


@pytest.mark.parametrize("anchors", [300, 8400, 40_000])
def test_many_candidates_give_the_strongest(anchors: int) -> None:
    """As suppressing all of them, class by class, and then taking the best, would."""
    import torch
    import torchvision

    random = np.random.default_rng(anchors)
    corners = random.uniform(-4, 600, (anchors, 2))
    boxes = np.concatenate([corners, corners + random.uniform(5, 200, (anchors, 2))], axis=1)
    scores = random.uniform(0, 1, (anchors, 2))
    output = _raw(boxes.tolist(), scores.tolist()).astype(np.float32)
    found = _found(output, min_score=0.3, max_detections=300)

    rows, columns = np.nonzero(output[4:] >= np.float32(0.3))
    strongest = np.argsort(-output[4:][rows, columns], kind="stable")[:30_000]
    rows, columns = rows[strongest], columns[strongest]
    cx, cy, w, h = output[:4, columns]
    corners = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    kept: list[int] = []
    for class_id in range(2):
        (own,) = np.nonzero(rows == class_id)
        kept += own[
            torchvision.ops.nms(
                torch.tensor(corners[own]), torch.tensor(output[4 + class_id, columns[own]]), 0.5
            ).numpy()
        ].tolist()
    kept = sorted(kept)[:300]
    assert np.array_equal(found.scores, output[4:][rows[kept], columns[kept]])
    assert np.array_equal(found.class_ids, rows[kept])
    assert np.allclose(found.boxes_xyxy, corners[kept].clip(0, 640), atol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize(("layout", "row"), [("raw", 0), ("raw", 2), ("raw", 5), ("end2end", 4)])
def test_what_is_no_number_is_told(layout: str, row: int, bad: float) -> None:
    """NaN is below every threshold: it would be as if nothing was there."""
    output = np.full((6, 8400), 0.01, np.float32) if layout == "raw" else np.zeros((300, 6))
    where = (row, 77) if layout == "raw" else (77, row)
    output[where] = bad
    with pytest.raises(EvaluationError, match="the model's output: holds NaN or infinity"):
        _found(output, layout=layout)


# Of sizes that scale to whole pixels: ultralytics divides both axes by one factor.
PICTURES = ((128, 128), (256, 128), (96, 192), (64, 48))


def test_a_prediction_is_ultralytics_own(tmp_path: Path) -> None:
    """Decoded pixels in, boxes out, on a detector that sees things everywhere."""
    from tests.detector.tiny import picture, untrained
    from yololine.detector.ultralytics import export_onnx

    weights, onnx_file = tmp_path / "a.pt", tmp_path / "a.onnx"
    export_onnx(untrained("yolo11n", weights, class_count=1), onnx_file, image_size=128)
    engine = load_engine(onnx_file, image_size=128, class_count=1)

    from ultralytics import YOLO

    detector = YOLO(weights)
    random = np.random.default_rng(0)
    for width, height in PICTURES:
        image = picture(random, width, height)
        for square in (False, True):
            (theirs,) = detector.predict(
                image[..., ::-1].copy(),
                imgsz=128,
                conf=0.3,
                iou=0.5,
                rect=not square,
                verbose=False,
            )
            expected = theirs.boxes.data.numpy()
            prepared = prepare(image, 128, square=square)
            found = _found(engine.run(prepared.pixels[None])[0], prepared.place, min_score=0.3)
            assert len(expected) > 5
            assert np.allclose(found.scores, expected[:, 4], atol=1e-3)
            assert np.allclose(found.boxes_xyxy, expected[:, :4], atol=0.1)


def test_several_classes_are_told_apart_as_in_ultralytics_validation(tmp_path: Path) -> None:
    import torch

    from tests.detector.tiny import picture, untrained
    from yololine.detector.ultralytics import torch_outputs

    from ultralytics.utils import nms, ops  # isort: skip

    weights = untrained("yolo11n", tmp_path / "a.pt", class_count=3)
    random = np.random.default_rng(0)
    for width, height in PICTURES:
        prepared = prepare(picture(random, width, height), 128)
        output = torch_outputs(weights, prepared.pixels[None])
        (expected,) = nms.non_max_suppression(
            torch.from_numpy(output.copy()), 0.3, 0.5, multi_label=True, max_det=50, nc=3
        )
        boxes = ops.scale_boxes((128, 128), expected[:, :4], (height, width)).numpy()
        found = _found(output[0], prepared.place, min_score=0.3, max_detections=50)
        assert len(expected) == 50
        inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
        expected, boxes = expected[inside], boxes[inside]
        assert np.allclose(found.scores, expected[:, 4].numpy(), atol=1e-6)
        assert np.array_equal(found.class_ids, expected[:, 5].numpy())
        assert np.allclose(found.boxes_xyxy, boxes, atol=0.01)
