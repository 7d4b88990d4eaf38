"""Decide whether the model may go live."""

from kfp import dsl

from components import images


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
        store_uri: Root of the store.
        decision: The decision with its reasons, JSON.
        report: Page with each rule.
        min_map50: Least AP50 on the test split for promotion, 0 to 1.
        promotion_rules: Further least values by metric: ap50, ap50_95, or
            per_class.<class>.<ap50, ap50_95, precision, recall, f1>.

    Returns:
        Whether the model is promoted.
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
