"""Altered copies of train images, made once and stored like any other dataset.

Policies are Albumentations' own serialised YAML (`albumentations.save(..., data_format="yaml")`),
so that any policy of theirs can be brought, and ours can be taken away.
"""

from __future__ import annotations

import copy
import difflib
import hashlib
import io
import json
import os
import random
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from yololine.dataset.exhibits import draw_pair
from yololine.dataset.labels import BoxXywh
from yololine.dataset.parallel import in_order
from yololine.dataset.pictures import MAX_PIXELS, difference_hash, open_rgb
from yololine.dataset.policies import NO_POLICY, read_policy
from yololine.dataset.schema import Row, Tally, class_names_of, write_shards
from yololine.dataset.splitting import rows_of
from yololine.documents import Document, read_document
from yololine.errors import DatasetError
from yololine.reporting.pictures import to_jpeg
from yololine.storage.base import sha256_bytes

# Importing albumentations would otherwise ask the network for a newer release.
os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
import albumentations as A  # noqa: N812
from albumentations.core.serialization import (
    SERIALIZABLE_REGISTRY,
    shorten_class_name,
)

MIN_VISIBILITY = 0.3
"""A box of which less than this share is left in the picture is dropped."""
MANY_BOXES = 0.75
"""Share of the boxes that copies of a policy that suits the images keep."""
JPEG_QUALITY = 95
MAX_EXHIBITS = 6
THREADS = os.cpu_count() or 1
# What albumentations raises for arguments, files and images that it cannot use.
_LIBRARY_ERRORS = (AttributeError, LookupError, TypeError, UserWarning, ValueError)


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What is done to a copy; `compose` is None for the policy "none", which makes no copies."""

    name: str
    sha256: str
    """Of the policy's YAML."""
    compose: A.Compose | None
    transform_names: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Augmented:
    """The copies alone; no shard where there are none."""

    shards: list[Path]
    digest: str
    images: int
    objects_per_class: dict[str, int]
    exhibits: dict[str, bytes]
    """File name -> small JPEG: an image with its boxes, and the first copy of it."""
    notes: tuple[str, ...]


def load_policy(name: str) -> Policy:
    """A built-in policy by its name, or one from the path or URI of a `.yaml` file.

    Raises:
        DatasetError: The name is not known; or the file cannot be read, is no YAML, names a
            transform that Albumentations does not have, or gives one an argument it does not take.
    """
    if name == NO_POLICY:
        return Policy(name=name, sha256=sha256_bytes(b""), compose=None, transform_names=())
    data = read_policy(name)
    document = read_document(data, name, DatasetError)
    transform = _transform_of(name, document.value)
    leaves = list(_leaves(name, document, transform, ("transform",)))
    with warnings.catch_warnings():
        # Albumentations only warns of an argument that it does not know, and goes on without it.
        warnings.simplefilter("error", UserWarning)
        for where, leaf in leaves:
            _build(where, leaf)
        compose = _with_boxes(_build(name, transform))
        _try_out(name, compose, leaves)
    return Policy(
        name=name,
        sha256=sha256_bytes(data),
        compose=compose,
        transform_names=tuple(shorten_class_name(leaf["__class_fullname__"]) for _, leaf in leaves),
    )


def augment(
    shards: Sequence[Path],
    assignments: Mapping[str, str],
    out: Path,
    policy: Policy,
    *,
    copies: int,
    seed: int,
) -> Augmented:
    """Write `copies` altered copies of each train image to shards in `out`.

    Copy k of an image has the id `<image_id>-a<k>`, its group, and chance of its own from
    sha256(seed, image_id, k): it depends on no other image and on no order. Boxes are clipped, and
    dropped where less than `MIN_VISIBILITY` of them is left.

    Raises:
        DatasetError: `copies` is negative, an image is in no split, or the policy makes something
            that is no 8-bit RGB image, or leaves no box.
    """
    if copies < 0:
        raise DatasetError(
            f"copies {copies}", rule="must be 0 or more", remedy="use 0 for no augmentation"
        )
    class_names = class_names_of(pq.read_schema(shards[0]))
    tally = Tally(class_names)
    exhibits: dict[str, bytes] = {}
    written: list[Path] = []
    notes: list[str] = []
    if policy.compose is not None and copies:
        originals = Tally(class_names)
        train = rows_of(shards, assignments, "train")
        copier = _Copier(policy, copies=copies, seed=seed)
        rows = tally.watch(_copies(copier, originals.watch(train), exhibits))
        written = write_shards(rows, out, class_names)
        notes += _notes_on_loss(policy, originals, tally, copies)
    return Augmented(
        shards=written,
        digest=tally.digest(),
        images=tally.images,
        objects_per_class=tally.objects_per_class,
        exhibits=exhibits,
        notes=tuple(notes),
    )


