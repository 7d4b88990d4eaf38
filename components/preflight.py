"""Check everything that can be checked before any work is done."""

from kfp import dsl

from components import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def preflight(
    source_uri: str,
    model_name: str,
    source_format: str,
    store_uri: str,
    architecture: str,
    weights_uri: str,
    weights_sha256: str,
    augmentation_policy: str,
    augmentation_copies: int,
    max_dropped_fraction: float,
    val_fraction: float,
    test_fraction: float,
    seed: int,
    epochs: int,
    image_size: int,
    batch_size: int,
    train_options: dict,
    train_retries: int,
    train_retry_wait_seconds: int,
    min_map50: float,
    promotion_rules: dict,
    data_image: str,
    train_image: str,
    gpu_type: str,
    gpu_count: str,
    node_selector: dict,
    tolerations: list,
    cpu: str,
    memory: str,
    report: dsl.Output[dsl.HTML],
) -> str:
    """Check all parameters together, the source, and the store, in seconds.

    Args:
        source_uri: Raw images and labels, s3://bucket/prefix or a folder.
        model_name: Name of the model in the registry.
        source_format: auto, yolo or voc.
        store_uri: Root of the store, s3://bucket/prefix or a folder.
        architecture: Detector architecture, for instance yolo11n.
        weights_uri: A .pt to start from; empty for random weights.
        weights_sha256: sha256 of that file.
        augmentation_policy: none, standard, or the URI of an Albumentations policy (YAML).
        augmentation_copies: Augmented copies per train image, 0 to 20.
        max_dropped_fraction: Largest share of images that cleaning may drop, 0 to 1.
        val_fraction: Share of images for validation, above 0.
        test_fraction: Share of images for the test split, above 0.
        seed: Seed of split, augmentation and training.
        epochs: Passes over the train split.
        image_size: Side of the square model input in pixels, a multiple of 32.
        batch_size: Images per batch, over all GPUs.
        train_options: Further options of the trainer.
        train_retries: How often a failed trainer is started again.
        train_retry_wait_seconds: Pause before each of these starts.
        min_map50: Least AP50 on the test split for promotion, 0 to 1.
        promotion_rules: Further least values by metric.
        data_image: Container image of the steps without torch.
        train_image: Container image of the steps with torch.
        gpu_type: Kubernetes resource of the accelerator.
        gpu_count: Accelerators, as text.
        node_selector: Node labels that the training step asks for.
        tolerations: Kubernetes tolerations of the training step.
        cpu: CPU limit of the training step.
        memory: Memory limit of the training step.
        report: Page with every check.

    Returns:
        sha256 of the augmentation policy: KFP's cache looks at names, and a file may change.
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
