"""Detectors and pictures so small that they are made and trained while a test waits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

# Off line and without settings of its own: imported before ultralytics itself.
from yololine.detector import ultralytics as _  # noqa: F401

# Two threads on cores that others use too wait for each other longer than they work.
torch.set_num_threads(1)
CLASSES = ("crack", "pin hole")
SIDE = 64


def untrained(architecture: str, out: Path, *, class_count: int = 2, seed: int = 0) -> Path:
    """A detector with random weights that sees things everywhere, saved as ultralytics saves it.

    Its own random weights let no picture through: every output would be the bias of the last layer.
    """
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(seed)
    model = DetectionModel(f"{architecture}.yaml", nc=class_count, verbose=False)
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d) and module.weight.requires_grad:
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    model.eval()
    head = model.model[-1]
    for name in ("cv2", "cv3", "one2one_cv2", "one2one_cv3"):
        for branch in getattr(head, name, None) or ():
            _spread_output(model, branch[-1])
    model.names = {i: f"class {i}" for i in range(class_count)}
    save_model(model, out)
    return out


def _spread_output(model: Any, last: torch.nn.Conv2d) -> None:
    """Scale a head's last layer so that its output is of the order of 1 around 0."""
    seen: list[torch.Tensor] = []
    hook = last.register_forward_hook(lambda _module, _given, made: seen.append(made))
    noise = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        last.bias.zero_()
        model(noise)
        hook.remove()
        last.weight /= seen[0].std() + 1e-6


def save_model(model: Any, out: Path) -> None:
    """A checkpoint with what ultralytics puts in its final files."""
    args = {"task": "detect", "data": "/somewhere/data.yaml", "imgsz": 640}
    torch.save(
        {"epoch": -1, "model": model.half(), "ema": None, "train_args": args, "version": "8.4.0"},
        out,
    )


def picture(random: np.random.Generator, width: int = SIDE, height: int = SIDE) -> np.ndarray:
    """Noise, (h, w, 3) uint8."""
    return random.integers(0, 255, (height, width, 3), dtype=np.uint8)


def write_images(folder: Path, *, train: int = 8, val: int = 4) -> Path:
    """A square and a disc on a grey ground in each picture; returns data.yaml."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for split, count in (("train", train), ("val", val)):
        for kind in ("images", "labels"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            image = random.integers(90, 110, (SIDE, SIDE, 3), dtype=np.uint8)
            lines = ""
            for class_id, colour in enumerate(((30, 30, 220), (220, 30, 30))):
                x, y = random.integers(12, SIDE - 12, 2)
                away = np.stack([abs(columns - x), abs(rows - y)])
                inside = away.max(0) < 10 if class_id == 0 else (away**2).sum(0) < 100
                image[inside] = colour
                lines += f"{class_id} {x / SIDE} {y / SIDE} {20 / SIDE} {20 / SIDE}\n"
            Image.fromarray(image).save(folder / "images" / split / f"{number}.png")
            (folder / "labels" / split / f"{number}.txt").write_text(lines)
    names = "".join(f"  {i}: {name}\n" for i, name in enumerate(CLASSES))
    data_yaml = folder / "data.yaml"
    data_yaml.write_text(
        f"path: {folder}\ntrain: images/train\nval: images/val\nnames:\n{names}", encoding="utf-8"
    )
    return data_yaml
