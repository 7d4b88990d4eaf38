"""Turn raw files into a dataset that can be trusted."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def clean_dataset(
    source_uri: str,
    source_digest: str,
    store_uri: str,
    dataset: dsl.Output[dsl.Dataset],
    report: dsl.Output[dsl.HTML],
    source_format: str = "auto",
    max_dropped_fraction: float = 0.25,
) -> str:
    """Decode every image, pair it with its label, apply the label rules, drop exact duplicates.

    Args:
        source_uri: Raw images and labels (s3://bucket/prefix, or a folder that the step can read).
        source_digest: Digest of the listing, from resolve_source (64 hex digits).
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        dataset: Manifest of the cleaned dataset.
        report: Page with every dropped file and box, with pictures.
        source_format: Layout of the source (auto, yolo or voc).
        max_dropped_fraction: Largest share of the source's images that may be dropped (fraction; 0 to 1).

    Returns:
        The dataset's digest.

    Example:
        cleaned = clean_dataset(
            source_uri=source_uri,
            source_digest=source.outputs["Output"],
            store_uri=store_uri,
            max_dropped_fraction=0.1,
        )
        on_cluster(cleaned)
    """
    from yololine import steps

    return steps.clean_dataset(
        source_uri,
        source_digest,
        store_uri,
        dataset.path,
        report.path,
        source_format=source_format,
        max_dropped_fraction=max_dropped_fraction,
    ).digest
