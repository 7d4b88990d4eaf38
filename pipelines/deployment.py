"""The deployment line: a registered version goes live, or back."""

from functools import partial

from kfp import dsl

from components.deploy_model import deploy_model
from components.report_run import report_run
from yololine import images
from yololine.pod import STORE_CONFIG, STORE_SECRET, always_run, on_cluster


@dsl.pipeline(
    name="yololine-deployment",
    display_name="yololine deployment",
    description="A registered version goes live behind a KServe endpoint, is checked there, and is "
    "undone where it fails; or the version before it comes back.",
)
def deployment(
    model: str,
    rollback: bool = False,
    store_uri: str = "s3://mlpipeline/yololine",
    deploy_service: str = "",
    deploy_namespace: str = "",
    deploy_strategy: str = "rolling",
    deploy_golden: bool = True,
    deploy_requests_uri: str = "",
    deploy_timeout_seconds: int = 600,
    deploy_replicas: int = 1,
    deploy_max_replicas: int = 0,
    deploy_cpu: str = "2",
    deploy_memory: str = "2Gi",
    gpu_type: str = "nvidia.com/gpu",
    deploy_gpu_count: str = "0",
    deploy_node_selector: dict = {},
    deploy_tolerations: list = [],
    predictor_image: str = images.PREDICTOR,
    serving_account: str = "yololine-serving",
    data_image: str = images.DATA,
    store_secret: str = STORE_SECRET,
    store_config: str = STORE_CONFIG,
) -> None:
    """A registered version goes live, or the one before it comes back.

    Args:
        model: What to put live (NAME for the champion of that model, or NAME@VERSION).
        rollback: Whether to go back: to the version that answered before, or to the one that model names (true or false).
        store_uri: Where versions and run journals are kept (s3://bucket/prefix).
        deploy_service: Name of the InferenceService (1 to 41 lower-case letters, digits and dashes; empty takes the model's name).
        deploy_namespace: Namespace of the InferenceService (a name; empty takes the run's own).
        deploy_strategy: Whether pods are replaced at once, or the version is first tried in a service of its own beside the one that answers (rolling or shadow).
        deploy_golden: Whether the endpoint must answer the version's golden images as its evaluation did (true or false).
        deploy_requests_uri: Recorded pictures, of which a shadow answers up to 200 beside the live version; only with deploy_strategy=shadow (s3://bucket/prefix, or a folder that the step can read; empty for none).
        deploy_timeout_seconds: How long the rollout may take before it is undone (seconds; 30 to 86400).
        deploy_replicas: Pods that serve, at least (pods; 1 to 1000).
        deploy_max_replicas: Pods that serve under load, at most (pods; 0 to 1000, 0 for no more than deploy_replicas).
        deploy_cpu: CPU limit of a serving pod (cores; a Kubernetes quantity, 100m or more).
        deploy_memory: Memory limit of a serving pod (bytes; a Kubernetes quantity, 1Gi or more).
        gpu_type: Kubernetes resource of the accelerator (for instance nvidia.com/gpu).
        deploy_gpu_count: Accelerators of a serving pod, as text (0 to 9999, 0 serves on the processor).
        deploy_node_selector: Node labels that the serving pods ask for (labels and their values).
        deploy_tolerations: Kubernetes tolerations of the serving pods (objects).
        predictor_image: Container image that serves (a name with a tag or a digest).
        serving_account: Kubernetes ServiceAccount of the serving pods, whose secret reads the store (a name).
        data_image: Container image of the steps (a name with a tag or a digest).
        store_secret: Kubernetes secret with the store's credentials, keys accesskey and secretkey (a name).
        store_config: Optional Kubernetes ConfigMap with the store's place, keys AWS_ENDPOINT_URL_S3, AWS_REGION, AWS_CA_BUNDLE and AWS_S3_ADDRESSING_STYLE (a name).
    """
    on_data = partial(
        on_cluster, image=data_image, store_secret=store_secret, store_config=store_config
    )

    report = report_run(store_uri=store_uri, model_name=model)
    always_run(on_data(report))

    with dsl.ExitHandler(exit_task=report, name="line"):
        live = deploy_model(
            model=model,
            store_uri=store_uri,
            rollback=rollback,
            deploy_service=deploy_service,
            deploy_namespace=deploy_namespace,
            deploy_strategy=deploy_strategy,
            deploy_golden=deploy_golden,
            deploy_requests_uri=deploy_requests_uri,
            deploy_timeout_seconds=deploy_timeout_seconds,
            deploy_replicas=deploy_replicas,
            deploy_max_replicas=deploy_max_replicas,
            deploy_cpu=deploy_cpu,
            deploy_memory=deploy_memory,
            gpu_type=gpu_type,
            deploy_gpu_count=deploy_gpu_count,
            deploy_node_selector=deploy_node_selector,
            deploy_tolerations=deploy_tolerations,
            predictor_image=predictor_image,
            serving_account=serving_account,
        )
        always_run(on_data(live))
