"""Write the run report, whatever happened."""

from kfp import dsl

from components import images


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
        store_uri: Root of the store.
        model_name: Name of the model in the registry.
        report: The run report.
    """
    from yololine import steps

    steps.report_run(report.path, store_uri=store_uri, model_name=model_name, state=status.state)
