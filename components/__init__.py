"""One file, one lightweight component, one call of `yololine.steps`."""

import importlib

from kfp.dsl.base_component import BaseComponent

COMPONENTS = (
    "preflight",
    "resolve_source",
    "clean_dataset",
    "split_dataset",
    "augment_dataset",
    "prepare_weights",
    "build_test_set",
    "train_detector",
    "export_detector",
    "evaluate_detector",
    "decide_promotion",
    "register_model",
    "deploy_model",
    "report_run",
)
"""In the order of the line."""
NEVER_CACHED = ("preflight", "resolve_source", "register_model", "deploy_model", "report_run")
"""What they answer is not in their inputs alone: KFP's cache would give yesterday's answer.

register_model's record is what leads a run's report back to every step that was cached.
"""


def load(name: str) -> BaseComponent:
    """The component of a name."""
    component: BaseComponent = getattr(importlib.import_module(f"components.{name}"), name)
    return component
