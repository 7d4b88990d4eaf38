"""Assign images to train, val and test."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def split_dataset(
    dataset: dsl.Input[dsl.Dataset],
    store_uri: str,
    split: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    val_fraction: float = 0.15,
    test_fraction: float = 0.15,
    seed: int = 0,
) -> str:
    """Assign every image to train, val or test: seeded, stratified by class, duplicates together.

    Args:
        dataset: Manifest of the cleaned dataset.
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        split: Manifest of the split.
        report: Page with images and objects per split and class.
        val_fraction: Share of images for validation; training needs one (fraction; 0 or more and below 1).
        test_fraction: Share of images for the test split; scoring needs one (fraction; 0 or more and below 1).
        seed: Another seed gives another split (any whole number).

    Returns:
        The split's digest.

    Example:
        split = split_dataset(dataset=cleaned.outputs["dataset"], store_uri=store_uri, seed=7)
        on_cluster(split)
    """
    from yololine import steps

    return steps.split_dataset(
        dataset.path,
        store_uri,
        split.path,
        report.path,
        val_fraction=val_fraction,
        test_fraction=test_fraction,
        seed=seed,
    ).digest
