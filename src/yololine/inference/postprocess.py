"""The model's output into detections in the sent picture's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yololine.errors import EvaluationError
from yololine.inference.preprocess import Letterbox

CANDIDATES_AT_MOST = 30_000
"""Strongest first; as in ultralytics' own suppression."""
BLOCK = 256
"""Candidates that are compared with each other at once."""


@dataclass(frozen=True, kw_only=True)
class Detections:
    """n detections of one picture, best first.

    Attributes:
        boxes_xyxy: (n, 4) float32, pixels of the picture, inside it, of more than no size.
        scores: (n,) float32, 0..1.
        class_ids: (n,) int32.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    def above(self, score: float) -> Detections:
        """Those with at least this score."""
        keep = self.scores >= score
        return Detections(
            boxes_xyxy=self.boxes_xyxy[keep],
            scores=self.scores[keep],
            class_ids=self.class_ids[keep],
        )


def detections(
    output: np.ndarray,
    place: Letterbox,
    *,
    layout: str,
    min_score: float,
    iou_threshold: float,
    max_detections: int = 300,
) -> Detections:
    """Detections of one picture.

    Args:
        output: One picture's output: layout `raw` is (4 + classes, anchors) with boxes as centre
            and size in input pixels; `end2end` is (n, 6): x1, y1, x2, y2, score, class.
        place: Where the picture lies in the input.
        layout: `raw` or `end2end`.
        min_score: Lower scores are dropped, 0..1.
        iou_threshold: Overlap above which the weaker of two boxes of a class is dropped, 0..1.
        max_detections: Kept at most.

    Raises:
        EvaluationError: The output holds NaN or infinity, which no threshold would tell from
            having found nothing.
    """
    if layout == "end2end":
        _check_finite(output)
        boxes, scores = output[:, :4], output[:, 4]
        (strong,) = np.nonzero(scores >= min_score)
        order = strong[np.argsort(-scores[strong], kind="stable")[:max_detections]]
        boxes, scores, classes = boxes[order], scores[order], output[order, 5].astype(np.int32)
    else:
        boxes, scores, classes = _candidates(output, min_score)
        kept = _suppress(boxes, scores, classes, iou_threshold, max_detections)
        boxes, scores, classes = boxes[kept], scores[kept], classes[kept]
    boxes = boxes - np.array([place.left, place.top] * 2, np.float32)
    boxes /= np.array([place.scale_x, place.scale_y] * 2, np.float32)
    boxes[:, 0::2] = boxes[:, 0::2].clip(0, place.width)
    boxes[:, 1::2] = boxes[:, 1::2].clip(0, place.height)
    # What lies in the padding alone is not in the picture.
    inside = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    return Detections(
        boxes_xyxy=boxes[inside].astype(np.float32),
        scores=scores[inside].astype(np.float32),
        class_ids=classes[inside],
    )


def _candidates(output: np.ndarray, min_score: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes (n, 4) by their corners, scores and class ids of a raw output, by class and anchor."""
    # Most anchors see nothing: all that follows is about the others.
    best = output[4:].max(axis=0)
    _check_finite(best)
    _check_finite(output[:4])
    # A head without distribution over distances may give sides below 0.
    (anchors,) = np.nonzero((best >= min_score) & (output[2] > 0) & (output[3] > 0))
    seen = output[:, anchors]
    # One box may hold two classes, as in ultralytics' validation (multi_label).
    classes, columns = np.nonzero(seen[4:] >= min_score)
    cx, cy, w, h = seen[:4, columns]
    boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
    return boxes, seen[4 + classes, columns], classes.astype(np.int32)


def _check_finite(values: np.ndarray) -> None:
    if not np.isfinite(values).all():
        raise EvaluationError(
            "the model's output",
            rule="holds NaN or infinity",
            remedy="train it again with a lower lr0, or export it again",
        )


def _suppress(
    boxes_xyxy: np.ndarray,
    scores: np.ndarray,
    classes: np.ndarray,
    iou_threshold: float,
    at_most: int,
) -> np.ndarray:
    """Non-maximum suppression within each class: indices of what is kept, best first.

    It stops once enough is kept, so that a model that sees something everywhere takes as long as
    any other: weaker boxes never change what is kept of stronger ones.
    """
    order = np.argsort(-scores, kind="stable")[:CANDIDATES_AT_MOST]
    kept = order[:0]
    # In blocks, strongest first: one pass over pairs costs less than a pass for each that is kept.
    for start in range(0, len(order), BLOCK):
        if len(kept) >= at_most:
            break
        block = order[start : start + BLOCK]
        if len(kept):
            apart = ~_overlaps(boxes_xyxy, classes, block, kept, iou_threshold).any(axis=1)
            block = block[apart]
        overlaps = _overlaps(boxes_xyxy, classes, block, block, iou_threshold)
        alive = np.ones(len(block), bool)
        for index in range(len(block)):
            if alive[index]:
                alive[index + 1 :] &= ~overlaps[index, index + 1 :]
        kept = np.concatenate([kept, block[alive]])
    return kept[:at_most]


def _overlaps(
    boxes_xyxy: np.ndarray,
    classes: np.ndarray,
    these: np.ndarray,
    those: np.ndarray,
    iou_threshold: float,
) -> np.ndarray:
    """(these, those): whether two boxes are of one class and overlap by more than the threshold."""
    x1, y1, x2, y2 = boxes_xyxy[these].T[:, :, None]
    x1_, y1_, x2_, y2_ = boxes_xyxy[those].T[:, None, :]
    width = np.minimum(x2, x2_) - np.maximum(x1, x1_)
    height = np.minimum(y2, y2_) - np.maximum(y1, y1_)
    overlap = width.clip(0) * height.clip(0)
    areas = (x2 - x1) * (y2 - y1) + (x2_ - x1_) * (y2_ - y1_)
    more = overlap > iou_threshold * (areas - overlap)
    of_one_class: np.ndarray = more & (classes[these][:, None] == classes[those][None, :])
    return of_one_class
