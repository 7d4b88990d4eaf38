"""The pod's settings in a pipeline of someone else's."""

# No `from __future__ import annotations`: kfp reads the annotations themselves.

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kfp import compiler, dsl

import yololine
from tests.pipelines.walk import Compiled
from yololine.errors import UsageError
from yololine.images import image
from yololine.pod import always_run, on_cluster, on_gpu


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def own_training(epochs: int) -> str:
    """Train in some way of one's own."""


@dsl.component(base_image="python:3.11", install_kfp_package=False)
def count() -> int:
    """Count something."""


@pytest.fixture
def compiled(tmp_path: Path) -> Callable[[Any], Compiled]:
    def compile_(pipeline: Any) -> Compiled:
        file = tmp_path / "mine.yaml"
        compiler.Compiler().compile(pipeline, str(file))
        return Compiled(file)

    return compile_


def test_a_step_has_the_stock_installations_access(compiled: Callable[[Any], Compiled]) -> None:
    @dsl.pipeline(name="mine")
    def mine() -> None:
        on_cluster(own_training(epochs=1))

    made = compiled(mine)
    assert made.lost_parameters() == []
    pod = made.pods["own_training"]
    (secret,) = pod["secretAsEnv"]
    assert secret["secretName"] == "mlpipeline-minio-artifact"
    assert secret["optional"] is True
    variables = {entry["secretKey"]: entry["envVar"] for entry in secret["keyToEnv"]}
    assert variables == {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
    (config,) = pod["configMapAsEnv"]
    assert (config["configMapName"], config["optional"]) == ("yololine-store", True)
    # Its keys are files too: an authority's certificate reaches the pod in no other way.
    (mounted,) = pod["configMapAsVolume"]
    assert (mounted["configMapName"], mounted["optional"]) == ("yololine-store", True)
    assert mounted["mountPath"] == "/etc/yololine"
    assert pod["securityContext"] == {"runAsUser": "1000", "runAsNonRoot": True}
    assert pod["emptyDirMounts"] == [{"volumeName": "scratch", "mountPath": "/tmp"}]
    assert [field["name"] for field in pod["fieldPathAsEnv"]] == ["YOLOLINE_RUN_ID"]
    task = made.tasks["own_training"]
    assert task["retryPolicy"]["maxRetryCount"] == 2
    assert (made.container(task) or {})["image"] == "python:3.11"


def test_a_step_has_what_plain_text_says(compiled: Callable[[Any], Compiled]) -> None:
    @dsl.pipeline(name="mine")
    def mine() -> None:
        task = on_cluster(
            own_training(epochs=1),
            image=image("train", registry="registry.example.com/vision"),
            store_secret="bucket-keys",
            store_config="bucket-place",
            repeats=0,
        )
        always_run(
            on_gpu(
                task,
                gpu_type="amd.com/gpu",
                gpu_count="2",
                cpu="8",
                memory="32Gi",
                node_selector={"gpu-type": "mi300"},
                tolerations=[{"key": "gpu", "operator": "Exists", "tolerationSeconds": 60}],
            )
        )

    made = compiled(mine)
    task, pod = made.tasks["own_training"], made.pods["own_training"]
    assert pod["secretAsEnv"][0]["secretName"] == "bucket-keys"
    assert pod["configMapAsEnv"][0]["configMapName"] == "bucket-place"
    assert pod["configMapAsVolume"][0]["configMapName"] == "bucket-place"
    container = made.container(task) or {}
    assert container["image"] == f"registry.example.com/vision/train:{yololine.__version__}"
    resources = container["resources"]
    assert resources["accelerator"]["resourceType"] == "amd.com/gpu"
    assert resources["accelerator"]["resourceCount"] == "2"
    assert resources["resourceCpuLimit"] == "8"
    assert resources["resourceMemoryLimit"] == "32Gi"
    assert pod["nodeSelector"] == {"labels": {"gpu-type": "mi300"}}
    assert pod["tolerations"] == [{"key": "gpu", "operator": "Exists", "tolerationSeconds": "60"}]
    mounts = {mount["mountPath"]: mount for mount in pod["emptyDirMounts"]}
    assert mounts["/dev/shm"]["medium"] == "Memory"
    assert not task["cachingOptions"]


@pytest.mark.parametrize("name", ["team.store", "s" * 64, "Store", "-store"])
def test_a_config_map_that_cannot_name_a_volume_is_refused(
    compiled: Callable[[Any], Compiled], name: str
) -> None:
    """A ConfigMap may have such a name, and Kubeflow gives it to the pod's volume."""

    @dsl.pipeline(name="mine")
    def mine(place: str = "store") -> None:
        with pytest.raises(UsageError, match="cannot name a volume too") as raised:
            on_cluster(count(), store_config=name)
        assert f"on_cluster(store_config={name!r})" in str(raised.value)
        on_cluster(count(), store_config="s" * 63)
        on_cluster(count(), store_config=place)

    compiled(mine)


def test_run_parameters_arrive_through_every_group(compiled: Callable[[Any], Compiled]) -> None:
    """None is an input of the step, which is in an exit handler, a loop and a condition."""

    @dsl.pipeline(name="mine")
    def mine(
        picture: str,
        secret: str,
        place: str,
        gpu_type: str,
        gpu_count: str,
        cpu: str,
        memory: str,
        labels: dict,
        taints: list,
    ) -> None:
        with (
            dsl.ExitHandler(on_cluster(count())),
            dsl.ParallelFor([1, 2]) as epochs,
            dsl.If(on_cluster(count()).output > 0),
        ):
            task = on_cluster(
                own_training(epochs=epochs),
                image=picture,
                store_secret=secret,
                store_config=place,
            )
            on_gpu(
                task,
                gpu_type=gpu_type,
                gpu_count=gpu_count,
                cpu=cpu,
                memory=memory,
                node_selector=labels,
                tolerations=taints,
            )

    made = compiled(mine)
    assert made.lost_parameters() == []
    task = made.tasks["own_training"]
    container = made.container(task) or {}
    for text in (
        container["image"],
        container["resources"]["accelerator"]["resourceType"],
        container["resources"]["accelerator"]["resourceCount"],
        container["resources"]["resourceCpuLimit"],
        container["resources"]["resourceMemoryLimit"],
    ):
        assert text.startswith("{{$.inputs.parameters['pipelinechannel--")


def test_the_walk_finds_what_kfp_loses(compiled: Callable[[Any], Compiled]) -> None:
    """Without on_gpu; when this fails, kfp carries them itself and `_carry` can go."""

    @dsl.pipeline(name="mine")
    def mine(cpu: str) -> None:
        with dsl.If(on_cluster(count()).output > 0):
            own_training(epochs=1).set_cpu_limit(cpu)

    assert compiled(mine).lost_parameters() == ["own-training: pipelinechannel--cpu of its group"]


def test_a_limit_that_kubeflow_would_not_read_is_refused() -> None:
    with pytest.raises(UsageError, match=r"gpu_count=gpus.* declare it as `str`"):

        @dsl.pipeline(name="mine")
        def mine(gpus: int) -> None:
            on_gpu(own_training(epochs=1), gpu_count=gpus)


@pytest.mark.parametrize("told", [None, ["nvidia.com/gpu", "1", "4", "16Gi"]])
def test_a_training_that_is_told_another_count_than_its_pod_has_is_refused(
    told: list[str] | None,
) -> None:
    """It would train on one of four accelerators, and nobody would see it."""
    with pytest.raises(UsageError) as refused:

        @dsl.pipeline(name="mine")
        def mine(count: str) -> None:
            on_gpu(_training(told), gpu_count=count)

    assert "nvidia.com/gpu, 1, 4, 16Gi" in str(refused.value)
    assert "nvidia.com/gpu, count, 4, 16Gi" in str(refused.value)
    assert "resources=[gpu_type, gpu_count, cpu, memory]" in str(refused.value)


def test_a_training_that_is_told_what_its_pod_has_passes(
    compiled: Callable[[Any], Compiled],
) -> None:
    @dsl.pipeline(name="mine")
    def mine(count: str) -> None:
        on_gpu(_training(None))
        on_gpu(_training(["nvidia.com/gpu", count, "4", "16Gi"]), gpu_count=count)

    assert compiled(mine).lost_parameters() == []


def _training(told: list[Any] | None) -> dsl.PipelineTask:
    made = {
        name: dsl.importer(f"s3://bucket/{name}", artifact_class=kind).output
        for name, kind in (
            ("split", dsl.Dataset),
            ("augmented", dsl.Dataset),
            ("weights", dsl.Model),
        )
    }
    given = {} if told is None else {"resources": told}
    return yololine.component("train_detector")(store_uri="s3://bucket/store", **made, **given)
