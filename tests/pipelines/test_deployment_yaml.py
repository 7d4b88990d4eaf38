"""What a cluster reads of the deployment pipeline."""

from __future__ import annotations

from pathlib import Path

import pytest

import yololine
from tests.pipelines.walk import Compiled

OF_TRAINING = {"store_uri", "gpu_type", "data_image", "store_secret", "store_config"}


@pytest.fixture(scope="module")
def line() -> Compiled:
    return Compiled(Path(yololine.pipeline_package("deployment")))


@pytest.fixture(scope="module")
def training() -> Compiled:
    return Compiled(Path(yololine.pipeline_package("training")))


def test_it_deploys_and_reports(line: Compiled) -> None:
    assert set(line.tasks) == set(line.pods) == {"deploy_model", "report_run"}
    assert line.tasks["report_run"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert line.lost_parameters() == []


def test_what_it_asks_has_the_names_defaults_and_words_of_the_training(
    line: Compiled, training: Compiled
) -> None:
    own, other = (c.spec["root"]["inputDefinitions"]["parameters"] for c in (line, training))
    assert {name for name, told in own.items() if not told.get("isOptional")} == {"model"}
    assert own["rollback"]["defaultValue"] is False
    same = {name for name in own if name not in {"model", "rollback"}}
    serving = {n for n in other if n.startswith("deploy_")} | {"predictor_image", "serving_account"}
    assert same == OF_TRAINING | serving
    for name in same:
        assert own[name].get("defaultValue") == other[name].get("defaultValue"), name
    for name in serving:
        assert own[name]["description"] == other[name]["description"], name


def test_every_parameter_reaches_the_step(line: Compiled) -> None:
    taken = line.tasks["deploy_model"]["inputs"]["parameters"]
    parameters = set(line.spec["root"]["inputDefinitions"]["parameters"])
    assert set(taken) >= parameters - {"data_image", "store_secret", "store_config"}
    for name in set(taken) & parameters:
        assert taken[name] == {"componentInputParameter": f"pipelinechannel--{name}"}


@pytest.mark.parametrize("pipeline", ["line", "training"])
def test_it_is_never_cached_and_repeated_for_lost_pods_alone(
    pipeline: str, request: pytest.FixtureRequest
) -> None:
    compiled: Compiled = request.getfixturevalue(pipeline)
    task = compiled.tasks["deploy_model"]
    assert not task["cachingOptions"].get("enableCache")
    assert task["retryPolicy"]["maxRetryCount"] == 2
    assert compiled.pods["deploy_model"]["securityContext"]["runAsNonRoot"] is True