def _notes_on_loss(policy: Policy, originals: Tally, made: Tally, copies: int) -> Iterator[str]:
    """A sentence where the copies lost many boxes; a refusal where they lost all."""
    before = copies * sum(originals.objects_per_class.values())
    after = sum(made.objects_per_class.values())
    if before and not after:
        raise DatasetError(
            f"augmentation policy {policy.name}",
            rule=f"leaves none of {before} boxes in its copies",
            remedy="crop, shift or scale less",
        )
    if after < MANY_BOXES * before:
        yield (
            f"The policy {policy.name} leaves {after} of {before} boxes in its copies: what was "
            "cut off there is taught as background."
        )


def _copies(copier: _Copier, rows: Iterator[Row], exhibits: dict[str, bytes]) -> Iterator[Row]:
    with ThreadPoolExecutor(THREADS) as pool:
        for original, made in in_order(pool, copier.copies_of, rows, window=4 * THREADS):
            if len(exhibits) < MAX_EXHIBITS and len(original.categories):
                exhibits[f"{len(exhibits) + 1:02d}-{original.image_id}.jpg"] = _before_after(
                    original, made[0]
                )
            yield from made


class _Copier:
    """Makes the copies of one image; each thread has transforms of its own, as they hold state."""

    def __init__(self, policy: Policy, *, copies: int, seed: int) -> None:
        self._policy = policy
        self._numbers = range(1, copies + 1)
        self._seed = seed
        self._mine = threading.local()

    def copies_of(self, row: Row) -> tuple[Row, list[Row]]:
        if not hasattr(self._mine, "compose"):
            self._mine.compose = copy.deepcopy(self._policy.compose)
        image = np.asarray(open_rgb(row.image_bytes))
        return row, [self._copy(row, image, number) for number in self._numbers]

    def _copy(self, row: Row, image: np.ndarray, number: int) -> Row:
        compose = self._mine.compose
        chance = hashlib.sha256(f"{self._seed}\0{row.image_id}\0{number}".encode()).digest()
        seed = int.from_bytes(chance[:8], "big")
        # Not set_random_seed: it gives every transform the same seed, so that all those with one
        # probability would always come together.
        compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
        altered, boxes_xywh, categories = _apply(
            f"{self._policy.name} on {row.file_name}",
            compose,
            image,
            row.boxes_xywh,
            row.categories,
        )
        picture = Image.fromarray(altered)
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=JPEG_QUALITY)
        return replace(
            row,
            image_id=f"{row.image_id}-a{number}",
            image_bytes=file.getvalue(),
            suffix=".jpg",
            width=picture.width,
            height=picture.height,
            boxes_xywh=boxes_xywh,
            categories=categories,
            sha256=sha256_bytes(file.getvalue()),
            perceptual_hash=difference_hash(picture),
        )


