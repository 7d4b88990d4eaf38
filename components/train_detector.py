"""Train the detector."""

from kfp import dsl

from components import images


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
        store_uri: Root of the store.
        trained: Manifest of the training.
        model: The best epoch's weights, a .pt of ultralytics.
        metrics: Validation metrics of the best epoch.
        report: Page with the training curves.
        epochs: Passes over the train split.
        image_size: Side of the square model input in pixels, a multiple of 32.
        batch_size: Images per batch, over all GPUs.
        seed: Seed of start weights and image order.
        train_options: Further options of the trainer.
        train_retries: How often a failed trainer is started again.
        train_retry_wait_seconds: Pause before each of these starts.
        resources: Accelerator type and count, CPU and memory limit of this step, as text.

    Returns:
        The training's key.
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
