"""Export the trained detector to ONNX."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def export_detector(
    split: dsl.Input[dsl.Dataset],
    trained: dsl.Input[dsl.Artifact],
    store_uri: str,
    exported: dsl.Output[dsl.Artifact],
    model: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
) -> str:
    """Export to ONNX and compare with PyTorch on validation images.

    Args:
        split: Manifest of the split.
        trained: Manifest of the training.
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        exported: Manifest of the exported model.
        model: The exported model, ONNX.
        report: Page with the comparison.

    Returns:
        The exported model's key.

    Example:
        exported = export_detector(
            split=split.outputs["split"], trained=trained.outputs["trained"], store_uri=store_uri
        )
        on_cluster(exported)
    """
    from yololine import steps

    return steps.export_detector(
        split.path, trained.path, store_uri, exported.path, model.path, report.path
    ).key
