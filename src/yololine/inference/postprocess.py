"""The model's output into detections in the sent picture's pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from yololine.inference.preprocess import Letterbox

CANDIDATES_AT_MOST = 30_000
"""Strongest first; as in ultralytics' own suppression."""


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
    """
    if layout == "end2end":
        boxes, scores = output[:, :4], output[:, 4]
        classes: np.ndarray = output[:, 5].astype(np.int32)
        keep = scores >= min_score
        boxes, scores, classes = boxes[keep], scores[keep], classes[keep]
    else:
        class_scores = output[4:]
        # One box may hold two classes, as in ultralytics' validation (multi_label).
        # A head without distribution over distances may give sides below 0.
        rows, anchors = np.nonzero((class_scores >= min_score) & (output[2:4] > 0).all(axis=0))
        scores = class_scores[rows, anchors]
        classes = rows.astype(np.int32)
        cx, cy, w, h = output[:4, anchors]
        boxes = np.stack([cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2], axis=1)
        kept = _suppress(boxes, scores, classes, iou_threshold, max_detections)
        boxes, scores, classes = boxes[kept], scores[kept], classes[kept]
    order = np.argsort(-scores, kind="stable")[:max_detections]
    boxes, scores, classes = boxes[order], scores[order], classes[order]
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
    x1, y1, x2, y2 = boxes_xyxy[order].T
    classes, areas = classes[order], (x2 - x1) * (y2 - y1)
    rest = np.arange(len(order))
    kept: list[int] = []
    while len(rest) and len(kept) < at_most:
        best, rest = rest[0], rest[1:]
        kept.append(best)
        width = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest])
        height = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest])
        overlap = width.clip(0) * height.clip(0)
        apart = overlap <= iou_threshold * (areas[best] + areas[rest] - overlap)
        rest = rest[apart | (classes[rest] != classes[best])]
    picked: np.ndarray = order[kept]
    return picked
