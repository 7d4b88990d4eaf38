"""The compiled components, for pipelines of someone else's."""

from __future__ import annotations

from kfp import components
from kfp.dsl.base_component import BaseComponent


def load_component(package: str) -> BaseComponent:
    """A compiled component, which kfp calls inside a pipeline or, under kfp.local, alone."""
    return components.load_component_from_file(package)
