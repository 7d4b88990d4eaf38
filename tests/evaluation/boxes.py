"""Truth and detections written as lists."""

from __future__ import annotations

import numpy as np

from yololine.evaluation.metrics import Truth
from yololine.inference.postprocess import Detections

Box = tuple[float, float, float, float] | np.ndarray


def truth(*objects: tuple[int, Box]) -> Truth:
    """Objects of one picture: class and box."""
    return Truth(
        file_name="a.jpg",
        width=640,
        height=640,
        boxes_xyxy=np.array([box for _, box in objects], np.float32).reshape(-1, 4),
        class_ids=np.array([class_id for class_id, _ in objects], np.int32),
    )


def found(*detections: tuple[int, Box, float]) -> Detections:
    """Detections of one picture: class, box and score; best first, as the predictor gives them."""
    ordered = sorted(detections, key=lambda detection: -detection[2])
    return Detections(
        boxes_xyxy=np.array([box for _, box, _ in ordered], np.float32).reshape(-1, 4),
        scores=np.array([score for _, _, score in ordered], np.float32),
        class_ids=np.array([class_id for class_id, _, _ in ordered], np.int32),
    )
