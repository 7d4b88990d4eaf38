"""KFP's metric artifacts, as far as steps use them: steps know nothing of KFP."""

from __future__ import annotations

from typing import Protocol


class MetricSink(Protocol):
    """KFP's Metrics."""

    def log_metric(self, metric: str, value: float) -> None:
        """Keep one finite number."""


class ConfusionSink(Protocol):
    """KFP's ClassificationMetrics."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Keep a square matrix, rows the truth."""
