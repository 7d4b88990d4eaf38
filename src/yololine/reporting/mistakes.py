"""The confusions that matter, where a matrix of all classes cannot be read at a glance."""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_SHOWN = 12


@dataclass(frozen=True, kw_only=True)
class Mistake:
    """Objects of one class taken for another; an empty name stands for the background."""

    truth: str
    predicted: str
    count: int


def frequent_mistakes(confusion: Mapping[str, Any]) -> list[Mistake]:
    """The most frequent confusions, missed and made-up objects among them.

    Args:
        confusion: `labels`, the background last, and `matrix`, rows the truth.
    """
    labels = [str(label) for label in confusion.get("labels") or ()]
    names = [*labels[:-1], ""]
    mistakes = (
        (count, row, column)
        for row, counts in enumerate(confusion.get("matrix") or ())
        for column, count in enumerate(counts)
        if count and row != column
    )
    return [
        Mistake(truth=names[row], predicted=names[column], count=count)
        for count, row, column in heapq.nlargest(_SHOWN, mistakes, key=lambda found: found[0])
    ]
