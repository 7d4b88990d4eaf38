"""The compiled components: what a pipeline of someone else's, or the KFP UI, is given."""

# No `from __future__ import annotations`: kfp reads the annotations themselves.

import re
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler, dsl

import yololine
from components import COMPONENTS, NEVER_CACHED, load
from tests.pipelines.walk import Compiled
from yololine.errors import UsageError

UPLOADED = ("preflight", "resolve_source", "clean_dataset", "prepare_weights", "deploy_model")
"""What the UI can run alone: everything they take can be typed."""


def compiled(name: str) -> Compiled:
    return Compiled(Path(yololine.component_package(name)))


@pytest.mark.parametrize("name", COMPONENTS)
def test_kfp_loads_what_the_source_says(name: str) -> None:
    loaded, source = yololine.component(name), load(name)
    assert loaded.name == source.name
    assert loaded.component_spec.inputs == source.component_spec.inputs
    assert loaded.component_spec.outputs == source.component_spec.outputs
    assert loaded.component_spec.implementation == source.component_spec.implementation


@pytest.mark.parametrize("name", COMPONENTS)
def test_alone_it_runs_as_in_the_line(name: str) -> None:
    alone, line = compiled(name), Compiled(Path(yololine.pipeline_package("training")))
    assert alone.lost_parameters() == []
    assert set(alone.tasks) == set(alone.pods) == {name}
    assert (not alone.tasks[name]["cachingOptions"]) == (name in NEVER_CACHED)
    for setting in ("securityContext", "fieldPathAsEnv"):
        assert alone.pods[name][setting] == line.pods[name][setting]
    assert alone.pods[name]["emptyDirMounts"][0] == line.pods[name]["emptyDirMounts"][0]
    assert alone.pods[name]["secretAsEnv"][0]["secretName"] == "mlpipeline-minio-artifact"


def test_the_ui_can_start_those_that_take_no_artifact() -> None:
    takes: dict[str, Any] = {n: compiled(n).spec["root"]["inputDefinitions"] for n in COMPONENTS}
    startable = {name for name, inputs in takes.items() if "artifacts" not in inputs}
    # A status comes from an exit handler's pipeline alone.
    assert startable == {*UPLOADED, "report_run"}
    for name in UPLOADED:
        for parameter, told in takes[name]["parameters"].items():
            assert told["description"], f"{name}: {parameter}"


def test_in_a_pipeline_the_pods_settings_are_the_pipelines(tmp_path: Path) -> None:
    resolve_source = yololine.component("resolve_source")

    @dsl.pipeline(name="mine")
    def mine(source_uri: str) -> None:
        resolve_source(source_uri=source_uri, store_uri="s3://bucket/store")

    compiler.Compiler().compile(mine, str(tmp_path / "mine.yaml"))
    made = Compiled(tmp_path / "mine.yaml")
    assert made.pods == {}
    assert made.tasks["resolve_source"]["cachingOptions"] == {"enableCache": True}


@pytest.mark.parametrize("find", [yololine.component, yololine.component_package])
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("clean_datset", "did you mean clean_dataset? There are: augment_dataset, build_test_set"),
        ("clean-dataset", "did you mean clean_dataset?"),
        ("../compiled/clean_dataset", "component '../compiled/clean_dataset': is not there"),
        ("training", "There are: "),
        ("", "component '': is not there; There are: "),
    ],
)
def test_a_name_that_is_not_there_is_told(find: Any, name: str, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        find(name)


def test_a_pipeline_that_is_not_there_is_told() -> None:
    with pytest.raises(UsageError, match=r"'trainin': is not there; did you mean training"):
        yololine.pipeline_package("trainin")
