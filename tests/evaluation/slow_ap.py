"""Average precision by the published rules, one detection at a time, to hold the fast one against.

Lin et al., "Microsoft COCO" (2014), and the evaluation at cocodataset.org/#detection-eval: greedy
matching in the order of scores at each of ten IoU thresholds, and precision interpolated at 101
recalls.
"""

from __future__ import annotations

import numpy as np

from yololine.evaluation.metrics import Truth
from yololine.inference.postprocess import Detections

THRESHOLDS = np.linspace(0.5, 0.95, 10)


def average_precision(
    truths: list[Truth], predictions: list[Detections], class_id: int, *, min_iou: float
) -> float:
    """Of one class at one IoU threshold; at most 300 detections a picture."""
    entries: list[tuple[float, bool]] = []
    objects = 0
    for truth, found in zip(truths, predictions, strict=True):
        boxes = [
            box for box, c in zip(truth.boxes_xyxy, truth.class_ids, strict=True) if c == class_id
        ]
        objects += len(boxes)
        own = [i for i, c in enumerate(found.class_ids) if c == class_id]
        own = sorted(own, key=lambda i: -found.scores[i])[:300]
        taken: set[int] = set()
        for i in own:
            best, best_iou = -1, min_iou
            for j, box in enumerate(boxes):
                overlap = _iou(found.boxes_xyxy[i], box)
                if j not in taken and overlap >= best_iou:
                    best, best_iou = j, overlap
            if best >= 0:
                taken.add(best)
            entries.append((float(found.scores[i]), best >= 0))
    entries.sort(key=lambda entry: -entry[0])
    right = 0
    curve: list[tuple[int, float]] = []
    for count, (_, hit) in enumerate(entries, 1):
        right += hit
        curve.append((right, right / count))
    # In whole numbers: 57/100 as a float is less than 57 times 0.01.
    at = [
        max((p for hits, p in curve if 100 * hits >= percent * objects), default=0.0)
        for percent in range(101)
    ]
    return float(np.mean(at))


def _iou(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(float), b.astype(float)
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    areas = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return float(both / (areas - both))
