"""The training line: from raw images to a registered, evaluated version."""

from functools import partial

from kfp import dsl

from components.augment_dataset import augment_dataset
from components.build_test_set import build_test_set
from components.clean_dataset import clean_dataset
from components.decide_promotion import decide_promotion
from components.deploy_model import deploy_model
from components.evaluate_detector import evaluate_detector
from components.export_detector import export_detector
from components.preflight import preflight
from components.prepare_weights import prepare_weights
from components.register_model import register_model
from components.report_run import report_run
from components.resolve_source import resolve_source
from components.split_dataset import split_dataset
from components.train_detector import train_detector
from yololine import images
from yololine.pod import STORE_CONFIG, STORE_SECRET, always_run, on_cluster, on_gpu


@dsl.pipeline(
    name="yololine-training",
    display_name="yololine training",
    description="Raw images and labels in, a registered and evaluated YOLO detector out; live, if "
    "asked for.",
)
def training(
    source_uri: str,
    model_name: str,
    source_format: str = "auto",
    store_uri: str = "s3://mlpipeline/yololine",
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
    predictor_image: str = images.PREDICTOR,
    serving_account: str = "yololine-serving",
    data_image: str = images.DATA,
    train_image: str = images.TRAIN,
    gpu_type: str = "nvidia.com/gpu",
    gpu_count: str = "1",
    node_selector: dict = {},
    tolerations: list = [],
    cpu: str = "4",
    memory: str = "16Gi",
    store_secret: str = STORE_SECRET,
    store_config: str = STORE_CONFIG,
) -> None:
    """Raw images and labels in, a registered and evaluated YOLO detector out.

    Args:
        source_uri: Raw images and labels, in YOLO (data.yaml, or images/ and labels/) or Pascal VOC layout (s3://bucket/prefix, or a folder that every step can read).
        model_name: Name of the model in the registry (1 to 63 lower-case letters, digits and dashes).
        source_format: Layout of the source (auto, yolo or voc).
        store_uri: Where datasets, checkpoints, versions and run journals are kept (s3://bucket/prefix, or a folder that every step can write).
        architecture: Detector architecture: yolov8, yolov9, yolov10, yolo11, yolo12 or yolo26 with its size (a family and a size, for instance yolo11n).
        weights_uri: A .pt of ultralytics to start from (s3://... or a file; empty for random weights).
        weights_sha256: sha256 of the file at weights_uri, needed with it (64 hex digits, or empty).
        augmentation_policy: Augmentation of the train images (none, standard, or the URI of an Albumentations policy in YAML).
        augmentation_copies: Augmented copies per train image (0 to 20).
        max_dropped_fraction: Largest share of the source's images that cleaning may drop before the run is refused (fraction; 0 to 1).
        val_fraction: Share of images for validation while training (fraction; above 0 and below 1).
        test_fraction: Share of images held out for the final score (fraction; above 0 and below 1).
        seed: Seed of split, augmentation and training (0 to 2147483647).
        epochs: Passes over the train split (1 to 100000).
        image_size: Side of the square model input (pixels; 32 to 4096, a multiple of 32).
        batch_size: Images per batch, over all GPUs (images; 1 to 65536, a multiple of the GPUs).
        train_options: Further options of the trainer, for instance {"optimizer": "AdamW", "lr0": 0.002} (names and values of ultralytics).
        train_retries: How often a failed trainer is started again from its newest checkpoint (0 to 1000).
        train_retry_wait_seconds: Pause before each of these starts (seconds; 0 to 86400).
        min_map50: Least AP50 on the test split for promotion (fraction; 0 to 1).
        promotion_rules: Further least values by metric, for instance {"ap50_95": 0.3, "per_class.scratch.recall": 0.8} (fraction; 0 to 1).
        deploy: Whether a promoted version goes live behind a KServe endpoint, is checked there, and is undone where it fails (true or false).
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
        predictor_image: Container image that serves (a name with a tag or a digest).
        serving_account: Kubernetes ServiceAccount of the serving pods, whose secret reads the store (a name).
        data_image: Container image of every other step (a name with a tag or a digest).
        train_image: Container image of the steps with torch: start weights, training, export; its tag names the YOLO release (a name with a tag or a digest).
        gpu_type: Kubernetes resource of the accelerator, in training and serving (for instance nvidia.com/gpu).
        gpu_count: Accelerators of the training step, as text (0 to 9999, 0 trains on the processor).
        node_selector: Node labels that the training step asks for, for instance {"gpu-type": "a100"} (labels and their values).
        tolerations: Kubernetes tolerations of the training step (objects).
        cpu: CPU limit of the training step (cores; a Kubernetes quantity, 500m or more).
        memory: Memory limit of the training step (bytes; a Kubernetes quantity, 2Gi or more).
        store_secret: Kubernetes secret with the store's credentials, keys accesskey and secretkey (a name).
        store_config: Optional Kubernetes ConfigMap with the store's place, keys AWS_ENDPOINT_URL_S3, AWS_REGION, AWS_CA_BUNDLE and AWS_S3_ADDRESSING_STYLE (a name).
    """
    on_data, on_train = (
        partial(on_cluster, image=image, store_secret=store_secret, store_config=store_config)
        for image in (data_image, train_image)
    )

    report = report_run(store_uri=store_uri, model_name=model_name)
    always_run(on_data(report))

    with dsl.ExitHandler(exit_task=report, name="line"):
        checked = preflight(
            source_uri=source_uri,
            model_name=model_name,
            source_format=source_format,
            store_uri=store_uri,
            architecture=architecture,
            weights_uri=weights_uri,
            weights_sha256=weights_sha256,
            augmentation_policy=augmentation_policy,
            augmentation_copies=augmentation_copies,
            max_dropped_fraction=max_dropped_fraction,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            seed=seed,
            epochs=epochs,
            image_size=image_size,
            batch_size=batch_size,
            train_options=train_options,
            train_retries=train_retries,
            train_retry_wait_seconds=train_retry_wait_seconds,
            min_map50=min_map50,
            promotion_rules=promotion_rules,
            deploy=deploy,
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
            deploy_gpu_count=deploy_gpu_count,
            deploy_node_selector=deploy_node_selector,
            deploy_tolerations=deploy_tolerations,
            predictor_image=predictor_image,
            serving_account=serving_account,
            data_image=data_image,
            train_image=train_image,
            gpu_type=gpu_type,
            gpu_count=gpu_count,
            node_selector=node_selector,
            tolerations=tolerations,
            cpu=cpu,
            memory=memory,
        )
        # Not repeated: what preflight refuses once, it refuses again.
        always_run(on_data(checked, repeats=0))

        source = resolve_source(source_uri=source_uri, store_uri=store_uri).after(checked)
        always_run(on_data(source))

        cleaned = clean_dataset(
            source_uri=source_uri,
            source_digest=source.outputs["Output"],
            store_uri=store_uri,
            source_format=source_format,
            max_dropped_fraction=max_dropped_fraction,
        )
        on_data(cleaned)

        split = split_dataset(
            dataset=cleaned.outputs["dataset"],
            store_uri=store_uri,
            val_fraction=val_fraction,
            test_fraction=test_fraction,
            seed=seed,
        )
        on_data(split)

        test_set = build_test_set(
            split=split.outputs["split"],
            store_uri=store_uri,
            promotion_rules=promotion_rules,
        )
        on_data(test_set)

        augmented = augment_dataset(
            split=split.outputs["split"],
            store_uri=store_uri,
            augmentation_policy=augmentation_policy,
            augmentation_copies=augmentation_copies,
            policy_sha256=checked.outputs["Output"],
            seed=seed,
        )
        on_data(augmented)

        weights = prepare_weights(
            store_uri=store_uri,
            architecture=architecture,
            weights_uri=weights_uri,
            weights_sha256=weights_sha256,
        ).after(checked)
        on_train(weights)

        trained = train_detector(
            split=split.outputs["split"],
            augmented=augmented.outputs["augmented"],
            weights=weights.outputs["weights"],
            store_uri=store_uri,
            epochs=epochs,
            image_size=image_size,
            batch_size=batch_size,
            seed=seed,
            train_options=train_options,
            train_retries=train_retries,
            train_retry_wait_seconds=train_retry_wait_seconds,
            resources=[gpu_type, gpu_count, cpu, memory],
        ).after(test_set)  # which refuses rules for a class that there is not
        on_train(trained)
        on_gpu(
            trained,
            gpu_type=gpu_type,
            gpu_count=gpu_count,
            cpu=cpu,
            memory=memory,
            node_selector=node_selector,
            tolerations=tolerations,
        )

        exported = export_detector(
            split=split.outputs["split"],
            trained=trained.outputs["trained"],
            store_uri=store_uri,
        )
        on_train(exported)

        evaluated = evaluate_detector(
            exported=exported.outputs["exported"],
            test_set=test_set.outputs["test_set"],
            store_uri=store_uri,
        )
        on_data(evaluated)

        decided = decide_promotion(
            evaluation=evaluated.outputs["evaluation"],
            store_uri=store_uri,
            min_map50=min_map50,
            promotion_rules=promotion_rules,
        )
        on_data(decided)

        registered = register_model(
            exported=exported.outputs["exported"],
            evaluation=evaluated.outputs["evaluation"],
            decision=decided.outputs["decision"],
            store_uri=store_uri,
            model_name=model_name,
        )
        # Never cached: its record leads the run's report back to every step that was.
        always_run(on_data(registered))

        # Two conditions, since KFP has no `and`; the first ends most runs with no pod more.
        with (
            dsl.If(deploy == True, name="to-deploy"),  # noqa: E712
            dsl.If(decided.outputs["Output"] == True, name="promoted"),  # noqa: E712
        ):
            live = deploy_model(
                model=registered.outputs["Output"],
                store_uri=store_uri,
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
            # Never cached: what answers in a cluster is not in its inputs.
            always_run(on_data(live))
