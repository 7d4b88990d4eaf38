"""Golden images: what a deployed version must answer, kept with the version itself.

`golden.parquet` is one row for each image: `file_name: string, image: binary, width: int32,
height: int32, boxes_xyxy: list<list<float>>, scores: list<float>, class_ids: list<int32>`, with
class names, least score and IoU threshold in the schema's metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from yololine.errors import EvaluationError
from yololine.evaluation.confusion import iou_matrix
from yololine.inference.postprocess import Detections

GOLDEN_FILE = "golden.parquet"
SHOWN_SCORE = 0.25
"""From this score a detection counts: in the confusion matrix, in pictures, and in what a
deployment must answer. Below it a score near 0 would decide whether there is a box."""
GOLDEN_IMAGES = 12
GOLDEN_BYTES = 20_000_000
"""At most, of all images together: each deployment sends them."""
SAME_IOU = 0.9
SAME_SCORE = 0.05
"""Another engine or processor sums in another order: boxes move by parts of a pixel. Another model,
or another way to scale a picture, moves them by more."""

_SCHEMA = pa.schema(
    [
        ("file_name", pa.string()),
        ("image", pa.binary()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("boxes_xyxy", pa.list_(pa.list_(pa.float32()))),
        ("scores", pa.list_(pa.float32())),
        ("class_ids", pa.list_(pa.int32())),
    ]
)


@dataclass(frozen=True, kw_only=True)
class GoldenImage:
    """One image and what evaluation found in it.

    Attributes:
        file_name: The image's name in the source.
        image_bytes: JPEG, PNG or another encoding, as the test set has it.
        width: Pixels, upright.
        height: Pixels, upright.
        detections: From the golden set's `min_score`, best first.
    """

    file_name: str
    image_bytes: bytes
    width: int
    height: int
    detections: Detections


@dataclass(frozen=True, kw_only=True)
class Golden:
    """The golden images of a version, and how they were looked at.

    Attributes:
        images: 1 to 12.
        class_names: In the order of their ids.
        min_score: Least score, 0..1; ask a deployment for the same.
        iou_threshold: Of non-maximum suppression, 0..1; likewise.
    """

    images: tuple[GoldenImage, ...]
    class_names: tuple[str, ...]
    min_score: float
    iou_threshold: float


def choose_golden(
    file_names: Sequence[str],
    found: Sequence[Detections],
    sizes_bytes: Sequence[int],
    *,
    min_score: float,
) -> list[int]:
    """Which test images become golden: their indices, in the order of the test set.

    Together they show every class that was found, as far as they fit into 12 images and 20 MB; one
    has nothing in it, where there is such an image. The same test set and detections give the
    same choice.

    Args:
        file_names: Of the test images.
        found: Detections in each of them.
        sizes_bytes: Of each image.
        min_score: From which a detection counts, 0..1.
    """
    classes = [set(one.above(min_score).class_ids.tolist()) for one in found]
    # By lot, since neighbours are often photographs of one part; but always the same lot.
    lot = sorted(
        range(len(file_names)), key=lambda i: hashlib.sha256(file_names[i].encode()).digest()
    )
    chosen: list[int] = []
    left_bytes = GOLDEN_BYTES

    def take(index: int | None) -> bool:
        nonlocal left_bytes
        if index is None or len(chosen) == GOLDEN_IMAGES:
            return False
        chosen.append(index)
        left_bytes -= sizes_bytes[index]
        return True

    def fitting() -> list[int]:
        return [i for i in lot if i not in chosen and sizes_bytes[i] <= left_bytes]

    take(next((i for i in fitting() if not classes[i]), None))
    uncovered = set().union(*classes) if classes else set()
    while uncovered:
        best = max(fitting(), key=lambda i: len(classes[i] & uncovered), default=None)
        if best is None or not classes[best] & uncovered or not take(best):
            break
        uncovered -= classes[best]
    while take(next(iter(sorted(fitting(), key=lambda i: not classes[i])), None)):
        pass
    if not chosen and lot:
        # One that is too large is better than none.
        chosen.append(min(lot, key=lambda i: sizes_bytes[i]))
    return sorted(chosen)


def write_golden(path: Path, golden: Golden) -> None:
    """Write golden.parquet."""
    columns = {
        "file_name": [image.file_name for image in golden.images],
        "image": [image.image_bytes for image in golden.images],
        "width": [image.width for image in golden.images],
        "height": [image.height for image in golden.images],
        "boxes_xyxy": [image.detections.boxes_xyxy.tolist() for image in golden.images],
        "scores": [image.detections.scores.tolist() for image in golden.images],
        "class_ids": [image.detections.class_ids.tolist() for image in golden.images],
    }
    schema = _SCHEMA.with_metadata(
        {
            "class_names": json.dumps(list(golden.class_names)),
            "min_score": json.dumps(golden.min_score),
            "iou_threshold": json.dumps(golden.iou_threshold),
        }
    )
    # The images are compressed as they are.
    pq.write_table(pa.table(columns, schema=schema), path, compression="none")


def read_golden(path: Path) -> Golden:
    """Read golden.parquet.

    Raises:
        EvaluationError: It is none.
    """
    try:
        table = pq.read_table(path)
        metadata = table.schema.metadata or {}
        return Golden(
            images=tuple(
                GoldenImage(
                    file_name=row["file_name"],
                    image_bytes=row["image"],
                    width=row["width"],
                    height=row["height"],
                    detections=Detections(
                        boxes_xyxy=np.array(row["boxes_xyxy"], np.float32).reshape(-1, 4),
                        scores=np.array(row["scores"], np.float32),
                        class_ids=np.array(row["class_ids"], np.int32),
                    ),
                )
                for row in table.to_pylist()
            ),
            class_names=tuple(json.loads(metadata[b"class_names"])),
            min_score=float(json.loads(metadata[b"min_score"])),
            iou_threshold=float(json.loads(metadata[b"iou_threshold"])),
        )
    except (OSError, pa.ArrowException, LookupError, TypeError, ValueError) as error:
        raise EvaluationError(
            path,
            rule=f"is no golden set of this version of yololine ({type(error).__name__})",
            remedy="fetch the version again, or run its training again to register it anew",
        ) from error


def disagreements(
    golden_image: GoldenImage,
    answered: Detections,
    *,
    min_score: float = SHOWN_SCORE,
    class_names: Sequence[str] = (),
    expected_by: str = "the evaluation",
) -> list[str]:
    """Where an answer differs from the evaluation's, a sentence each; empty where it does not.

    A detection is the same where its class is, its box overlaps by an IoU of 0.9 and its score is
    within 0.05. One whose score is within 0.05 of the least may be missing, or there in addition.

    Args:
        golden_image: What evaluation found.
        answered: What was found now, in pixels of the same image.
        min_score: Least score that was asked for, 0..1.
        class_names: In the order of their ids; without them a class is told by its number.
        expected_by: What the sentences call what found `golden_image.detections`.
    """
    expected = golden_image.detections

    def told(found: Detections, index: int) -> str:
        class_id = int(found.class_ids[index])
        known = 0 <= class_id < len(class_names)
        name = class_names[class_id] if known else f"class {class_id}"
        box = ", ".join(f"{value:.0f}" for value in found.boxes_xyxy[index].tolist())
        return f"{name} {float(found.scores[index]):.2f} at ({box})"

    pairs = same_places(expected, answered)
    free = set(range(len(answered.scores))) - set(pairs.values())
    said = []
    for index in range(len(expected.scores)):
        score = float(expected.scores[index])
        if index in pairs:
            now = float(answered.scores[pairs[index]])
            # Not `>`: a score that is no number is within nothing.
            if not abs(now - score) <= SAME_SCORE:
                said.append(f"{told(expected, index)} has score {now:.2f} now")
        elif score > min_score + SAME_SCORE:
            said.append(f"{told(expected, index)} is not found")
    for index in sorted(free):
        if not float(answered.scores[index]) <= min_score + SAME_SCORE:
            said.append(f"{told(answered, index)} is found, and was not by {expected_by}")
    return said


def same_places(expected: Detections, answered: Detections) -> dict[int, int]:
    """Which answer has the class and place of which expected detection: index -> index."""
    overlap = iou_matrix(expected.boxes_xyxy, answered.boxes_xyxy)
    overlap[expected.class_ids[:, None] != answered.class_ids[None, :]] = 0
    taken = np.zeros(len(answered.scores), bool)
    pairs: dict[int, int] = {}
    for index in range(len(expected.scores) if len(answered.scores) else 0):
        near = int(np.where(taken, 0, overlap[index]).argmax())
        if overlap[index, near] >= SAME_IOU and not taken[near]:
            pairs[index] = near
            taken[near] = True
    return pairs