def _apply(
    where: str,
    compose: A.Compose,
    image: np.ndarray,
    boxes_xywh: np.ndarray,
    categories: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The altered image (h, w, 3) and what is left of its boxes and categories."""
    try:
        made = compose(image=image, bboxes=boxes_xywh, categories=categories)
    except (*_LIBRARY_ERRORS, MemoryError, cv2.error) as error:
        raise DatasetError(
            where,
            rule=f"fails on an image of {image.shape[1]} x {image.shape[0]} px with "
            f"{len(categories)} boxes: {_one_line(error)}",
            remedy="leave out transforms that need more than an image and its boxes, or a larger "
            "image",
        ) from error
    altered = made["image"]
    if (
        not isinstance(altered, np.ndarray)
        or altered.dtype != np.uint8
        or altered.shape[2:] != (3,)
        or altered.shape[0] * altered.shape[1] > MAX_PIXELS
    ):
        raise DatasetError(
            where,
            rule=f"makes {type(altered).__name__} {getattr(altered, 'dtype', '')} "
            f"{tuple(altered.shape)} of an image",
            remedy="leave out Normalize, ToFloat, ToTensorV2 and the like, for training does that, "
            "and what makes images of more than 100 megapixels",
        )
    return (
        altered,
        np.asarray(made["bboxes"], np.float32).reshape(-1, 4),
        np.asarray(made["categories"]).astype(np.int32).reshape(-1),
    )


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _before_after(original: Row, made: Row) -> bytes:
    def shown(row: Row) -> tuple[Image.Image, list[BoxXywh]]:
        return open_rgb(row.image_bytes), [(x, y, w, h) for x, y, w, h in row.boxes_xywh.tolist()]

    return to_jpeg(draw_pair(shown(original), shown(made), ("original", "copy")))


def _transform_of(name: str, content: object) -> dict[str, Any]:
    transform = content.get("transform") if isinstance(content, dict) else None
    if not isinstance(transform, dict):
        raise DatasetError(
            name,
            rule="is no serialised Albumentations policy: it has no `transform`",
            remedy='write it with albumentations.save(policy, path, data_format="yaml")',
        )
    return transform


def _leaves(
    name: str, document: Document, node: object, path: tuple[str | int, ...]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """The single transforms in order, each with what to call it.

    Every class on the way is one of Albumentations'.
    """
    at = f"{name} line {document.line_of(*path)}"
    full_name = node.get("__class_fullname__") if isinstance(node, dict) else None
    if not isinstance(node, dict) or not isinstance(full_name, str):
        raise DatasetError(
            f"{at}: {json.dumps(node, default=str)[:80]}",
            rule="is no transform: it has no __class_fullname__",
            remedy='write the policy with albumentations.save(policy, path, data_format="yaml")',
        )
    transforms = _known_transforms()
    if shorten_class_name(full_name) not in transforms:
        near = difflib.get_close_matches(shorten_class_name(full_name), transforms, n=1)
        raise DatasetError(
            f"{at}: {full_name}",
            rule=f"is no transform of Albumentations {A.__version__} that can be read from a file",
            remedy=f"did you mean {near[0]}?" if near else "use transforms of that release only",
        )
    if "transforms" not in node:
        yield f"{at}: {full_name}", node
    elif not isinstance(node["transforms"], list):
        raise DatasetError(
            f"{at}: {full_name}", rule="transforms must be a list", remedy="make it one"
        )
    else:
        for index, child in enumerate(node["transforms"]):
            yield from _leaves(name, document, child, (*path, "transforms", index))


def _known_transforms() -> set[str]:
    """Names; other packages may have registered classes of theirs."""
    return {
        name
        for name, known in SERIALIZABLE_REGISTRY.items()
        if known.__module__.startswith("albumentations.")
    }


def _build(where: str, node: dict[str, Any]) -> Any:
    try:
        return A.from_dict({"transform": node})
    except _LIBRARY_ERRORS as error:
        raise DatasetError(where, rule=_one_line(error), remedy="correct the arguments") from error


def _with_boxes(built: Any) -> A.Compose:
    """The policy with our rules for boxes, whatever the file says of them."""
    is_compose = isinstance(built, A.Compose)
    with warnings.catch_warnings():
        # What alters colours alone leaves boxes as they are, which is as it should be.
        warnings.filterwarnings("ignore", message="Got processor for bboxes", category=UserWarning)
        return A.Compose(
            built.transforms if is_compose else [built],
            p=built.p if is_compose else 1.0,
            bbox_params=A.BboxParams(
                format="coco",
                label_fields=["categories"],
                clip=True,
                min_visibility=MIN_VISIBILITY,
                min_width=1,
                min_height=1,
            ),
        )


def _try_out(name: str, compose: A.Compose, leaves: Iterable[tuple[str, dict[str, Any]]]) -> None:
    """One image through it, so that what only fails in use fails now, whatever chance may do."""
    blamed = name
    for where, leaf in leaves:
        try:
            _alter_grey(where, _with_boxes(_build(where, {**leaf, "p": 1.0})))
        except DatasetError as error:
            if error.__cause__ is None:
                raise  # what it makes is no image, and no transform before it changes that
            # A crop, say, may be too large for this image and not for what comes before it.
            blamed = where if blamed == name else blamed
    _alter_grey(blamed, copy.deepcopy(compose))


def _alter_grey(where: str, compose: A.Compose) -> None:
    compose.set_random_state(np.random.default_rng(0), random.Random(0))
    image = np.full((480, 640, 3), 127, np.uint8)
    _apply(where, compose, image, np.array([[99, 99, 99, 99]], np.float32), np.zeros(1, np.int32))
