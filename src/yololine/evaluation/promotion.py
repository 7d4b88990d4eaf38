"""Whether a model may go live: thresholds on its test metrics."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable
from typing import Any, Literal

from yololine.errors import UsageError, YololineError, in_one
from yololine.frozen import Frozen

METRICS = ("ap50", "ap50_95", "precision", "recall", "f1")
OVERALL = ("ap50", "ap50_95")


class RuleOutcome(Frozen):
    """One rule held against the metrics."""

    metric: str
    minimum: float
    value: float | None
    passed: bool


class Decision(Frozen):
    """Promoted only where every rule passed."""

    kind: Literal["decision"] = "decision"
    key: str = ""
    promoted: bool
    rules: tuple[RuleOutcome, ...]
    reasons: tuple[str, ...]


def rule_faults(promotion_rules: dict[str, Any], min_map50: float) -> list[YololineError]:
    """Faults of the rules themselves, before there is any metric.

    A rule's name is `ap50`, `ap50_95` or `per_class.<class>.<metric>`; its value a minimum, 0..1.
    """
    faults: list[YololineError] = []
    rules = [
        (f"promotion_rules[{name!r}]", name, minimum) for name, minimum in promotion_rules.items()
    ]
    for label, name, minimum in [("min_map50", "ap50", min_map50), *rules]:
        if isinstance(minimum, bool) or not isinstance(minimum, int | float):
            faults.append(_fault(label, minimum, "must be a number", "give a fraction of 1"))
        elif not (math.isfinite(minimum) and 0 <= minimum <= 1):
            faults.append(_fault(label, minimum, "must be 0 to 1", "give a fraction of 1, not %"))
        if not _known(name):
            faults.append(
                _fault(
                    label,
                    minimum,
                    "is no metric",
                    "use ap50, ap50_95 or per_class.<class>.<metric> with a metric of "
                    + ", ".join(METRICS),
                )
            )
    return faults


def class_faults(
    promotion_rules: dict[str, Any], class_names: Iterable[str]
) -> list[YololineError]:
    """Rules for classes that there are not; of rules without other faults."""
    known = tuple(class_names)
    faults: list[YololineError] = []
    for name, minimum in promotion_rules.items():
        if name in OVERALL or _class_and_metric(name)[0] in known:
            continue
        near = difflib.get_close_matches(_class_and_metric(name)[0], known, n=1)
        faults.append(
            _fault(
                f"promotion_rules[{name!r}]",
                minimum,
                "names a class that the model does not have",
                (f"did you mean {near[0]!r}? " if near else "") + f"Known: {', '.join(known)}",
            )
        )
    return faults


def decide(
    metrics: dict[str, Any], *, min_map50: float, promotion_rules: dict[str, Any]
) -> Decision:
    """Hold metrics (the registry's metrics.json) against the minimum AP50 and further rules.

    Raises:
        UsageError: A rule names a class that the model does not have.
    """
    if faults := class_faults(promotion_rules, metrics["per_class"]):
        raise in_one(faults)
    minima = {"ap50": float(min_map50)}
    for name, minimum in promotion_rules.items():
        minima[name] = max(float(minimum), minima.get(name, 0.0))
    outcomes = []
    for name, minimum in sorted(minima.items()):
        value = _value(metrics, name)
        outcomes.append(
            RuleOutcome(
                metric=name,
                minimum=minimum,
                value=value,
                passed=value is not None and value >= minimum,
            )
        )
    return Decision(
        promoted=all(outcome.passed for outcome in outcomes),
        rules=tuple(outcomes),
        reasons=tuple(_reason(outcome) for outcome in outcomes),
    )


def _known(name: str) -> bool:
    if name in OVERALL:
        return True
    class_name, metric = _class_and_metric(name)
    return name.startswith("per_class.") and bool(class_name) and metric in METRICS


def _class_and_metric(name: str) -> tuple[str, str]:
    class_name, _, metric = name.removeprefix("per_class.").rpartition(".")
    return class_name, metric


def _value(metrics: dict[str, Any], name: str) -> float | None:
    if name in OVERALL:
        return float(metrics[name])
    class_name, metric = _class_and_metric(name)
    value = metrics["per_class"][class_name][metric]
    return None if value is None else float(value)


def _reason(outcome: RuleOutcome) -> str:
    if outcome.value is None:
        return f"{outcome.metric} could not be measured: the test split holds no such object"
    verb = "reaches" if outcome.passed else "misses"
    # As many digits as there are: 0.6999 misses 0.7.
    return f"{outcome.metric} {outcome.value:.5g} {verb} the minimum {outcome.minimum:.5g}"


def _fault(name: str, value: object, rule: str, remedy: str) -> UsageError:
    return UsageError(f"{name}={value!r}", rule=rule, remedy=remedy)
