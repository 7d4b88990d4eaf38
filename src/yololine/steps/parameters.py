"""What a step's parameters must be where no room below says so: for preflight, and without it."""

from __future__ import annotations

import re
from typing import Any

from yololine.errors import UsageError, YololineError, in_one

LIMITS: dict[str, tuple[float, str]] = {
    "max_dropped_fraction": (1, "give a fraction of 1, not %"),
    "augmentation_copies": (20, "use 1 or so"),
    "train_retries": (1000, "use 2 or so"),
    "train_retry_wait_seconds": (86_400, "use 300 or so; a day is the most"),
}
"""Parameter -> the greatest value, and what to do about another one; 0 is the least of each."""
SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def limit_faults(**given: float) -> list[YololineError]:
    """Faults of parameters of `LIMITS`, by their names."""
    faults: list[YololineError] = []
    for name, value in given.items():
        greatest, remedy = LIMITS[name]
        if not 0 <= value <= greatest:
            rule = f"must be 0 to {greatest:g}"
            faults.append(UsageError(f"{name}={value!r}", rule=rule, remedy=remedy))
    return faults


def check_limits(**given: float) -> None:
    """Refuse parameters of `LIMITS` that are out of their range.

    Raises:
        UsageError: One is, or several are (`Faults`).
    """
    faults = limit_faults(**given)
    if faults:
        raise in_one(faults)


def check_start_weights(weights_uri: str, weights_sha256: str) -> None:
    """Refuse a weights file that is not held by its sha256, and a sha256 of nothing.

    Raises:
        UsageError: One of the two is missing, or the sha256 is none.
    """
    if weights_sha256 and not weights_uri:
        raise UsageError(
            f"weights_sha256={weights_sha256!r}",
            rule="is given without weights_uri",
            remedy="give both, or neither for random weights",
        )
    if weights_uri and not SHA256.fullmatch(weights_sha256):
        raise UsageError(
            f"weights_sha256={weights_sha256!r}",
            rule="is no sha256, and weights_uri needs one",
            remedy="give the 64 hex digits that sha256sum prints for the file",
        )


def check_resources(resources: list[Any]) -> None:
    """Refuse resources of the training that are not four texts, the second a count.

    Raises:
        UsageError: They are not.
    """
    if len(resources) != 4 or not re.fullmatch("[0-9]+", str(resources[1])):
        raise UsageError(
            f"resources={resources!r}",
            rule="must be accelerator, how many, CPU and memory limit, as text",
            remedy='write for instance ["nvidia.com/gpu", "1", "4", "16Gi"], "0" for the processor',
        )
