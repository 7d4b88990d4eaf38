from __future__ import annotations

from typing import Any

import pytest

from yololine.errors import UsageError
from yololine.evaluation.promotion import decide, rule_faults

METRICS: dict[str, Any] = {
    "ap50": 0.7,
    "ap50_95": 0.41,
    "per_class": {
        "pin hole": {"ap50": 0.9, "ap50_95": 0.6, "precision": 0.8, "recall": 0.5, "f1": 0.6},
        "v1.2 type": {"ap50": 0.5, "ap50_95": 0.2, "precision": 0.4, "recall": 0.3, "f1": 0.3},
        "rare": {"ap50": None, "ap50_95": None, "precision": None, "recall": None, "f1": None},
    },
}


@pytest.mark.parametrize(
    ("min_map50", "rules"),
    [
        (0.5, {}),
        (0, {"ap50_95": 1}),
        (1, {"per_class.pin hole.recall": 0.5}),
        (0.0, {"per_class.v1.2 type.ap50": 0.0, "per_class..f1.f1": 0.1}),
    ],
)
def test_rules_that_can_be_held(min_map50: float, rules: dict[str, Any]) -> None:
    assert rule_faults(rules, min_map50) == []


@pytest.mark.parametrize(
    ("min_map50", "rules", "words"),
    [
        (50, {}, "min_map50=50: must be 0 to 1; give a fraction of 1, not %"),
        (-0.1, {}, "min_map50=-0.1: must be 0 to 1"),
        (float("nan"), {}, "min_map50=nan: must be 0 to 1"),
        ("0.5", {}, "min_map50='0.5': must be a number; give a fraction of 1"),
        (True, {}, "min_map50=True: must be a number"),
        (0.5, {"ap50": None}, r"promotion_rules\['ap50'\]=None: must be a number"),
        (
            0.5,
            {"ap75": 0.5},
            r"promotion_rules\['ap75'\]=0.5: is no metric; use ap50, ap50_95 or per",
        ),
        # It is the name of a parameter beside the rules, and would be found out after the training.
        (0.5, {"min_map50": 0.9}, r"promotion_rules\['min_map50'\]=0.9: is no metric"),
        (0.5, {"recall": 0.5}, "is no metric"),
        (0.5, {"per_class.pin hole": 0.5}, "is no metric"),
        (0.5, {"per_class.recall": 0.5}, "is no metric"),
        (0.5, {"per_class.a.map": 0.5}, "is no metric"),
        (0.5, {"": 0.5}, "is no metric"),
    ],
)
def test_rules_that_cannot(min_map50: Any, rules: dict[str, Any], words: str) -> None:
    (fault,) = rule_faults(rules, min_map50)
    with pytest.raises(UsageError, match=words):
        raise fault


def test_all_faults_are_named() -> None:
    assert len(rule_faults({"ap75": 2, "ap50_95": "x"}, -1)) == 4


@pytest.mark.parametrize(
    ("min_map50", "rules", "failed"),
    [
        (0.7, {}, []),
        (0.70001, {}, ["ap50"]),
        (0, {"ap50": 0.8}, ["ap50"]),
        # Both are of one metric: the stricter holds.
        (0.8, {"ap50": 0.1}, ["ap50"]),
        (0.7, {"ap50_95": 0.41, "per_class.pin hole.recall": 0.5}, []),
        (
            0.7,
            {"per_class.pin hole.recall": 0.51, "ap50_95": 0.5},
            ["ap50_95", "per_class.pin hole.recall"],
        ),
        (0.7, {"per_class.v1.2 type.f1": 0.3}, []),
        # What could not be measured is not good enough, not even for 0.
        (0.7, {"per_class.rare.ap50": 0}, ["per_class.rare.ap50"]),
    ],
)
def test_only_what_passes_every_rule_is_promoted(
    min_map50: float, rules: dict[str, Any], failed: list[str]
) -> None:
    decision = decide(METRICS, min_map50=min_map50, promotion_rules=rules)
    assert [rule.metric for rule in decision.rules if not rule.passed] == failed
    assert decision.promoted is not bool(failed)
    assert {rule.metric for rule in decision.rules} == {"ap50", *rules}
    assert len(decision.reasons) == len(decision.rules)


def test_reasons_have_the_digits_that_decide() -> None:
    rules = {"per_class.rare.ap50": 0.5, "ap50_95": 0.4, "per_class.pin hole.f1": 0.6}
    metrics = METRICS | {"ap50": 0.69996}
    assert decide(metrics, min_map50=0.7, promotion_rules=rules).reasons == (
        "ap50 0.69996 misses the minimum 0.7",
        "ap50_95 0.41 reaches the minimum 0.4",
        "per_class.pin hole.f1 0.6 reaches the minimum 0.6",
        "per_class.rare.ap50 could not be measured: the test split holds no such object",
    )


def test_a_class_that_there_is_not_is_named_with_those_there_are() -> None:
    words = r"\['per_class.hole.ap50'\]=0.5: .*did you mean 'pin hole'\? Known: pin hole, v1"
    with pytest.raises(UsageError, match=words):
        decide(METRICS, min_map50=0.5, promotion_rules={"per_class.hole.ap50": 0.5})


def test_a_decision_survives_its_file() -> None:
    decision = decide(METRICS, min_map50=0.5, promotion_rules={"per_class.rare.f1": 0.5})
    assert type(decision).model_validate_json(decision.model_dump_json()) == decision
