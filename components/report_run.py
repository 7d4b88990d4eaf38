"""Write the run report, whatever happened."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def report_run(
    status: dsl.PipelineTaskFinalStatus,
    store_uri: str,
    model_name: str,
    report: dsl.Output[dsl.HTML],
) -> None:
    """Write one page on the whole run: what ran, what was dropped, how good, and why.

    Args:
        status: How the run ended.
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        model_name: Name of the model in the registry (1 to 63 lower-case letters, digits and dashes).
        report: The run report.

    Example:
        told = report_run(store_uri=store_uri, model_name="castings")
        always_run(on_cluster(told))
        with dsl.ExitHandler(exit_task=told):
            ...  # the other tasks
    """
    from yololine import steps

    steps.report_run(report.path, store_uri=store_uri, model_name=model_name, state=status.state)
