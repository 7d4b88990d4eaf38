"""What the line costs beside training by hand: `python benchmarks/line_overhead.py`.

In one run, on the same made-up data, settings and machine:

- the line: `yololine run training` on a fresh store, everything included, from cleaning to the
  registered version and the report; and of it, by the run's journal, the steps train_detector and
  evaluate_detector alone, which do what is done by hand;
- by hand: `yolo detect train`, then `yolo detect val` on the test split, on the very images that
  the line trained on, already split, augmented and laid out (which is not counted);
- the line again: the same command, which finds every result.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from yololine.dataset.manifest import AugmentedManifest, SplitManifest
from yololine.dataset.materialise import materialise_yolo
from yololine.dataset.splitting import read_table
from yololine.sample import generate_sample

LIKE_BY_HAND = ("train_detector", "evaluate_detector")
OPTIONS = {"optimizer": "AdamW", "lr0": 0.002, "nbs": 8, "mosaic": 0, "close_mosaic": 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--image-size", type=int, default=160)
    parser.add_argument("--rounds", type=int, default=3, help="pairs of line and by hand")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        generate_sample(source, images=wanted.images)
        ratios, alone, again = [], [], []
        for number in range(wanted.rounds):
            store = Path(folder, f"store-{number}")
            line = _line(source, store, wanted)
            data = _laid_out(store, Path(folder, f"by-hand-{number}"))
            hand = _by_hand(data, Path(folder, f"runs-{number}"), wanted)
            repeated = _line(source, store, wanted)
            steps = sum(_step_seconds(store, step) for step in LIKE_BY_HAND)
            ratios.append(line / hand)
            alone.append(steps / hand)
            again.append(repeated)
            print(
                f"round {number + 1}: line {line:.1f} s, of it training and scoring {steps:.1f} s, "
                f"by hand {hand:.1f} s, ratios {line / hand:.2f} and {steps / hand:.2f}; "
                f"line again {repeated:.1f} s",
                flush=True,
            )
        for name, values in (("all included", ratios), ("the two steps alone", alone)):
            print(f"{name}: {_median(values):.2f} ({min(values):.2f} to {max(values):.2f})")
        print(f"line again: {_median(again):.1f} s")


def _line(source: Path, store: Path, wanted: argparse.Namespace) -> float:
    return _timed(
        [
            *(sys.executable, "-m", "yololine", "run", "training"),
            *("--source-uri", str(source), "--store-uri", str(store)),
            *("--model-name", "benchmark", "--gpu-count", "0", "--min-map50", "0"),
            *("--epochs", str(wanted.epochs), "--image-size", str(wanted.image_size)),
            *("--batch-size", "8", "--train-options", json.dumps(OPTIONS)),
        ]
    )


def _laid_out(store: Path, folder: Path) -> Path:
    """The line's own images as a folder that ultralytics reads."""
    split = SplitManifest.model_validate(_manifest(store, "split_dataset"))
    augmented = AugmentedManifest.model_validate(_manifest(store, "augment_dataset"))
    names = split.dataset.class_names
    originals = [store / shard.path for shard in split.dataset.shards]
    materialise_yolo(originals, read_table(store / split.table.path), folder, names)
    return materialise_yolo([store / shard.path for shard in augmented.shards], None, folder, names)


def _manifest(store: Path, step: str) -> object:
    return _result(store, step)["manifest"]


def _step_seconds(store: Path, step: str) -> float:
    """From the step's first line to its result in the store."""
    return float(_result(store, step)["made_seconds"])


def _result(store: Path, step: str) -> dict[str, Any]:
    (file,) = (store / "results" / step).glob("*/manifest.json")
    result: dict[str, Any] = json.loads(file.read_bytes())
    return result


def _by_hand(data: Path, runs: Path, wanted: argparse.Namespace) -> float:
    yolo = str(Path(sys.executable).with_name("yolo"))
    shared = [f"imgsz={wanted.image_size}", "device=cpu", "plots=False", f"project={runs}"]
    train = [
        *(yolo, "detect", "train", f"data={data}", "model=yolo11n.yaml", "pretrained=False"),
        *(f"epochs={wanted.epochs}", "batch=8", "amp=False", "workers=0", "name=train"),
        *(f"{name}={value}" for name, value in OPTIONS.items()),
    ]
    best = runs / "train" / "weights" / "best.pt"
    val = [yolo, "detect", "val", f"data={data}", f"model={best}", "split=test", "name=val"]
    return _timed([*train, *shared]) + _timed([*val, *shared])


def _timed(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(
        command,
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "YOLO_OFFLINE": "1", "YOLO_AUTOINSTALL": "0"},
    )
    return time.perf_counter() - started


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    main()
