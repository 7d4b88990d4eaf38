"""Put a version live, or back."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def deploy_model(
    model: str,
    store_uri: str,
    predictor_image: str,
    deployment: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    rollback: bool = False,
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
    serving_account: str = "yololine-serving",
) -> str:
    """Put a registered version behind a KServe endpoint, check its answers, and undo what fails.

    Args:
        model: What to put live (NAME for the champion of that model, or NAME@VERSION).
        store_uri: Root of the store (s3://bucket/prefix).
        predictor_image: Container image that serves (a name with a tag or a digest).
        deployment: What answers where now, JSON.
        report: Page with what happened, and pictures of wrong answers.
        rollback: Whether to go back: to the version that answered before, or to the one that model names (true or false).
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
        serving_account: Kubernetes ServiceAccount of the serving pods, whose secret reads the store (a name).

    Returns:
        The endpoint's URL.

    Example:
        live = deploy_model(
            model="castings",
            store_uri=store_uri,
            predictor_image=images.PREDICTOR,
            deploy_gpu_count="1",
        )
        always_run(on_cluster(live))
    """
    from yololine import steps

    return steps.deploy_model(
        deployment.path,
        report.path,
        store_uri=store_uri,
        model=model,
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
    ).url
