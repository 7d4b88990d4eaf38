"""What Kubernetes takes of a pod's settings, said before it is asked."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from yololine.errors import UsageError

QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?")
"""Kubernetes quantities without exponents: number and unit."""
UNITS = {"": 1, "m": 1e-3} | {
    prefix + suffix: base**power
    for suffix, base in (("", 1000), ("i", 1024))
    for power, prefix in enumerate("KMGTP", 1)
}
UNITS["k"] = UNITS.pop("K")
RESOURCE_NAME = re.compile(r"([a-z0-9.-]+/)?[A-Za-z0-9][A-Za-z0-9._-]*")
COUNT = re.compile(r"[0-9]{1,4}")
LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
LABEL_VALUE = re.compile(r"|[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
IMAGE = re.compile(
    r"([A-Za-z0-9.-]+(:\d+)?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:\w[\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
OPERATORS = ("Exists", "Equal")
EFFECTS = ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
TOLERATION_FIELDS = ("key", "operator", "value", "effect", "tolerationSeconds")


def quantity_faults(name: str, value: Any, *, least: float, example: str) -> Iterator[UsageError]:
    """Faults of a limit of cores or bytes."""
    quantity = QUANTITY.fullmatch(str(value))
    if not quantity:
        yield _fault(name, value, "is no Kubernetes quantity", f"write it as {example}")
    elif float(quantity[1]) * UNITS[quantity[2] or ""] < least:
        yield _fault(name, value, "is less than the step asks for", f"write it as {example}")


def accelerator_faults(name: str, count: Any, gpu_type: Any, *, zero: str) -> Iterator[UsageError]:
    """Faults of a number of accelerators and of their kind; `zero` says what 0 is for."""
    if not COUNT.fullmatch(str(count)):
        yield _fault(
            name, count, "must be a whole number, 0 or more, as text", f"give '1', or '0' {zero}"
        )
    elif int(count) and not RESOURCE_NAME.fullmatch(str(gpu_type)):
        yield _fault(
            "gpu_type", gpu_type, "is no Kubernetes resource", "use for instance nvidia.com/gpu"
        )


def image_faults(name: str, value: Any, *, example: str) -> Iterator[UsageError]:
    """Faults of an image's name."""
    if not IMAGE.fullmatch(str(value)):
        yield _fault(name, value, "is no name of an image", f"write it as {example}")


def selector_faults(name: str, labels: Mapping[str, Any]) -> Iterator[UsageError]:
    """Faults of a node selector."""
    for label, value in labels.items():
        if not LABEL_KEY.fullmatch(label):
            yield UsageError(
                f"{name}[{label!r}]",
                rule="is no label's name",
                remedy="write name or prefix/name, as kubectl get nodes --show-labels does",
            )
        if not isinstance(value, str) or not LABEL_VALUE.fullmatch(value):
            yield UsageError(
                f"{name}[{label!r}]={value!r}",
                rule="is no label value",
                remedy="give text: letters, digits, '-', '_' and '.', at most 63",
            )


def toleration_faults(name: str, tolerations: Sequence[Any]) -> Iterator[UsageError]:
    """Faults of a list of tolerations."""
    for index, toleration in enumerate(tolerations):
        yield from _toleration_faults(f"{name}[{index}]", toleration)


def _toleration_faults(where: str, toleration: Any) -> Iterator[UsageError]:
    if not isinstance(toleration, dict):
        yield UsageError(
            f"{where}={toleration!r}",
            rule="is no object",
            remedy='write {"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}',
        )
        return
    for name, value in toleration.items():
        if name not in TOLERATION_FIELDS:
            near = difflib.get_close_matches(name, TOLERATION_FIELDS, n=1)
            yield UsageError(
                f"{where}.{name}",
                rule="is no field of a toleration",
                remedy=f"use {near[0]}" if near else f"use {', '.join(TOLERATION_FIELDS)}",
            )
        elif name == "tolerationSeconds":
            if isinstance(value, bool) or not isinstance(value, int | float):
                yield UsageError(f"{where}.{name}={value!r}", rule="is no number", remedy="use 300")
        elif not isinstance(value, str):
            yield UsageError(
                f"{where}.{name}={value!r}", rule="is no text", remedy="put it in quotes"
            )
    operator, effect = toleration.get("operator", "Equal"), toleration.get("effect", "")
    if effect not in EFFECTS:
        yield UsageError(
            f"{where}.effect={effect!r}",
            rule="is no taint effect",
            remedy="use NoSchedule, PreferNoSchedule or NoExecute",
        )
    if operator not in OPERATORS:
        yield UsageError(
            f"{where}.operator={operator!r}", rule="is no operator", remedy="use Exists or Equal"
        )
    elif operator == "Exists" and toleration.get("value"):
        yield UsageError(
            f"{where}.value={toleration['value']!r}",
            rule="means nothing with operator Exists",
            remedy="leave it out, or use Equal",
        )
    elif operator == "Equal" and not toleration.get("key"):
        yield UsageError(
            where,
            rule="has no key, which only operator Exists may lack",
            remedy="give the taint's key, or operator Exists to tolerate every taint",
        )


def _fault(name: str, value: object, rule: str, remedy: str) -> UsageError:
    return UsageError(f"{name}={value!r}", rule=rule, remedy=remedy)
