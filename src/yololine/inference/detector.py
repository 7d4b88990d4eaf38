"""A picture in, detections out: what evaluation scores and what the predictor serves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from yololine.errors import UsageError
from yololine.inference.decoding import decode_rgb
from yololine.inference.engine import Engine
from yololine.inference.postprocess import Detections, detections
from yololine.inference.preprocess import Prepared, prepare

LOWEST_SCORE = 0.001
"""Average precision needs the weak detections too."""
IOU_THRESHOLD = 0.5
"""Overlap at which the weaker of two boxes of a class is dropped.

At training validation's 0.7 one defect shows as several boxes: made-up steel sheets had 25 false
scratches in 36 images, 7 at 0.5, and AP50 rose from 0.925 to 0.947."""
MAX_DETECTIONS = 300
"""Of one picture."""


class Detector:
    """An engine with what stands before and behind it. Any number of threads may call it at once.

    Attributes:
        engine: Runs the model.
        class_names: By class id.
    """

    def __init__(self, engine: Engine, class_names: Sequence[str]) -> None:
        self.engine = engine
        self.class_names = tuple(class_names)

    def prepare(self, image: bytes | np.ndarray) -> Prepared:
        """Decode a picture and bring it into the model's input; on one core, without the engine.

        A picture of any size is taken: `decoding.probe` tells what it would be.

        Args:
            image: An encoded picture, or RGB pixels (h, w, 3) uint8.

        Raises:
            UsageError: It is no picture.
        """
        pixels = _checked(image) if isinstance(image, np.ndarray) else decode_rgb(image)
        return prepare(pixels, self.engine.image_size, square=not self.engine.any_shape)

    def detect(
        self,
        prepared: Sequence[Prepared],
        *,
        min_score: float,
        iou_threshold: float = IOU_THRESHOLD,
        max_detections: int = MAX_DETECTIONS,
    ) -> list[Detections]:
        """Detections of each picture, in the pictures' order.

        Args:
            prepared: Of `prepare`; those of one shape run together, as many as the engine likes.
            min_score: Lower scores are dropped, 0..1.
            iou_threshold: Overlap above which the weaker of two boxes of a class is dropped, 0..1.
            max_detections: Kept at most of each picture, best first.

        Raises:
            EvaluationError: The model gives what is no number.
        """
        found: dict[int, Detections] = {}
        for same in by_shape(prepared):
            for start in range(0, len(same), self.engine.max_batch):
                indices = same[start : start + self.engine.max_batch]
                outputs = self.run([prepared[index] for index in indices])
                for index, output in zip(indices, outputs, strict=True):
                    found[index] = detections(
                        output,
                        prepared[index].place,
                        layout=self.engine.layout,
                        min_score=min_score,
                        iou_threshold=iou_threshold,
                        max_detections=max_detections,
                    )
        return [found[index] for index in range(len(prepared))]

    def run(self, same: Sequence[Prepared]) -> np.ndarray:
        """The engine's raw outputs for pictures of one shape, in their order."""
        # A single picture's memory is taken as it is.
        return self.engine.run(
            same[0].pixels[None] if len(same) == 1 else np.stack([one.pixels for one in same])
        )


def by_shape(prepared: Sequence[Prepared]) -> list[list[int]]:
    """Which pictures can run together: their indices, a list for each shape."""
    shapes: dict[tuple[int, ...], list[int]] = {}
    for index, one in enumerate(prepared):
        shapes.setdefault(one.pixels.shape, []).append(index)
    return list(shapes.values())


def _checked(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3 and image.size:
        return image
    raise UsageError(
        f"image of shape {image.shape} and type {image.dtype}",
        rule="is no picture of RGB pixels",
        remedy="give (height, width, 3) of type uint8",
    )
