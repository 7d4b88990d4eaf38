"""Decide whether the model may go live."""

from kfp import dsl

from yololine import images


@dsl.component(base_image=images.DATA, install_kfp_package=False)
def decide_promotion(
    evaluation: dsl.Input[dsl.Artifact],
    store_uri: str,
    decision: dsl.Output[dsl.Artifact],
    report: dsl.Output[dsl.HTML],
    min_map50: float = 0.5,
    promotion_rules: dict = {},
) -> bool:
    """Hold the test metrics against the promotion rules.

    Args:
        evaluation: Metrics, JSON.
        store_uri: Root of the store (s3://bucket/prefix, or a folder that the step can write).
        decision: The decision with its reasons, JSON.
        report: Page with each rule.
        min_map50: Least AP50 on the test split for promotion (fraction; 0 to 1).
        promotion_rules: Further least values by metric: ap50_95, or per_class.CLASS with .ap50, .ap50_95, .precision, .recall or .f1 (fraction; 0 to 1).

    Returns:
        Whether the model is promoted.

    Example:
        decided = decide_promotion(
            evaluation=evaluated.outputs["evaluation"],
            store_uri=store_uri,
            min_map50=0.6,
            promotion_rules={"per_class.scratch.recall": 0.8},
        )
        on_cluster(decided)
    """
    from yololine import steps

    return steps.decide_promotion(
        evaluation.path,
        store_uri,
        decision.path,
        report.path,
        min_map50=min_map50,
        promotion_rules=promotion_rules,
    ).promoted
