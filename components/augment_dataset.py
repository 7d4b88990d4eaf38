"""Add augmented copies of train images."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def augment_dataset(
    split: dsl.Input[dsl.Dataset],
    store_uri: str,
    augmented: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    augmentation_policy: str = "standard",
    augmentation_copies: int = 1,
    policy_sha256: str = "",
    seed: int = 0,
) -> str:
    """Apply an Albumentations policy to train images only, boxes included.

    Args:
        split: Manifest of the split.
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        augmented: Manifest of the augmented images.
        report: Page with images before and after.
        augmentation_policy: Augmentation of the train images (none, standard, or the URI of an Albumentations policy in YAML).
        augmentation_copies: Augmented copies per train image (0 to 20).
        policy_sha256: sha256 of the policy, from preflight (64 hex digits; empty takes the policy as it is).
        seed: Another seed gives other copies (any whole number).

    Returns:
        The augmented images' digest.

    Example:
        augmented = augment_dataset(
            split=split.outputs["split"], store_uri=store_uri, augmentation_copies=2
        )
        on_cluster(augmented)
    """
    from yololine import steps

    return steps.augment_dataset(
        split.path,
        store_uri,
        augmented.path,
        report.path,
        augmentation_policy=augmentation_policy,
        augmentation_copies=augmentation_copies,
        policy_sha256=policy_sha256,
        seed=seed,
    ).digest
