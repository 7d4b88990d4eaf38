"""A run's parameters: the pipeline's defaults, under a file's values, under the options'."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from yololine.documents import MAX_DEPTH, read_document
from yololine.errors import Faults, UsageError, YololineError, without_secrets
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
_URIS = (
    "source_uri",
    "store_uri",
    "weights_uri",
    "augmentation_policy",
    "deploy_requests_uri",
)
_LARGEST = 2**53
"""KFP carries whole numbers as floats, which are exact up to here."""
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
        UsageError: The file cannot be read, or the source takes in the store.
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
    if {"source_uri", "store_uri"} <= values.keys():
        from yololine.dataset.places import check_apart  # not for --help, which waits for nothing

        # Here, and not in preflight alone: the run's own logs would lie in the source by then.
        check_apart(values["source_uri"], values["store_uri"])
    return values


def with_absolute_paths(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as they mean the same in any working folder."""
    from yololine.storage.local import LocalStore

    given = dict(arguments)
    for name in _URIS:
        value = given.get(name)
        if not isinstance(value, str) or not (value := value.strip()) or _SCHEME.match(value):
            continue
        path = LocalStore(Path(value)).root
        # The others may be a name, of a policy that comes with yololine for instance.
        if name in {"source_uri", "store_uri"} or path.exists():
            given[name] = str(path)
    return given


def _read_file(file: Path) -> dict[Any, Any]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(
            file, rule=f"cannot be read ({error.strerror})", remedy="check the path of --parameters"
        ) from error
    content = read_document(data, str(file), UsageError).value
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
    with suppress(ValueError, RecursionError):
        return json.loads(text, object_pairs_hook=_without_repeats)
    try:
        return read_document(text.encode(errors="replace"), "", UsageError).value
    except UsageError:
        return text


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is given twice")
    return found


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
    if isinstance(value, str) or _is_json(value):
        _check_texts(value, where)
    match parameter.type, number:
        case ParameterType.INTEGER | ParameterType.NUMBER, bool():
            pass  # Python's bool is an int
        case ParameterType.INTEGER | ParameterType.NUMBER, int() | float() if not _fits(number):
            raise UsageError(
                where,
                rule=f"{_WANTED[parameter.type]} is wanted, finite and at most {_LARGEST}",
                remedy=f"write for instance {_EXAMPLE[parameter.type]}",
            )
        case ParameterType.INTEGER, int():
            return number
        case ParameterType.INTEGER, float() if number.is_integer():
            return int(number)
        case ParameterType.NUMBER, int() | float():
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


def _check_texts(value: Any, where: str) -> None:
    """Raise UsageError for text, however deep within the value, that must not travel."""
    if isinstance(value, dict | list):
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            _check_texts(item, where)
    elif isinstance(value, str):
        if without_secrets(value) != value:
            raise UsageError(
                where,
                rule="holds a user, password or signature, which would reach logs and reports",
                remedy="give them as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, on a cluster in "
                "the secret that store_secret names",
            )
        if re.search(r"[\x00-\x1f\x7f\ud800-\udfff]", value):
            raise UsageError(
                where,
                rule="holds a control character, or is not UTF-8",
                remedy="write it without, and rename the file or folder if it is a name",
            )
        if "{{" in value:
            raise UsageError(
                where,
                rule="holds {{, with which Kubeflow Pipelines begins a placeholder",
                remedy="write it without",
            )


def _is_json(value: Any, depth: int = 0) -> bool:
    """Whether KFP can carry it: not null, nor YAML's dates, sets and keys that are no text."""
    match value:
        case bool() | str():
            return True
        case int() | float():
            return _fits(value)
        case list() if depth < MAX_DEPTH:
            return all(_is_json(item, depth + 1) for item in value)
        case dict() if depth < MAX_DEPTH:
            return all(
                isinstance(key, str) and _is_json(item, depth + 1) for key, item in value.items()
            )
    return False


def _fits(number: float) -> bool:
    return -_LARGEST <= number <= _LARGEST  # NaN is neither


def _kind(value: Any) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list" if _is_json(value) else "a list of more than KFP can carry"
        case dict():
            return "a mapping" if _is_json(value) else "a mapping of more than KFP can carry"
        case _:
            return f"a {type(value).__name__}"
