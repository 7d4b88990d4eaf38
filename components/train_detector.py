"""Train the detector."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def train_detector(
    split: dsl.Input[dsl.Dataset],
    augmented: dsl.Input[dsl.Dataset],
    weights: dsl.Input[dsl.Model],
    store_uri: str,
    trained: dsl.Output[dsl.Artifact],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    report: dsl.Output[dsl.HTML],
    epochs: int = 100,
    image_size: int = 640,
    batch_size: int = 16,
    seed: int = 0,
    train_options: dict = {},
    train_retries: int = 2,
    train_retry_wait_seconds: int = 300,
    resources: list = ["nvidia.com/gpu", "1", "4", "16Gi"],
) -> str:
    """Train with a checkpoint in the store after each epoch; go on from the newest one.

    Args:
        split: Manifest of the split.
        augmented: Manifest of the augmented train images.
        weights: Manifest of the start weights.
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        trained: Manifest of the training.
        model: The best epoch's weights, a .pt of ultralytics.
        metrics: Validation metrics of the best epoch.
        report: Page with the training curves.
        epochs: Passes over the train split (1 to 100000).
        image_size: Side of the square model input (pixels; 32 to 4096, a multiple of 32).
        batch_size: Images per batch, over all GPUs (images; 1 to 65536, a multiple of the GPUs).
        seed: Seed of start weights and image order (0 to 2147483647).
        train_options: Further options of the trainer (names and values of ultralytics).
        train_retries: How often a failed trainer is started again (0 to 1000).
        train_retry_wait_seconds: Pause before each of these starts (seconds; 0 to 86400).
        resources: The pod's accelerator, how many it trains on, CPU and memory limit, as on_gpu sets them (four texts).

    Returns:
        The training's key.

    Example:
        trained = train_detector(
            split=split.outputs["split"],
            augmented=augmented.outputs["augmented"],
            weights=weights.outputs["weights"],
            store_uri=store_uri,
            epochs=50,
            resources=["nvidia.com/gpu", "2", "8", "32Gi"],
        )
        on_gpu(on_cluster(trained), gpu_count="2", cpu="8", memory="32Gi")
    """
    from yololine import steps

    return steps.train_detector(
        split.path,
        augmented.path,
        weights.path,
        store_uri,
        trained.path,
        model.path,
        report.path,
        metrics=metrics,
        epochs=epochs,
        image_size=image_size,
        batch_size=batch_size,
        seed=seed,
        train_options=train_options,
        train_retries=train_retries,
        train_retry_wait_seconds=train_retry_wait_seconds,
        resources=resources,
    ).key
