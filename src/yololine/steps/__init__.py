"""One function per stage: what components and the command line both call.

Loaded when first asked for: the data image has no torch, and a light install has neither.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from yololine.steps.checks import preflight
    from yololine.steps.data import (
        augment_dataset,
        build_test_set,
        clean_dataset,
        resolve_source,
        split_dataset,
    )
    from yololine.steps.deploy import deploy_model
    from yololine.steps.judge import decide_promotion, evaluate_detector, register_model
    from yololine.steps.learn import export_detector, prepare_weights, train_detector
    from yololine.steps.report import report_run, report_run_from_journal

__all__ = [
    "augment_dataset",
    "build_test_set",
    "clean_dataset",
    "decide_promotion",
    "deploy_model",
    "evaluate_detector",
    "export_detector",
    "preflight",
    "prepare_weights",
    "register_model",
    "report_run",
    "report_run_from_journal",
    "resolve_source",
    "split_dataset",
    "train_detector",
]

_ROOMS = {
    "checks": ("preflight",),
    "data": (
        "augment_dataset",
        "build_test_set",
        "clean_dataset",
        "resolve_source",
        "split_dataset",
    ),
    "deploy": ("deploy_model",),
    "judge": ("decide_promotion", "evaluate_detector", "register_model"),
    "learn": ("export_detector", "prepare_weights", "train_detector"),
    "report": ("report_run", "report_run_from_journal"),
}


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(importlib.import_module(f"yololine.steps.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
