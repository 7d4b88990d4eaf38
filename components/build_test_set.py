"""Lay out the held-out test set."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def build_test_set(
    split: dsl.Input[dsl.Dataset],
    store_uri: str,
    test_set: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
) -> str:
    """Put the test split's images into shards of their own, for scoring to read alone.

    Args:
        split: Manifest of the split.
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        test_set: Manifest of the test set.
        report: Page with images and objects per class.

    Returns:
        The test set's digest.

    Example:
        test_set = build_test_set(split=split.outputs["split"], store_uri=store_uri)
        on_cluster(test_set)
    """
    from yololine import steps

    return steps.build_test_set(split.path, store_uri, test_set.path, report.path).digest
