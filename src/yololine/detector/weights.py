"""Start weights: random by seed, or a checked `.pt` turned into plain tensors.

torch and ultralytics are imported once a file has proved to be the one that was meant.
"""

from __future__ import annotations

from pathlib import Path

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
    from yololine.detector import ultralytics

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

    Args:
        weights: The file, by the name that its owner knows.
        sha256: What it must hold, 64 hex digits.
        architecture: What it must be of.
        out: Where the tensors go.

    Raises:
        WeightsError: The sha256 differs, the file is cut short or hostile, or it is of another
            architecture than the one asked for.
    """
    actual = sha256_file(weights)
    if actual != sha256.lower():
        raise WeightsError(
            f"{weights.name} with sha256 {actual}",
            rule=f"weights_sha256 says {sha256}",
            remedy="fetch the file again, or correct weights_sha256 if the file is the right one",
        )
    import torch

    from yololine.detector import ultralytics

    loaded = ultralytics.load_weights_safely(weights)
    if loaded.architecture != architecture:
        raise WeightsError(
            f"{weights.name} with weights of {loaded.architecture or 'a layout without a name'}",
            rule=f"architecture says {architecture}",
            remedy=f"set architecture to {loaded.architecture}, or give weights of {architecture}"
            if loaded.architecture in ARCHITECTURES
            else f"give weights of {architecture}",
        )
    torch.save(loaded.state, out)
    return loaded.parameter_count
