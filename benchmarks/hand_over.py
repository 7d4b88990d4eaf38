"""What handing a dataset to the next step costs: `python benchmarks/hand_over.py`.

A dataset of 20,000 files (10,000 small photographs and their labels) goes from one folder to
another through a real MinIO, started for this on this machine, in two ways that take turns:

- one object at a time with minio-py: each file is put, then each is got and written, over one
  connection that stays open. This is what a pipeline's launcher does with a folder;
- as yololine does it: packed into Parquet shards, published, fetched and verified, and laid out as
  files again.

Both begin with the same files on a disk and end with the same files on it, which is checked. In the
line no file is packed: cleaning writes the shards as it goes; so the ratio is given without that,
too.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
from minio import Minio
from PIL import Image

from yololine.dataset.materialise import materialise_yolo
from yololine.dataset.schema import Row, write_shards
from yololine.storage import fetch_files, publish_files, sha256_bytes
from yololine.storage.s3 import S3Store

if TYPE_CHECKING:
    from tests.conftest import MinioServer

SIZE_WH = (240, 180)
CLASSES = ("scratch", "dent")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=20_000, help="photographs and labels")
    parser.add_argument("--rounds", type=int, default=3, help="of both ways")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch, _minio(Path(scratch, "server")) as server:
        folder = Path(scratch)
        rows = list(_rows(wanted.files // 2))
        materialise_yolo(write_shards(rows, folder / "made", CLASSES), None, folder / "a", CLASSES)
        sent = _files_of(folder / "a")
        size_bytes = sum(file.stat().st_size for file in sent)
        print(f"{len(sent)} files, {size_bytes / 1e6:.0f} MB", flush=True)
        ways = {"one at a time": _one_at_a_time, "shards": _as_shards}
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        packed_before = []
        for number in range(wanted.rounds):
            # In turns, and each as often first as second.
            for name in sorted(ways, reverse=bool(number % 2)):
                bucket = server.make_bucket()
                started = time.perf_counter()
                parts = ways[name](server, bucket, folder / "a", folder / "b")
                seconds[name].append(time.perf_counter() - started)
                if "pack" in parts:
                    packed_before.append(seconds[name][-1] - parts["pack"])
                told = ", ".join(f"{part} {took:.1f} s" for part, took in parts.items())
                print(f"round {number + 1}: {name} {seconds[name][-1]:.1f} s ({told})", flush=True)
                assert _digest(folder / "b") == _digest(folder / "a")
                shutil.rmtree(folder / "b")
        slow = seconds["one at a time"]
        for name, fast in (("shards", seconds["shards"]), ("shards, packed before", packed_before)):
            ratios = [a / b for a, b in zip(slow, fast, strict=True)]
            print(
                f"median: one at a time {median(slow):.1f} s, {name} {median(fast):.1f} s, "
                f"ratio {median(ratios):.1f} ({min(ratios):.1f} to {max(ratios):.1f})"
            )


def _one_at_a_time(server: MinioServer, bucket: str, source: Path, to: Path) -> dict[str, float]:
    client = Minio(
        endpoint=server.host,
        access_key=server.access_key,
        secret_key=server.secret_key,
        secure=False,
        region="us-east-1",  # so that it asks for nothing else
    )
    clock = _Clock()
    for file in _files_of(source):
        with file.open("rb") as stream:
            client.put_object(
                bucket_name=bucket,
                object_name=str(file.relative_to(source)),
                data=stream,
                length=file.stat().st_size,
            )
    clock.lap("put")
    for found in client.list_objects(bucket_name=bucket, recursive=True):
        target = to / str(found.object_name)
        target.parent.mkdir(parents=True, exist_ok=True)
        response = client.get_object(bucket_name=bucket, object_name=str(found.object_name))
        with response, target.open("wb") as file:
            shutil.copyfileobj(response, file)
        response.release_conn()
    clock.lap("get")
    return clock.laps


def _as_shards(server: MinioServer, bucket: str, source: Path, to: Path) -> dict[str, float]:
    store = S3Store.from_uri(f"s3://{bucket}", server.environ)
    clock = _Clock()
    with tempfile.TemporaryDirectory() as scratch:
        shards = write_shards(_packed(source), Path(scratch, "sent"), CLASSES)
        clock.lap("pack")
        refs = publish_files(store, [(shard, f"datasets/x/{shard.name}") for shard in shards])
        store.write_bytes(
            "datasets/x/manifest.json", b"".join(ref.model_dump_json().encode() for ref in refs)
        )
        clock.lap("publish")
        fetched = [Path(scratch, "fetched", shard.name) for shard in shards]
        fetch_files(store, zip(refs, fetched, strict=True))
        clock.lap("fetch")
        materialise_yolo(fetched, None, to, CLASSES)
        clock.lap("lay out")
    return clock.laps


class _Clock:
    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name], self._since = now - self._since, now


def _rows(count: int) -> Iterator[Row]:
    """Photographs of noise, so that none is compressed better than one of a camera."""
    random = np.random.default_rng(0)
    width, height = SIZE_WH
    for number in range(count):
        pixels = random.integers(64, 192, (height, width, 3), dtype=np.uint8)
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "JPEG", quality=60)
        # Whole pixels, which come back from a label's fractions as they were.
        boxes_xywh = random.integers(4, 90, (3, 4)).astype(np.float32)
        categories = random.integers(0, len(CLASSES), 3, dtype=np.int32)
        yield _row(f"photo-{number:06d}", encoded.getvalue(), boxes_xywh, categories)


def _row(name: str, image: bytes, boxes_xywh: np.ndarray, categories: np.ndarray) -> Row:
    return Row(
        image_id=name,
        file_name=f"{name}.jpg",
        image_bytes=image,
        width=SIZE_WH[0],
        height=SIZE_WH[1],
        boxes_xywh=boxes_xywh,
        categories=categories,
        group=name,
        sha256=sha256_bytes(image),
        perceptual_hash="0" * 16,
        suffix=".jpg",
    )


def _packed(folder: Path) -> Iterator[Row]:
    """The rows of a folder of photographs and labels."""
    for image in sorted((folder / "images" / "train").iterdir()):
        label = folder / "labels" / "train" / f"{image.stem}.txt"
        values = np.array(label.read_text().split(), np.float64).reshape(-1, 5)
        sizes = values[:, 3:] * SIZE_WH
        boxes_xywh = np.hstack([values[:, 1:3] * SIZE_WH - sizes / 2, sizes])
        yield _row(
            image.stem,
            image.read_bytes(),
            np.round(boxes_xywh).astype(np.float32),
            values[:, 0].astype(np.int32),
        )


def _files_of(folder: Path) -> list[Path]:
    """All but data.yaml, which names its own folder."""
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "data.yaml")


def _digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for file in _files_of(folder):
        whole.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes())
    return whole.hexdigest()


@contextmanager
def _minio(folder: Path) -> Iterator[MinioServer]:
    """The server that the tests use, from the cache that `make servers` fills."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    from scripts.servers import folder as cache
    from tests.conftest import MinioServer

    if not (cache() / "minio").exists():
        sys.exit(f"{cache() / 'minio'} is missing: run `make servers`")
    folder.mkdir()
    server = MinioServer(cache() / "minio", folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    main()
