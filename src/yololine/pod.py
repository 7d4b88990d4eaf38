"""What a step's pod needs, in the line and in anyone's own pipeline.

Access to the store, a user that a restricted namespace admits, scratch space, the run's id; for
training also accelerators and shared memory. To be called inside `@dsl.pipeline`, on the tasks of
yololine's components and on one's own alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from kfp import kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.pipeline_channel import PipelineParameterChannel as Parameter

from yololine.errors import UsageError
from yololine.telemetry.journal import RUN_ID_VARIABLE

USER_ID = 1000
STORE_SECRET = "mlpipeline-minio-artifact"
"""The secret that a stock Kubeflow Pipelines installation has in each namespace."""
STORE_CONFIG = "yololine-store"
STORE_CREDENTIALS = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
"""Keys of the secret -> variables of the step."""
STORE_LOCATION = {
    name: name
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_REGION", "AWS_CA_BUNDLE", "AWS_S3_ADDRESSING_STYLE")
}
"""Keys of the ConfigMap -> variables of the step."""
STORE_CONFIG_FOLDER = "/etc/yololine"
"""Where its keys are files too: AWS_CA_BUNDLE names one of them."""
VOLUME_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""Kubeflow names the volume as the ConfigMap, whose own name may be longer and have dots."""
LOST_PODS = 2
LOST_POD_WAIT = "60s"
TRAINING_WAIT = "300s"


def on_cluster(
    task: PipelineTask,
    *,
    image: str | Parameter | None = None,
    store_secret: str | Parameter = STORE_SECRET,
    store_config: str | Parameter = STORE_CONFIG,
    repeats: int = LOST_PODS,
) -> PipelineTask:
    """Give a step what it needs in a namespace with restricted pod security.

    Args:
        task: The step.
        image: Its image, for instance `yololine.images.image("data", registry=...)`; None leaves
            the component's own.
        store_secret: Kubernetes secret with the store's credentials, keys accesskey and secretkey.
        store_config: Optional ConfigMap with the store's place, keys AWS_ENDPOINT_URL_S3,
            AWS_REGION, AWS_CA_BUNDLE and AWS_S3_ADDRESSING_STYLE. Its name has no dot: no pod is
            made otherwise, which a run parameter is not refused for.
        repeats: How often Kubeflow starts it again when its pod is lost; kfp.local does so when it
            fails, a minute later each time.

    Raises:
        UsageError: `store_config` cannot name a volume.
    """
    if isinstance(store_config, str) and not VOLUME_NAME.fullmatch(store_config):
        raise UsageError(
            f"on_cluster(store_config={store_config!r})",
            rule="cannot name a volume too, as Kubeflow has it: no pod could be made",
            remedy="give the ConfigMap a name of 1 to 63 lower-case letters, digits and dashes",
        )
    kubernetes.set_security_context(task, run_as_user=USER_ID, run_as_non_root=True)
    # Optional, both: a missing secret is then a sentence of the step's, not a pod that hangs.
    kubernetes.use_secret_as_env(
        task, secret_name=store_secret, secret_key_to_env=STORE_CREDENTIALS, optional=True
    )
    kubernetes.use_config_map_as_env(
        task, config_map_name=store_config, config_map_key_to_env=STORE_LOCATION, optional=True
    )
    kubernetes.use_config_map_as_volume(
        task, config_map_name=store_config, mount_path=STORE_CONFIG_FOLDER, optional=True
    )
    # The run's id by the pod's label: as an input it would be part of the cache's key.
    kubernetes.use_field_path_as_env(
        task, env_name=RUN_ID_VARIABLE, field_path="metadata.labels['pipeline/runid']"
    )
    kubernetes.empty_dir_mount(task, volume_name="scratch", mount_path="/tmp")
    if repeats:
        # For lost pods; see on_gpu for what it does not repeat.
        task.set_retry(num_retries=repeats, backoff_duration=LOST_POD_WAIT, backoff_factor=1)
    return task if image is None else task.set_container_image(image)


def always_run(task: PipelineTask) -> PipelineTask:
    """Keep a step out of KFP's cache."""
    return task.set_caching_options(False)


