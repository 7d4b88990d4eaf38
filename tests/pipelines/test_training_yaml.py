"""What a cluster reads: facts of the compiled training pipeline."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import yololine
from components import NEVER_CACHED
from tests.pipelines.walk import Compiled
from yololine.images import DATA, PREDICTOR, TRAIN
from yololine.telemetry.records import STEPS

NEEDED = {"source_uri", "model_name"}
DEFAULTS: dict[str, Any] = {
    "source_format": "auto",
    "store_uri": "s3://mlpipeline/yololine",
    "architecture": "yolo11n",
    "weights_uri": "",
    "weights_sha256": "",
    "augmentation_policy": "standard",
    "augmentation_copies": 1,
    "max_dropped_fraction": 0.25,
    "val_fraction": 0.15,
    "test_fraction": 0.15,
    "seed": 0,
    "epochs": 100,
    "image_size": 640,
    "batch_size": 16,
    "train_options": {},
    "train_retries": 2,
    "train_retry_wait_seconds": 300,
    "min_map50": 0.5,
    "promotion_rules": {},
    "deploy": False,
    "deploy_service": "",
    "deploy_namespace": "",
    "deploy_strategy": "rolling",
    "deploy_golden": True,
    "deploy_requests_uri": "",
    "deploy_timeout_seconds": 600,
    "deploy_replicas": 1,
    "deploy_max_replicas": 0,
    "deploy_cpu": "2",
    "deploy_memory": "2Gi",
    "deploy_gpu_count": "0",
    "deploy_node_selector": {},
    "deploy_tolerations": [],
    "predictor_image": PREDICTOR,
    "serving_account": "yololine-serving",
    "data_image": DATA,
    "train_image": TRAIN,
    "gpu_type": "nvidia.com/gpu",
    "gpu_count": "1",
    "node_selector": {},
    "tolerations": [],
    "cpu": "4",
    "memory": "16Gi",
    "store_secret": "mlpipeline-minio-artifact",
    "store_config": "yololine-store",
}


@pytest.fixture(scope="module")
def line() -> Compiled:
    return Compiled(Path(yololine.pipeline_package("training")))


@pytest.fixture(scope="module")
def pipeline(line: Compiled) -> dict[str, Any]:
    return line.spec


@pytest.fixture(scope="module")
def pods(line: Compiled) -> dict[str, Any]:
    return line.pods


@pytest.fixture(scope="module")
def tasks(line: Compiled) -> dict[str, Any]:
    return line.tasks


def test_only_two_parameters_have_to_be_typed(pipeline: dict[str, Any]) -> None:
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    assert {name for name, p in parameters.items() if not p.get("isOptional")} == NEEDED
    assert {n: p["defaultValue"] for n, p in parameters.items() if "defaultValue" in p} == DEFAULTS


def test_every_parameter_is_described(pipeline: dict[str, Any]) -> None:
    parameters = pipeline["root"]["inputDefinitions"]["parameters"]
    assert not [name for name, p in parameters.items() if len(p.get("description", "")) < 10]


def test_the_line_is_whole(tasks: dict[str, Any], pods: dict[str, Any]) -> None:
    assert set(tasks) == set(pods) == set(STEPS)


def test_parameters_reach_every_step(line: Compiled) -> None:
    assert line.lost_parameters() == []


def test_preflight_is_told_of_every_parameter(
    tasks: dict[str, Any], pipeline: dict[str, Any]
) -> None:
    """It has defaults, for pipelines of someone else's; here a forgotten one would go unchecked."""
    of_the_pods = {"store_secret", "store_config"}
    parameters = set(pipeline["root"]["inputDefinitions"]["parameters"])
    taken = tasks["preflight"]["inputs"]["parameters"]
    told = {name for name in parameters if name in taken}
    assert told == parameters - of_the_pods
    for name in told:
        assert taken[name] == {"componentInputParameter": f"pipelinechannel--{name}"}


def test_training_takes_its_resources_from_the_run(
    line: Compiled, pipeline: dict[str, Any], pods: dict[str, Any]
) -> None:
    container = line.container(line.tasks["train_detector"])
    assert container

    def parameter(name: str) -> str:
        return f"{{{{$.inputs.parameters['pipelinechannel--{name}']}}}}"

    resources = container["resources"]
    assert resources["accelerator"] == {
        "resourceType": parameter("gpu_type"),
        "resourceCount": parameter("gpu_count"),
    }
    assert resources["resourceCpuLimit"] == parameter("cpu")
    assert resources["resourceMemoryLimit"] == parameter("memory")
    assert container["image"] == parameter("train_image")
    pod = pods["train_detector"]
    assert pod["nodeSelector"]["nodeSelectorJson"] == {
        "componentInputParameter": "pipelinechannel--node_selector"
    }
    assert pod["tolerations"] == [
        {"tolerationJson": {"componentInputParameter": "pipelinechannel--tolerations"}}
    ]
    # The driver reads these with GetStringValue: a number compiles and gives no limit at all.
    types = pipeline["root"]["inputDefinitions"]["parameters"]
    for name in ("gpu_type", "gpu_count", "cpu", "memory"):
        assert types[name]["parameterType"] == "STRING"


