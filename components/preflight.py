"""Check everything that can be checked before any work is done."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def preflight(
    source_uri: str,
    store_uri: str,
    model_name: str,
    data_image: str,
    train_image: str,
    predictor_image: str,
    report: dsl.Output[dsl.HTML],
    source_format: str = "auto",
    architecture: str = "yolo11n",
    weights_uri: str = "",
    weights_sha256: str = "",
    augmentation_policy: str = "standard",
    augmentation_copies: int = 1,
    max_dropped_fraction: float = 0.25,
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    seed: int = 0,
    epochs: int = 100,
    image_size: int = 640,
    batch_size: int = 16,
    train_options: dict = {},
    train_retries: int = 2,
    train_retry_wait_seconds: int = 300,
    min_map50: float = 0.5,
    promotion_rules: dict = {},
    deploy: bool = False,
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
    deploy_gpu_count: str = "0",
    deploy_node_selector: dict = {},
    deploy_tolerations: list = [],
    serving_account: str = "yololine-serving",
    gpu_type: str = "nvidia.com/gpu",
    gpu_count: str = "1",
    node_selector: dict = {},
    tolerations: list = [],
    cpu: str = "4",
    memory: str = "16Gi",
) -> str:
    """Check all parameters together, the source, and the store, in seconds.

    Args:
        source_uri: Raw images and labels (s3://bucket/prefix, or a folder that the step can read).
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        model_name: Name of the model in the registry (1 to 63 lower-case letters, digits and dashes).
        data_image: Container image of the steps without torch (a name with a tag or a digest).
        train_image: Container image of the steps with torch (a name with a tag or a digest).
        predictor_image: Container image that serves (a name with a tag or a digest).
        report: Page with every check.
        source_format: Layout of the source (auto, yolo or voc).
        architecture: Detector architecture (a family and a size, for instance yolo11n).
        weights_uri: A .pt of ultralytics to start from (s3://... or a file; empty for random weights).
        weights_sha256: sha256 of that file, needed with it (64 hex digits, or empty).
        augmentation_policy: Augmentation of the train images (none, standard, or the URI of an Albumentations policy in YAML).
        augmentation_copies: Augmented copies per train image (0 to 20).
        max_dropped_fraction: Largest share of the source's images that may be dropped (fraction; 0 to 1).
        val_fraction: Share of images for validation (fraction; above 0 and below 1).
        test_fraction: Share of images for the test split (fraction; above 0 and below 1).
        seed: Seed of split, augmentation and training (0 to 2147483647).
        epochs: Passes over the train split (1 to 100000).
        image_size: Side of the square model input (pixels; 32 to 4096, a multiple of 32).
        batch_size: Images per batch, over all GPUs (images; 1 to 65536, a multiple of the GPUs).
        train_options: Further options of the trainer (names and values of ultralytics).
        train_retries: How often a failed trainer is started again (0 to 1000).
        train_retry_wait_seconds: Pause before each of these starts (seconds; 0 to 86400).
        min_map50: Least AP50 on the test split for promotion (fraction; 0 to 1).
        promotion_rules: Further least values by metric: ap50_95, or per_class.CLASS with .ap50, .ap50_95, .precision, .recall or .f1 (fraction; 0 to 1).
        deploy: Whether a promoted version goes live (true or false).
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
        deploy_gpu_count: Accelerators of a serving pod, as text (0 to 9999, 0 serves on the processor).
        deploy_node_selector: Node labels that the serving pods ask for (labels and their values).
        deploy_tolerations: Kubernetes tolerations of the serving pods (objects).
        serving_account: Kubernetes ServiceAccount of the serving pods, whose secret reads the store (a name).
        gpu_type: Kubernetes resource of the accelerator (for instance nvidia.com/gpu).
        gpu_count: Accelerators of the training step, as text (0 to 9999, 0 trains on the processor).
        node_selector: Node labels that the training step asks for (labels and their values).
        tolerations: Kubernetes tolerations of the training step (objects).
        cpu: CPU limit of the training step (cores; a Kubernetes quantity, 500m or more).
        memory: Memory limit of the training step (bytes; a Kubernetes quantity, 2Gi or more).

    Returns:
        sha256 of the augmentation policy: KFP's cache looks at names, and a file may change.

    Example:
        checked = preflight(
            source_uri=source_uri,
            store_uri=store_uri,
            model_name="castings",
            data_image=images.DATA,
            train_image=images.TRAIN,
            predictor_image=images.PREDICTOR,
        )
        always_run(on_cluster(checked, repeats=0))
    """
    from yololine import steps

    return steps.preflight(
        report.path,
        parameters={
            "source_uri": source_uri,
            "model_name": model_name,
            "source_format": source_format,
            "store_uri": store_uri,
            "architecture": architecture,
            "weights_uri": weights_uri,
            "weights_sha256": weights_sha256,
            "augmentation_policy": augmentation_policy,
            "augmentation_copies": augmentation_copies,
            "max_dropped_fraction": max_dropped_fraction,
            "val_fraction": val_fraction,
            "test_fraction": test_fraction,
            "seed": seed,
            "epochs": epochs,
            "image_size": image_size,
            "batch_size": batch_size,
            "train_options": train_options,
            "train_retries": train_retries,
            "train_retry_wait_seconds": train_retry_wait_seconds,
            "min_map50": min_map50,
            "promotion_rules": promotion_rules,
            "deploy": deploy,
            "deploy_service": deploy_service,
            "deploy_namespace": deploy_namespace,
            "deploy_strategy": deploy_strategy,
            "deploy_golden": deploy_golden,
            "deploy_requests_uri": deploy_requests_uri,
            "deploy_timeout_seconds": deploy_timeout_seconds,
            "deploy_replicas": deploy_replicas,
            "deploy_max_replicas": deploy_max_replicas,
            "deploy_cpu": deploy_cpu,
            "deploy_memory": deploy_memory,
            "deploy_gpu_count": deploy_gpu_count,
            "deploy_node_selector": deploy_node_selector,
            "deploy_tolerations": deploy_tolerations,
            "predictor_image": predictor_image,
            "serving_account": serving_account,
            "data_image": data_image,
            "train_image": train_image,
            "gpu_type": gpu_type,
            "gpu_count": gpu_count,
            "node_selector": node_selector,
            "tolerations": tolerations,
            "cpu": cpu,
            "memory": memory,
        },
    )