def on_gpu(
    task: PipelineTask,
    *,
    gpu_type: str | Parameter = "nvidia.com/gpu",
    gpu_count: str | Parameter = "1",
    cpu: str | Parameter = "4",
    memory: str | Parameter = "16Gi",
    node_selector: Mapping[str, str] | Parameter | None = None,
    tolerations: Sequence[Mapping[str, Any]] | Parameter = (),
) -> PipelineTask:
    """Give the training step its accelerators, and shared memory for its image loaders.

    Args:
        task: The step, after `on_cluster`.
        gpu_type: Kubernetes resource of the accelerator.
        gpu_count: Accelerators, as text; "0" trains on the processor.
        cpu: CPU limit, a Kubernetes quantity of at least "500m".
        memory: Memory limit, a Kubernetes quantity of at least "2Gi"; shared memory counts too.
        node_selector: Node labels that the step asks for.
        tolerations: Kubernetes tolerations.

    Raises:
        UsageError: One of the first four is a run parameter that is no `str`, or they are not what
            the step itself is told in its `resources`.
    """
    limits = {"gpu_type": gpu_type, "gpu_count": gpu_count, "cpu": cpu, "memory": memory}
    _carry(task, limits)
    _agree(task, list(limits.values()))
    task.set_accelerator_type(gpu_type).set_accelerator_limit(gpu_count)
    task.set_cpu_limit(cpu).set_memory_limit(memory)
    # Asked for less than allowed: where GPUs are what is scarce, cores must not keep one idle.
    task.set_cpu_request("500m").set_memory_request("1Gi")
    if isinstance(node_selector, Parameter):
        kubernetes.add_node_selector_json(task, node_selector)
    else:
        for label, value in (node_selector or {}).items():
            kubernetes.add_node_selector(task, label, value)
    if isinstance(tolerations, Parameter):
        kubernetes.add_toleration_json(task, tolerations)
    else:
        for toleration in tolerations:
            # kfp's own way with plain ones reads toleration_seconds and loses Kubernetes' spelling.
            given = {**toleration, "toleration_seconds": toleration.get("tolerationSeconds")}
            given.pop("tolerationSeconds", None)
            kubernetes.add_toleration(task, **given)
    # A pod has 64 MiB of /dev/shm by default, less than a few batches of images.
    kubernetes.empty_dir_mount(
        task, volume_name="shm", mount_path="/dev/shm", medium="Memory", size_limit="4Gi"
    )
    # On a stock backend this repeats a lost pod; a failing trainer the step itself starts again.
    task.set_retry(num_retries=LOST_PODS, backoff_duration=TRAINING_WAIT, backoff_factor=1)
    return task


def _carry(task: PipelineTask, limits: Mapping[str, str | Parameter]) -> None:
    """Make run parameters that the limits name known to the step.

    kfp 2.17 leaves that out for these settings alone, and a run fails on a backend where the step
    is inside an exit handler, a condition or a loop. And the backend reads them as text: a number
    would be no limit at all.
    """
    for name, value in limits.items():
        if isinstance(value, Parameter):
            if value.channel_type != "String":
                raise UsageError(
                    f"on_gpu({name}={value.name})",
                    rule=f"is a parameter of type {value.channel_type}, which Kubeflow does not "
                    "read there: the pod would have no such limit",
                    remedy="declare it as `str`",
                )
            task.register_pipeline_channels([value])


def _agree(task: PipelineTask, limits: Sequence[str | Parameter]) -> None:
    """A step with an input `resources` trains on as many accelerators as that says."""
    declared = (task.component_spec.inputs or {}).get("resources")
    told = task.inputs.get("resources", declared.default if declared else limits)
    if isinstance(told, Sequence) and _shown(told) != _shown(limits):
        raise UsageError(
            f"{task.name}(resources=[{', '.join(_shown(told))}])",
            rule=f"is not what on_gpu gives the pod: {', '.join(_shown(limits))}",
            remedy="pass both the same: resources=[gpu_type, gpu_count, cpu, memory]",
        )


def _shown(values: Sequence[str | Parameter]) -> list[str]:
    return [value.full_name if isinstance(value, Parameter) else str(value) for value in values]
