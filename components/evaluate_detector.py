"""Score the exported model."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def evaluate_detector(
    exported: dsl.Input[dsl.Artifact],
    test_set: dsl.Input[dsl.Dataset],
    store_uri: str,
    evaluation: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    confusion: dsl.Output[dsl.ClassificationMetrics],
    report: dsl.Output[dsl.HTML],
) -> float:
    """Score the exported model on the held-out test set with COCO's metrics.

    Args:
        exported: Manifest of the exported model.
        test_set: Manifest of the test set.
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        evaluation: Metrics, JSON.
        metrics: AP50 and AP50-95, fractions of 1, over all classes and per class.
        confusion: Confusion matrix; rows are the truth.
        report: Page with metrics, curves and example detections.

    Returns:
        AP50 over all classes, 0 to 1.

    Example:
        evaluated = evaluate_detector(
            exported=exported.outputs["exported"],
            test_set=test_set.outputs["test_set"],
            store_uri=store_uri,
        )
        on_cluster(evaluated)
    """
    from yololine import steps

    return steps.evaluate_detector(
        exported.path,
        test_set.path,
        store_uri,
        evaluation.path,
        report.path,
        metrics=metrics,
        confusion_out=confusion,
    ).ap50
