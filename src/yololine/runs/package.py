"""What a compiled pipeline says of itself: its name, parameters and steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from yololine.errors import UsageError

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's loader reads a compiled pipeline in milliseconds; PyYAML's own takes a second."""


class ParameterType(StrEnum):
    """The types of KFP's pipeline spec, under its names."""

    INTEGER = "NUMBER_INTEGER"
    NUMBER = "NUMBER_DOUBLE"
    STRING = "STRING"
    BOOLEAN = "BOOLEAN"
    LIST = "LIST"
    STRUCT = "STRUCT"


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """One parameter of a pipeline.

    `default` is None where there is none. Such a parameter must be given, even where the pipeline
    calls it optional: kfp.local can neither leave it out nor pass None.
    """

    name: str
    type: ParameterType
    description: str
    default: Any

    @property
    def required(self) -> bool:
        """Whether a run must be given a value."""
        return self.default is None


@dataclass(frozen=True, kw_only=True)
class Package:
    """A compiled pipeline.

    `steps` are the journal's names of the pipeline's steps (`train_detector`), in no order.
    """

    path: Path
    name: str
    description: str
    parameters: tuple[Parameter, ...]
    steps: frozenset[str]


def read_package(path: Path) -> Package:
    """Read a compiled pipeline's first document, the pipeline spec.

    Raises:
        UsageError: The file cannot be read, or is no compiled pipeline.
    """
    try:
        with path.open("rb") as file:
            spec = next(yaml.load_all(file, Loader=LOADER))
        inputs = spec["root"].get("inputDefinitions", {}).get("parameters", {})
        return Package(
            path=path.absolute(),
            name=path.stem,
            description=spec["pipelineInfo"].get("description", ""),
            parameters=tuple(_parameter(name, given) for name, given in inputs.items()),
            steps=frozenset(
                step_name(name.removeprefix("comp-"))
                for name, component in spec["components"].items()
                if "executorLabel" in component
            ),
        )
    except (
        OSError,
        yaml.YAMLError,
        StopIteration,
        LookupError,
        TypeError,
        AttributeError,
    ) as error:
        raise UsageError(
            path,
            rule=f"is no compiled pipeline ({type(error).__name__}: {error})",
            remedy="compile it again, or reinstall yololine",
        ) from error


def step_name(task: str) -> str:
    """The journal's name of a task: the component's function, which KFP writes with dashes."""
    return task.replace("-", "_")


def _parameter(name: str, given: Mapping[str, Any]) -> Parameter:
    kind = ParameterType(given["parameterType"])
    default = given.get("defaultValue")
    if kind is ParameterType.INTEGER and default is not None:
        default = int(default)  # the compiler writes 3.0
    return Parameter(
        name=name,
        type=kind,
        description=" ".join(given.get("description", "").split()),
        default=default,
    )
