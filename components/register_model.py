"""Register the version."""

from kfp import dsl

from components import images


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
        store_uri: Root of the store.
        model_name: Name of the model in the registry.
        version: Manifest of the version.
        report: Page with files and lineage.

    Returns:
        The version's name.
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
    ).version
