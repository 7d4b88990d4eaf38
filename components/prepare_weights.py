"""Make start weights ready."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.TRAIN, install_kfp_package=False)
def prepare_weights(
    store_uri: str,
    weights: dsl.Output[dsl.Model],
    report: dsl.Output[dsl.HTML],
    architecture: str = "yolo11n",
    weights_uri: str = "",
    weights_sha256: str = "",
) -> str:
    """Check an architecture, or load a .pt safely against its sha256.

    Args:
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        weights: Manifest of the start weights.
        report: Page with architecture and origin.
        architecture: Detector architecture (a family and a size, for instance yolo11n).
        weights_uri: A .pt of ultralytics to start from (s3://... or a file; empty for random weights).
        weights_sha256: sha256 of that file, needed with it (64 hex digits, or empty).

    Returns:
        The start weights' key.

    Example:
        weights = prepare_weights(store_uri=store_uri, architecture="yolo11s")
        on_cluster(weights)
    """
    from yololine import steps

    return steps.prepare_weights(
        store_uri,
        weights.path,
        report.path,
        architecture=architecture,
        weights_uri=weights_uri,
        weights_sha256=weights_sha256,
    ).key
