"""Name the source as it is now."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def resolve_source(
    source_uri: str,
    store_uri: str,
    report: dsl.Output[dsl.HTML],
) -> str:
    """List the source and digest the listing; never cached, so that a change is always seen.

    Args:
        source_uri: Raw images and labels (s3://bucket/prefix, or a folder that the step can read).
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        report: Page with the listing's size and what changed since the last run.

    Returns:
        The listing's digest: everything behind this step takes it, and is cached while it stays.

    Example:
        source = resolve_source(source_uri=source_uri, store_uri=store_uri)
        always_run(on_cluster(source))
    """
    from yololine import steps

    return steps.resolve_source(source_uri, store_uri, report.path).digest
