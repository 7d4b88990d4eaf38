"""Which class was taken for which."""

from __future__ import annotations

import numpy as np

from yololine.evaluation.metrics import Truth
from yololine.frozen import Frozen
from yololine.inference.postprocess import Detections

BACKGROUND = "background"


class Confusion(Frozen):
    """Counts of objects.

    Rows are the truth, columns what was found, both in the order of `labels`, whose last is
    background: its row counts boxes found where nothing is, its column objects not found.
    """

    labels: tuple[str, ...]
    matrix: tuple[tuple[int, ...], ...]


def confusion(
    truths: list[Truth],
    predictions: list[Detections],
    class_names: tuple[str, ...],
    *,
    min_score: float,
    min_iou: float,
) -> Confusion:
    """Match boxes one to one, best overlap first, whatever their class, and count.

    Args:
        truths: One per picture.
        predictions: In the same order.
        class_names: Names in the order of their ids.
        min_score: Detections below are left out, 0..1.
        min_iou: Overlap from which a detection and an object are the same, 0..1.
    """
    n = len(class_names)
    matrix = np.zeros((n + 1, n + 1), np.int64)
    for truth, every in zip(truths, predictions, strict=True):
        found = every.above(min_score)
        overlap = iou_matrix(truth.boxes_xyxy, found.boxes_xyxy)
        pairs = np.argwhere(overlap >= min_iou)
        pairs = pairs[np.argsort(-overlap[pairs[:, 0], pairs[:, 1]], kind="stable")]
        free_truth, free_found = set(range(len(truth.class_ids))), set(range(len(found.scores)))
        for t, f in pairs.tolist():
            if t in free_truth and f in free_found:
                matrix[truth.class_ids[t], found.class_ids[f]] += 1
                free_truth.remove(t)
                free_found.remove(f)
        for t in free_truth:
            matrix[truth.class_ids[t], n] += 1
        for f in free_found:
            matrix[n, found.class_ids[f]] += 1
    return Confusion(
        labels=(*class_names, BACKGROUND), matrix=tuple(tuple(row) for row in matrix.tolist())
    )


def iou_matrix(a_xyxy: np.ndarray, b_xyxy: np.ndarray) -> np.ndarray:
    """Intersection over union of every pair, (n, 4) and (m, 4) -> (n, m)."""
    a, b = a_xyxy.reshape(-1, 1, 4), b_xyxy.reshape(1, -1, 4)
    sides = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    intersection = np.clip(sides, 0, None).prod(axis=-1)
    areas = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    union = areas - intersection
    overlap: np.ndarray = np.divide(intersection, union, out=np.zeros_like(union), where=union > 0)
    return overlap
