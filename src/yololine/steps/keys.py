"""Names of results: what went in and what was asked for, never when or where."""

from __future__ import annotations

import hashlib
import json
from typing import Any

REVISIONS: dict[str, int] = {
    "clean_dataset": 2,
    "split_dataset": 2,
    "augment_dataset": 1,
    "prepare_weights": 1,
    "build_test_set": 1,
    "train_detector": 1,
    "export_detector": 1,
    "evaluate_detector": 3,
    "decide_promotion": 1,
    "register_model": 1,
}
"""Raise a step's number when its code gives other results from the same inputs."""


def result_key(step: str, *, inputs: dict[str, str], config: dict[str, Any]) -> str:
    """sha256 over the step, its revision, its inputs' digests and its configuration."""
    document = {
        "step": step,
        "revision": REVISIONS[step],
        "inputs": inputs,
        "config": canonical(config),
    }
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def canonical(value: Any) -> Any:
    """One form for equal values: KFP turns 3 into 3.0 on its way through a list or struct."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {str(name): canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [canonical(item) for item in value]
    return value
