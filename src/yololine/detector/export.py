"""Export to ONNX, and the proof that the exported model is the trained one."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from yololine.detector import ultralytics
from yololine.detector.config import ONNX_OPSET
from yololine.errors import EvaluationError
from yololine.frozen import Frozen
from yololine.inference.engine import Engine, load_engine
from yololine.inference.preprocess import prepare
from yololine.storage import sha256_file

BOX_TOLERANCE_PIXELS = 0.5
SCORE_TOLERANCE = 0.01


class ExportReport(Frozen):
    """What was exported, and how far it is from PyTorch on real images."""

    onnx_sha256: str
    size_bytes: int
    output_layout: str
    output_shape: tuple[int, ...]
    opset: int
    images_compared: int
    max_abs_difference: float
    """Largest difference over boxes (pixels) and scores (0..1) of all compared outputs."""


def export_onnx(
    weights: Path,
    destination: Path,
    *,
    image_size: int,
    class_count: int,
    images_rgb: list[np.ndarray],
) -> ExportReport:
    """Export and compare with PyTorch on real images.

    Args:
        weights: The trained `.pt`.
        destination: The `.onnx` to write.
        image_size: Side of the square input, pixels.
        class_count: Classes of the detector.
        images_rgb: Real pictures, each (h, w, 3) uint8, to compare on.

    Raises:
        EvaluationError: The output has a shape that is not known, or differs from PyTorch.
    """
    ultralytics.export_onnx(weights, destination, image_size=image_size)
    engine = load_engine(destination, image_size=image_size, class_count=class_count)
    shapes: dict[tuple[int, ...], list[np.ndarray]] = {}
    for image in images_rgb:
        pixels = prepare(image, image_size, square=not engine.any_shape).pixels
        shapes.setdefault(pixels.shape, []).append(pixels)
    difference = max(_difference(engine, weights, np.stack(same)) for same in shapes.values())
    return ExportReport(
        onnx_sha256=sha256_file(destination),
        size_bytes=destination.stat().st_size,
        output_layout=engine.layout,
        output_shape=tuple(
            engine.run(np.zeros((1, 3, image_size, image_size), np.float32)).shape[1:]
        ),
        opset=ONNX_OPSET,
        images_compared=len(images_rgb),
        max_abs_difference=difference,
    )


def _difference(engine: Engine, weights: Path, batch: np.ndarray) -> float:
    """The largest difference from PyTorch on a batch (n, 3, h, w), over boxes and scores."""
    exported = engine.run(batch)
    trained = ultralytics.torch_outputs(weights, batch)
    if exported.shape != trained.shape:
        raise EvaluationError(
            f"ONNX output {exported.shape}",
            rule=f"PyTorch gives {trained.shape}",
            remedy="report it with the ultralytics and onnx versions of this image",
        )
    difference = np.abs(exported - trained)
    boxes, scores = (
        (difference[:, :4], difference[:, 4:])
        if engine.layout == "raw"
        else (difference[..., :4], difference[..., 4:])
    )
    # Written so that NaN is refused too.
    if not (boxes.max() <= BOX_TOLERANCE_PIXELS and scores.max() <= SCORE_TOLERANCE):
        raise EvaluationError(
            f"ONNX differs from PyTorch by {boxes.max():.3g} pixels, {scores.max():.3g} in score",
            rule=f"at most {BOX_TOLERANCE_PIXELS} pixels and {SCORE_TOLERANCE} are allowed",
            remedy="report it with the ultralytics and onnx versions of this image",
        )
    return float(difference.max())
