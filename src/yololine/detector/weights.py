"""Start weights: random by seed, or a checked `.pt` turned into plain tensors."""

from __future__ import annotations

from pathlib import Path

import torch

from yololine.detector import ultralytics
from yololine.detector.architectures import ARCHITECTURES, check_architecture
from yololine.detector.release import ultralytics_release
from yololine.errors import WeightsError
from yololine.storage import sha256_file


def from_scratch(architecture: str, class_count: int) -> int:
    """Trainable parameters of an architecture that starts with random weights.

    Raises:
        WeightsError: The architecture is not known, or this release of ultralytics lacks it.
    """
    check_architecture(architecture)
    try:
        return ultralytics.count_parameters(architecture, class_count)
    except FileNotFoundError as error:
        raise WeightsError(
            f"architecture {architecture!r}",
            rule=f"is not in ultralytics {ultralytics_release()}",
            remedy="choose a train_image with a release that has it",
        ) from error


def from_file(weights: Path, *, sha256: str, architecture: str, out: Path) -> int:
    """Check a `.pt`, load it safely and write its tensors to `out`; return its parameters' count.

    Raises:
        WeightsError: The sha256 differs, the file is cut short or hostile, or it is of another
            architecture than the one asked for.
    """
    actual = sha256_file(weights)
    if actual != sha256.lower():
        raise WeightsError(
            f"weights with sha256 {actual}",
            rule=f"weights_sha256 says {sha256}",
            remedy="fetch the file again, or correct weights_sha256 if the file is the right one",
        )
    loaded = ultralytics.load_weights_safely(weights)
    if loaded.architecture != architecture:
        raise WeightsError(
            f"weights of {loaded.architecture or 'a layout without a name'}",
            rule=f"architecture says {architecture}",
            remedy=f"set architecture to {loaded.architecture}, or give weights of {architecture}"
            if loaded.architecture in ARCHITECTURES
            else f"give weights of {architecture}",
        )
    torch.save(loaded.state, out)
    return loaded.parameter_count
