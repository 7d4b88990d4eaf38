"""A dataset as the folder of files that trainers read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import yaml

from yololine.dataset.manifest import SPLITS
from yololine.dataset.schema import Row, read_rows
from yololine.dataset.splitting import split_of


def materialise_yolo(
    shards: Iterable[Path],
    assignments: Mapping[str, str] | None,
    folder: Path,
    class_names: Sequence[str],
    *,
    splits: Sequence[str] = SPLITS,
) -> Path:
    """Write `images/<split>/<image_id>.*`, `labels/<split>/<image_id>.txt` and `data.yaml`.

    A folder may be filled by several calls, the dataset first, then augmented copies: data.yaml
    names every split that is there by then.

    Args:
        shards: Read one row group at a time.
        assignments: image_id -> split; None puts every image into train.
        folder: Made where it is not there.
        class_names: In the order of the categories.
        splits: The others are left out.

    Returns:
        The path of data.yaml.

    Raises:
        DatasetError: An image is in no split, or a shard cannot be read.
    """
    for split in ("train",) if assignments is None else splits:
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True, exist_ok=True)

    def write(row: Row) -> None:
        split = "train" if assignments is None else split_of(row, assignments)
        if split in splits:
            image = folder / "images" / split / f"{row.image_id}{row.suffix}"
            image.write_bytes(row.image_bytes)
            label = folder / "labels" / split / f"{row.image_id}.txt"
            label.write_text(yolo_text(row), encoding="utf-8")

    # No threads: for files of this size they cost more than they save.
    for shard in shards:
        for row in read_rows(shard):
            write(row)
    return _write_data_yaml(folder, class_names)


def yolo_text(row: Row) -> str:
    """The row's boxes as lines of `class cx cy w h`, fractions of the image."""
    lines = []
    for category, (x, y, w, h) in zip(
        row.categories.tolist(), row.boxes_xywh.tolist(), strict=True
    ):
        cx, cy = (x + w / 2) / row.width, (y + h / 2) / row.height
        # Eight decimals: a ten-thousandth of a pixel in the largest picture that is accepted.
        lines.append(f"{category} {cx:.8f} {cy:.8f} {w / row.width:.8f} {h / row.height:.8f}\n")
    return "".join(lines)


def _write_data_yaml(folder: Path, class_names: Sequence[str]) -> Path:
    content: dict[str, object] = {"path": str(folder.resolve())}
    for split in SPLITS:
        images = folder / "images" / split
        if images.is_dir() and any(images.iterdir()):
            content[split] = f"images/{split}"
    content["names"] = dict(enumerate(class_names))
    path = folder / "data.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
