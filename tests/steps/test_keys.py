from __future__ import annotations

from typing import Any

import pytest

from yololine.steps.keys import canonical, result_key

INPUTS = {"split": "a" * 64}


def _key(config: dict[str, Any], inputs: dict[str, str] | None = None) -> str:
    return result_key("train_detector", inputs=inputs or INPUTS, config=config)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"epochs": 3}, {"epochs": 3.0}),
        ({"options": {"a": 1, "b": 2}}, {"options": {"b": 2.0, "a": 1}}),
        ({"freeze": [1, 2]}, {"freeze": (1.0, 2.0)}),
    ],
)
def test_what_kfp_changes_on_the_way_changes_no_name(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert _key(one) == _key(other)


@pytest.mark.parametrize(
    "other",
    [{"epochs": 4}, {"epochs": "3"}, {"epochs": 3, "seed": 0}, {"epochs": True}, {}],
)
def test_another_configuration_is_another_name(other: dict[str, Any]) -> None:
    assert _key({"epochs": 3}) != _key(other)


def test_step_and_inputs_are_part_of_the_name() -> None:
    assert _key({}) != _key({}, {"split": "b" * 64})
    assert _key({}) != result_key("export_detector", inputs=INPUTS, config={})


def test_canonical_leaves_what_is_no_number() -> None:
    assert canonical({1: [True, None, "x", 0.5]}) == {"1": [True, None, "x", 0.5]}
