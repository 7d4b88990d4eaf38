"""A run's parameters: the pipeline's defaults, under a file's values, under the options'."""

from __future__ import annotations

import difflib
import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml

from yololine.errors import Faults, UsageError, YololineError
from yololine.runs.package import Parameter, ParameterType

STORE_VARIABLE = "YOLOLINE_STORE"

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_WANTED = {
    ParameterType.INTEGER: "a whole number",
    ParameterType.NUMBER: "a number",
    ParameterType.STRING: "text",
    ParameterType.BOOLEAN: "true or false",
    ParameterType.LIST: "a list",
    ParameterType.STRUCT: "a mapping",
}
_EXAMPLE = {
    ParameterType.INTEGER: "3",
    ParameterType.NUMBER: "0.5",
    ParameterType.STRING: "text",
    ParameterType.BOOLEAN: "true",
    ParameterType.LIST: "[a, b]",
    ParameterType.STRUCT: "{a: 0.5}",
}
_TRUTH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def option_name(parameter: str) -> str:
    """A parameter's name on the command line."""
    return f"--{parameter.replace('_', '-')}"


def local_defaults() -> dict[str, Any]:
    """What stands in for a pipeline's own defaults on a machine without a cluster."""
    return {"store_uri": os.environ.get(STORE_VARIABLE) or "yololine-store"}


def merge(
    parameters: Iterable[Parameter],
    *,
    file: Path | None = None,
    options: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Every parameter's value for a run.

    Args:
        parameters: What the pipeline takes.
        file: YAML, a mapping of parameter names to values; null leaves the default.
        options: Parameter name -> text of the command line; lists and mappings in YAML's flow
            style, of which JSON is a part.
        defaults: What stands in for the pipeline's own defaults here.

    Raises:
        UsageError: The file cannot be read.
        Faults: Unknown names, values of the wrong type, required parameters without a value: all
            at once.
    """
    known = {parameter.name: parameter for parameter in parameters}
    values = {name: parameter.default for name, parameter in known.items()}
    values |= {name: value for name, value in (defaults or {}).items() if name in known}
    faults: list[YololineError] = []

    for name, value in _read_file(file).items() if file else ():
        if name not in known:
            faults.append(_unknown(str(name), known, file))
        elif value is not None:
            try:
                values[name] = _converted(known[name], value, where=f"{file}: {name}: {value}")
            except UsageError as fault:
                values[name] = value  # not missing as well
                faults.append(fault)
    for name, text in (options or {}).items():
        try:
            values[name] = _parsed(known[name], text)
        except UsageError as fault:
            values[name] = text
            faults.append(fault)

    faults += [
        UsageError(
            option_name(name),
            rule="has no default and was not given",
            remedy=f"give it, or write `{name}: ...` into the file of --parameters",
        )
        for name, value in values.items()
        if value is None
    ]
    if faults:
        raise Faults(faults)
    return values


def with_absolute_paths(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as they mean the same in any working folder."""
    given = dict(arguments)
    for name in ("source_uri", "store_uri", "weights_uri", "augmentation_policy"):
        value = given.get(name)
        if not isinstance(value, str) or not value or _SCHEME.match(value):
            continue
        path = Path(value).expanduser().absolute()
        # The others may be a name, of a policy that comes with yololine for instance.
        if name in {"source_uri", "store_uri"} or path.exists():
            given[name] = str(path)
    return given


def _read_file(file: Path) -> dict[Any, Any]:
    try:
        content = yaml.safe_load(file.read_bytes())
    except OSError as error:
        raise UsageError(
            file, rule=f"cannot be read ({error.strerror})", remedy="check the path of --parameters"
        ) from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise UsageError(
            f"{file}{line}",
            rule=f"is no YAML: {getattr(error, 'problem', None) or error}",
            remedy="write one `name: value` a line",
        ) from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UsageError(
            file,
            rule=f"is {_kind(content)}, not a mapping of parameters",
            remedy="write one `name: value` a line",
        )
    return content


def _unknown(name: str, known: Mapping[str, Parameter], file: Path | None) -> UsageError:
    near = difflib.get_close_matches(name.replace("-", "_"), known, n=1)
    return UsageError(
        f"{file}: {name}",
        rule="is no parameter of this pipeline",
        remedy=f"did you mean {near[0]}?" if near else "remove it; --help lists the parameters",
    )


def _parsed(parameter: Parameter, text: str) -> Any:
    """The value of an option's text."""
    match parameter.type:
        case ParameterType.BOOLEAN:
            value: Any = _TRUTH.get(text.strip().lower(), text)
        case ParameterType.LIST | ParameterType.STRUCT:
            value = _structure(text)
        case _:
            value = text
    return _converted(parameter, value, where=f"{option_name(parameter.name)} {text}".rstrip())


def _structure(text: str) -> Any:
    # JSON first: YAML 1.1 reads it all, but takes 1e-3 for text.
    with suppress(ValueError):
        return json.loads(text)
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def _number(text: str) -> Any:
    # Not by YAML, for which 1e-3 is text and 010 is eight.
    for number in (int, float):
        with suppress(ValueError):
            return number(text)
    return text


def _converted(parameter: Parameter, value: Any, *, where: str) -> Any:
    """The value in the parameter's type, `where` is how the user wrote it.

    Raises:
        UsageError: It is of another type.
    """
    numeric = parameter.type in {ParameterType.INTEGER, ParameterType.NUMBER}
    number = _number(value) if numeric and isinstance(value, str) else value
    match parameter.type, number:
        case ParameterType.INTEGER | ParameterType.NUMBER, bool():
            pass  # Python's bool is an int
        case ParameterType.INTEGER, int():
            return number
        case ParameterType.INTEGER, float() if number.is_integer():
            return int(number)
        case ParameterType.NUMBER, int() | float() if math.isfinite(number):
            return float(number)
        case ParameterType.STRING, str():
            return value
        case ParameterType.BOOLEAN, bool():
            return value
        case (ParameterType.LIST, list()) | (ParameterType.STRUCT, dict()) if _is_json(value):
            return value
    remedy = f"write for instance {_EXAMPLE[parameter.type]}"
    if parameter.type is ParameterType.STRING:
        remedy = "put it in quotes"
    raise UsageError(
        where, rule=f"{_WANTED[parameter.type]} is wanted, this is {_kind(number)}", remedy=remedy
    )


def _is_json(value: Any) -> bool:
    """Whether KFP can carry it: YAML also knows dates, sets and keys that are no text."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):
        return False


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list" if _is_json(value) else "a list of more than JSON can hold"
        case dict():
            return "a mapping" if _is_json(value) else "a mapping of more than JSON can hold"
        case _:
            return f"a {type(value).__name__}"