def test_training_has_shared_memory(pods: dict[str, Any]) -> None:
    mounts = {m["mountPath"]: m for m in pods["train_detector"]["emptyDirMounts"]}
    assert mounts["/dev/shm"]["medium"] == "Memory"


def test_training_is_repeated_twice_after_five_minutes(tasks: dict[str, Any]) -> None:
    """For a lost pod by KFP, for a failing process by the step itself."""
    policy = tasks["train_detector"]["retryPolicy"]
    assert (policy["maxRetryCount"], policy["backoffDuration"], policy["backoffFactor"]) == (
        2,
        "300s",
        1,
    )
    taken = tasks["train_detector"]["inputs"]["parameters"]
    for name in ("train_retries", "train_retry_wait_seconds"):
        assert taken[name] == {"componentInputParameter": f"pipelinechannel--{name}"}
    assert "retryPolicy" not in tasks["preflight"]


def test_every_step_runs_as_user_1000(pods: dict[str, Any]) -> None:
    for step, pod in pods.items():
        assert pod["securityContext"] == {"runAsUser": "1000", "runAsNonRoot": True}, step


def test_every_step_has_the_store_by_secret_alone(
    pods: dict[str, Any], pipeline: dict[str, Any]
) -> None:
    for step, pod in pods.items():
        (secret,) = pod["secretAsEnv"]
        assert secret["secretNameParameter"]["componentInputParameter"].endswith("store_secret")
        assert {m["envVar"] for m in secret["keyToEnv"]} == {
            "AWS_ACCESS_KEY_ID",
            "AWS_SECRET_ACCESS_KEY",
        }, step
        (config,) = pod["configMapAsEnv"]
        assert config["optional"], step
    names = " ".join(pipeline["root"]["inputDefinitions"]["parameters"]).lower()
    assert not re.search(r"password|token|access_?key|secret_?key", names)


def test_each_step_waits_for_what_it_needs(tasks: dict[str, Any]) -> None:
    def behind(step: str) -> set[str]:
        found: set[str] = set()
        pending = [step]
        while pending:
            for name in tasks[pending.pop()].get("dependentTasks", []):
                upstream = name.replace("-", "_")
                if upstream not in found:
                    found.add(upstream)
                    pending.append(upstream)
        return found

    assert behind("build_test_set").isdisjoint({"augment_dataset", "train_detector"})
    # Training waits for what refuses a promotion rule for a class that there is not.
    assert "build_test_set" in behind("train_detector")
    assert "build_test_set" not in behind("augment_dataset")
    assert {"build_test_set", "train_detector"} <= behind("evaluate_detector")
    after = {"register_model", "deploy_model", "report_run"}
    assert behind("register_model") == set(STEPS) - after


def test_only_a_promoted_version_goes_live_and_only_where_asked_for(line: Compiled) -> None:
    conditions = {
        task["taskInfo"]["name"]: (task["triggerPolicy"]["condition"], task["dependentTasks"])
        for _, dag in line.groups()
        for task in dag["tasks"].values()
        if "condition" in task.get("triggerPolicy", {})
        for task in [task | {"dependentTasks": task.get("dependentTasks", [])}]
    }
    told, behind = conditions["to-deploy"]
    assert told == "inputs.parameter_values['pipelinechannel--deploy'] == true"
    assert {"decide-promotion", "register-model"} <= set(behind)
    told, _ = conditions["promoted"]
    assert told == "inputs.parameter_values['pipelinechannel--decide-promotion-Output'] == true"
    (group,) = (dag for _, dag in line.groups() if "deploy-model" in dag["tasks"])
    assert set(group["tasks"]) == {"deploy-model"}
    model = line.tasks["deploy_model"]["inputs"]["parameters"]["model"]
    assert model == {"componentInputParameter": "pipelinechannel--register-model-Output"}


def test_what_must_not_be_cached_is_not(tasks: dict[str, Any]) -> None:
    uncached = {s for s, t in tasks.items() if not t.get("cachingOptions", {}).get("enableCache")}
    assert uncached == set(NEVER_CACHED)


def test_no_run_id_in_a_cached_steps_inputs(tasks: dict[str, Any], pods: dict[str, Any]) -> None:
    """It would be part of the cache's key, and the GPU would run each night."""
    for step, task in tasks.items():
        assert "pipeline_job" not in json.dumps(task), step
        (run_id,) = pods[step]["fieldPathAsEnv"]
        assert run_id == {
            "name": "YOLOLINE_RUN_ID",
            "fieldPath": "metadata.labels['pipeline/runid']",
        }


def test_the_report_is_the_exit_handler(tasks: dict[str, Any], pipeline: dict[str, Any]) -> None:
    assert tasks["report_run"]["triggerPolicy"] == {"strategy": "ALL_UPSTREAM_TASKS_COMPLETED"}
    assert "report-run" in pipeline["root"]["dag"]["tasks"]
