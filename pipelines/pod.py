"""What every step's pod has: the store's access, a user, scratch space; and the training's GPUs."""

from kfp import kubernetes
from kfp.dsl import PipelineTask
from kfp.dsl.pipeline_channel import PipelineParameterChannel as Parameter

USER_ID = 1000
STORE_CREDENTIALS = {"accesskey": "AWS_ACCESS_KEY_ID", "secretkey": "AWS_SECRET_ACCESS_KEY"}
"""Keys of the secret that a stock Kubeflow Pipelines installation has in each namespace."""
STORE_LOCATION = {"AWS_ENDPOINT_URL_S3": "AWS_ENDPOINT_URL_S3", "AWS_REGION": "AWS_REGION"}
LOST_PODS = 2
LOST_POD_WAIT = "60s"
TRAINING_WAIT = "300s"


def on_cluster(
    task: PipelineTask,
    image: Parameter,
    store_secret: Parameter,
    store_config: Parameter,
    *,
    repeats: int = LOST_PODS,
) -> PipelineTask:
    """Give a step what it needs in a namespace with restricted pod security."""
    kubernetes.set_security_context(task, run_as_user=USER_ID, run_as_non_root=True)
    # Optional, both: a missing secret is then a sentence of preflight's, not a pod that hangs.
    kubernetes.use_secret_as_env(
        task, secret_name=store_secret, secret_key_to_env=STORE_CREDENTIALS, optional=True
    )
    kubernetes.use_config_map_as_env(
        task, config_map_name=store_config, config_map_key_to_env=STORE_LOCATION, optional=True
    )
    # The run's id by the pod's label: as an input it would be part of the cache's key.
    kubernetes.use_field_path_as_env(
        task, env_name="YOLOLINE_RUN_ID", field_path="metadata.labels['pipeline/runid']"
    )
    kubernetes.empty_dir_mount(task, volume_name="scratch", mount_path="/tmp")
    if repeats:
        # For lost pods; see on_gpu for what it does not repeat.
        task.set_retry(num_retries=repeats, backoff_duration=LOST_POD_WAIT, backoff_factor=1)
    return task.set_container_image(image)


def always_run(task: PipelineTask) -> PipelineTask:
    """Keep a step out of KFP's cache."""
    return task.set_caching_options(False)


def on_gpu(
    task: PipelineTask,
    *,
    gpu_type: Parameter,
    gpu_count: Parameter,
    cpu: Parameter,
    memory: Parameter,
    node_selector: Parameter,
    tolerations: Parameter,
) -> PipelineTask:
    """Give the training step its accelerators, and shared memory for its image loaders.

    The caller also passes gpu_type, gpu_count, cpu and memory to the step as ordinary inputs:
    kfp 2.17 carries parameters through groups for inputs only, not for these settings.
    """
    task.set_accelerator_type(gpu_type).set_accelerator_limit(gpu_count)
    task.set_cpu_limit(cpu).set_memory_limit(memory)
    # Asked for less than allowed: where GPUs are what is scarce, cores must not keep one idle.
    task.set_cpu_request("500m").set_memory_request("1Gi")
    kubernetes.add_node_selector_json(task, node_selector)
    kubernetes.add_toleration_json(task, tolerations)
    # A pod has 64 MiB of /dev/shm by default, less than a few batches of images.
    kubernetes.empty_dir_mount(
        task, volume_name="shm", mount_path="/dev/shm", medium="Memory", size_limit="4Gi"
    )
    # On a stock backend this repeats a lost pod; a failing trainer the step itself starts again.
    task.set_retry(num_retries=LOST_PODS, backoff_duration=TRAINING_WAIT, backoff_factor=1)
    return task
