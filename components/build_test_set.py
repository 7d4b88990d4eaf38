"""Lay out the held-out test set."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def build_test_set(
    split: dsl.Input[dsl.Dataset],
    store_uri: str,
    test_set: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    promotion_rules: dict = {},
) -> str:
    """Put the test split's images into shards of their own, for scoring to read alone.

    Args:
        split: Manifest of the split.
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        test_set: Manifest of the test set.
        report: Page with images and objects per class.
        promotion_rules: The rules of decide_promotion; one for a class that there is not is refused here, before anything is trained (fraction; 0 to 1).

    Returns:
        The test set's digest.

    Example:
        test_set = build_test_set(
            split=split.outputs["split"],
            store_uri=store_uri,
            promotion_rules={"per_class.scratch.recall": 0.8},
        )
        on_cluster(test_set)
    """
    from yololine import steps

    return steps.build_test_set(
        split.path,
        store_uri,
        test_set.path,
        report.path,
        promotion_rules=promotion_rules,
    ).digest
