"""What training and export hand on; apart from their code, so that it is read without torch."""

from __future__ import annotations

from typing import Literal

from yololine.frozen import Frozen
from yololine.storage import FileRef


class WeightsManifest(Frozen):
    """What a training starts from; without `file`, random weights by the training's seed."""

    kind: Literal["weights"] = "weights"
    key: str
    architecture: str
    origin: str
    """`scratch`, or the URI of the `.pt`."""
    sha256: str = ""
    """Of the `.pt` as it was given."""
    file: FileRef | None = None
    """Tensors by name, readable with `torch.load(weights_only=True)`."""
    parameter_count: int
    tool_version: str


class TrainedManifest(Frozen):
    """A finished training."""

    kind: Literal["trained"] = "trained"
    training_key: str
    architecture: str
    class_names: tuple[str, ...]
    image_size: int
    weights: FileRef
    best_epoch: int
    epochs: int
    tool_version: str


class ExportedManifest(Frozen):
    """An exported model and how to read its output."""

    kind: Literal["exported"] = "exported"
    key: str
    training_key: str
    architecture: str
    class_names: tuple[str, ...]
    image_size: int
    onnx: FileRef
    weights: FileRef
    output_layout: str
    tool_version: str
