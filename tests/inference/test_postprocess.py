from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from yololine.inference.engine import OnnxEngine
from yololine.inference.postprocess import Detections, detections
from yololine.inference.preprocess import Letterbox, letterbox_batch

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
    corners = random.uniform(-20, 600, (anchors, 2))
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


def test_a_prediction_is_ultralytics_own(tmp_path: Path) -> None:
    """Letterbox, model and suppression together, on a detector that sees things everywhere."""
    import torch

    from tests.detector.tiny import picture, untrained
    from yololine.detector.ultralytics import export_onnx

    weights, onnx_file = untrained("yolo11n", tmp_path / "a.pt"), tmp_path / "a.onnx"
    content = torch.load(weights, weights_only=False)
    for scores in content["model"].model[-1].cv3:
        scores[2].weight.data *= 40
        scores[2].bias.data[:] = torch.tensor([-0.5, 0.5])
    torch.save(content, weights)
    export_onnx(weights, onnx_file, image_size=128)
    engine = OnnxEngine(onnx_file, image_size=128, class_count=2)

    from ultralytics import YOLO

    detector = YOLO(weights)
    random = np.random.default_rng(0)
    # Of sizes that scale to whole pixels: ultralytics divides both axes by one factor.
    for width, height in ((128, 128), (256, 128), (96, 192), (64, 48)):
        image = picture(random, width, height)
        (theirs,) = detector.predict(
            image[..., ::-1].copy(), imgsz=128, conf=0.3, iou=0.5, rect=False, verbose=False
        )
        batch, (place,) = letterbox_batch([image], 128)
        ours = detections(
            engine.run(batch)[0], place, layout="raw", min_score=0.3, iou_threshold=0.5
        )
        expected = theirs.boxes.data.numpy()
        # It takes the better class of a box alone.
        best = _best_of_each_box(ours)
        assert len(expected) > 3
        assert np.allclose(best.scores, expected[:, 4], atol=1e-4)
        assert np.array_equal(best.class_ids, expected[:, 5])
        assert np.allclose(best.boxes_xyxy, expected[:, :4], atol=0.05)


def _best_of_each_box(found: Detections) -> Detections:
    _, first = np.unique(found.boxes_xyxy, axis=0, return_index=True)
    keep = np.sort(first)
    return Detections(
        boxes_xyxy=found.boxes_xyxy[keep],
        scores=found.scores[keep],
        class_ids=found.class_ids[keep],
    )
