"""Register the version."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def register_model(
    exported: dsl.Input[dsl.Artifact],
    evaluation: dsl.Input[dsl.Artifact],
    decision: dsl.Input[dsl.Artifact],
    store_uri: str,
    model_name: str,
    version: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
) -> str:
    """Register model, metrics, report and lineage as a version; crown it where it is promoted.

    Args:
        exported: Manifest of the exported model.
        evaluation: Metrics, JSON.
        decision: The decision with its reasons, JSON.
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        model_name: Name of the model in the registry (1 to 63 lower-case letters, digits and dashes).
        version: Manifest of the version.
        report: Page with files and lineage.

    Returns:
        The version, as NAME@VERSION.

    Example:
        registered = register_model(
            exported=exported.outputs["exported"],
            evaluation=evaluated.outputs["evaluation"],
            decision=decided.outputs["decision"],
            store_uri=store_uri,
            model_name="castings",
        )
        always_run(on_cluster(registered))
    """
    from yololine import steps

    return steps.register_model(
        exported.path,
        evaluation.path,
        decision.path,
        store_uri,
        version.path,
        report.path,
        model_name=model_name,
    ).reference
