"""The geometry of line charts; `templates/plots.html` draws it as inline SVG.

Colours, line widths and fonts are the page's own CSS, so that a chart follows the reader's light or
dark theme. All lengths are units of the SVG's viewBox.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from yololine.reporting.words import significant


@dataclass(frozen=True, kw_only=True)
class Series:
    """One line: a value for each x, None where there is none."""

    name: str
    values: Sequence[float | None]
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Tick:
    """A grid line, and what is written at its end."""

    at: float
    label: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A drawn series: an SVG path, points that have no neighbour, and where its name stands."""

    name: str
    path: str
    points: tuple[tuple[float, float], ...]
    label_y: float
    dashed: bool
    colour: int
    """0-based number of the chart's line colour."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A vertical line at one x, and the dots where it crosses the lines."""

    x: float
    label: str
    anchor: str
    dots: tuple[tuple[float, float, int], ...]


@dataclass(frozen=True, kw_only=True)
class Chart:
    """Everything the template needs; `summary` says in words what the picture shows."""

    title: str
    aid: str
    summary: str
    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    x_title: str
    y_title: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...]
    mark: Mark | None


def line_chart(
    title: str,
    x: Sequence[float],
    series: Sequence[Series],
    *,
    aid: str,
    x_title: str,
    y_title: str,
    y_range: tuple[float, float] | None = None,
    mark: tuple[float, str] | None = None,
) -> Chart | None:
    """A chart of several lines over one x, or None where there is no value to draw.

    Args:
        title: What the chart is of.
        x: Ascending, one for each value of a series.
        series: The lines; one that has no values is left out.
        aid: What to look for, in a few words.
        x_title: Name and unit of the x axis.
        y_title: Name and unit of the y axis.
        y_range: Lowest and highest y; taken from the values where not given.
        mark: An x to mark, and its label.
    """
    kept = [line for line in series if any(_ok(value) for value in line.values)]
    if not kept or not x:
        return None
    width, height = 420, 240
    left, right, top, bottom = 46.0, width - 82.0, 36.0, height - 44.0
    x_low, x_high = float(x[0]), float(x[-1])
    if x_low == x_high:
        x_low, x_high = x_low - 1, x_high + 1
    values = [value for line in kept for value in line.values if value is not None and _ok(value)]
    y_low, y_high = y_range or (min(values), max(values))
    if y_low == y_high:
        y_low, y_high = y_low - 0.5, y_high + 0.5
    y_step = _step(y_high - y_low, most=5)
    y_low, y_high = _rounded_out(y_low, y_high, y_step)
    x_step = max(_step(x_high - x_low, most=6), 1.0)

    def place(at: float, value: float) -> tuple[float, float]:
        across = left + (at - x_low) / (x_high - x_low) * (right - left)
        up = bottom - (min(max(value, y_low), y_high) - y_low) / (y_high - y_low) * (bottom - top)
        return round(across, 1), round(up, 1)

    placed = [
        [
            place(at, value) if value is not None and _ok(value) else None
            for at, value in zip(x, line.values, strict=False)
        ]
        for line in kept
    ]
    ends = [next(point for point in reversed(points) if point)[1] for points in placed]
    labels = _apart(ends, gap=15.0, low=top, high=bottom)
    lines = tuple(
        Line(
            name=line.name,
            path=_path(points),
            points=tuple(_lonely(points)),
            label_y=round(label_y, 1),
            dashed=line.dashed,
            colour=number,
        )
        for number, (line, points, label_y) in enumerate(zip(kept, placed, labels, strict=True))
    )
    return Chart(
        title=title,
        aid=aid,
        summary=_summary(title, x, kept, x_title),
        width=width,
        height=height,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        x_title=x_title,
        y_title=y_title,
        x_ticks=tuple(
            Tick(at=place(value, y_low)[0], label=_label(value))
            for value in _multiples(x_low, x_high, x_step)
            if x[0] <= value <= x[-1]
        ),
        y_ticks=tuple(
            Tick(at=place(x_low, value)[1], label=_label(value))
            for value in _multiples(y_low, y_high, y_step)
        ),
        lines=lines,
        mark=_mark(mark, x, placed, place(mark[0], y_low)[0]) if mark and mark[0] in x else None,
    )


def training_charts(curves: Sequence[dict[str, Any]], best_epoch: int | None) -> list[Chart]:
    """The charts of a training: mAP first, then each loss, train beside val.

    Args:
        curves: `EpochProgress` of each epoch, dumped.
        best_epoch: 1-based, marked where it is known.
    """
    epochs = [float(row.get("epoch") or index + 1) for index, row in enumerate(curves)]
    mark = (float(best_epoch), f"best: epoch {best_epoch}") if best_epoch else None

    def column(name: str) -> list[float | None]:
        return [row.get(name) for row in curves]

    charts = [
        line_chart(
            "Validation mAP",
            epochs,
            [
                Series(name="mAP50", values=column("map50")),
                Series(name="mAP50-95", values=column("map50_95"), dashed=True),
            ],
            aid="higher is better",
            x_title="epoch",
            y_title="mean of the classes' AP on val, 0 to 1",
            y_range=(0.0, 1.0),
            mark=mark,
        )
    ]
    for key, title, told in (
        ("box_loss", "Box loss", "how far boxes are off"),
        ("cls_loss", "Class loss", "how often classes are mixed up"),
        ("dfl_loss", "DFL loss", "how unsure a box's edges are"),
    ):
        charts.append(
            line_chart(
                title,
                epochs,
                [
                    Series(name="train", values=column(key)),
                    Series(name="val", values=column(f"val_{key}"), dashed=True),
                ],
                aid=f"{told}; lower is better",
                x_title="epoch",
                y_title="mean over batches, no unit",
                mark=mark,
            )
        )
    return [chart for chart in charts if chart is not None]


@dataclass(frozen=True, kw_only=True)
class PrecisionRecall:
    """One class's small precision-recall plot."""

    name: str
    ap50: float | None
    width: int
    height: int
    left: float
    right: float
    top: float
    bottom: float
    path: str
    area: str
    dot: tuple[float, float] | None
    """Where the class's F1 is best."""


def precision_recall(
    name: str, curve: dict[str, Any], scores: dict[str, Any]
) -> PrecisionRecall | None:
    """The plot of one class, or None where its curve has no points.

    Args:
        name: The class.
        curve: `recall` and `precision`, ascending recall, fractions of 1.
        scores: The class's metrics; `precision` and `recall` place the dot.
    """
    left, right, top, bottom = 26.0, 166.0, 20.0, 132.0

    def place(recall: float, precision: float) -> tuple[float, float]:
        return (
            round(left + min(max(recall, 0.0), 1.0) * (right - left), 1),
            round(bottom - min(max(precision, 0.0), 1.0) * (bottom - top), 1),
        )

    pairs = zip(curve.get("recall") or (), curve.get("precision") or (), strict=False)
    points = [place(r, p) for r, p in pairs if _ok(r) and _ok(p) and p >= 0]
    if not points:
        return None
    recall, precision = scores.get("recall"), scores.get("precision")
    path = _path(points)
    return PrecisionRecall(
        name=name,
        ap50=scores.get("ap50"),
        width=172,
        height=162,
        left=left,
        right=right,
        top=top,
        bottom=bottom,
        path=path,
        area=f"{path}L{points[-1][0]} {bottom}L{points[0][0]} {bottom}Z",
        dot=place(recall, precision)
        if recall is not None and precision is not None and _ok(recall) and _ok(precision)
        else None,
    )


def _ok(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _step(span: float, *, most: int) -> float:
    """1, 2 or 5 times a power of ten, so that `most` of them cover the span."""
    rough = span / most
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)


def _multiples(low: float, high: float, step: float) -> Iterator[float]:
    first = math.ceil(low / step - 1e-9)
    for number in range(first, math.floor(high / step + 1e-9) + 1):
        yield number * step


def _rounded_out(low: float, high: float, step: float) -> tuple[float, float]:
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def _label(value: float) -> str:
    return f"{value:.6g}" if abs(value) > 1e-9 else "0"


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Lines through the points; None lifts the pen."""
    parts = []
    pen_down = False
    for point in points:
        if point is None:
            pen_down = False
            continue
        parts.append(f"{'L' if pen_down else 'M'}{point[0]} {point[1]}")
        pen_down = True
    return "".join(parts)


def _lonely(points: Sequence[tuple[float, float] | None]) -> Iterator[tuple[float, float]]:
    """Points a path cannot show, for want of a neighbour."""
    for index, point in enumerate(points):
        before = points[index - 1] if index else None
        after = points[index + 1] if index + 1 < len(points) else None
        if point is not None and before is None and after is None:
            yield point


def _apart(wanted: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Places near the wanted ones, at least `gap` from each other, between low and high."""
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    placed = [0.0] * len(wanted)
    for rank, index in enumerate(order):
        floor = placed[order[rank - 1]] + gap if rank else low
        placed[index] = max(wanted[index], floor)
    overshoot = max(placed[order[-1]] - high, 0.0) if order else 0.0
    for rank in range(len(order) - 1, -1, -1):
        index = order[rank]
        ceiling = placed[order[rank + 1]] - gap if rank + 1 < len(order) else high
        if overshoot:
            placed[index] = min(placed[index], ceiling)
    return placed


def _mark(
    mark: tuple[float, str],
    x: Sequence[float],
    placed: Sequence[Sequence[tuple[float, float] | None]],
    at: float,
) -> Mark:
    index = list(x).index(mark[0])
    dots = tuple(
        (*point, number)
        for number, points in enumerate(placed)
        if (point := points[index]) is not None
    )
    middle = (x[0] + x[-1]) / 2
    return Mark(x=at, label=mark[1], anchor="end" if mark[0] > middle else "start", dots=dots)


def _summary(title: str, x: Sequence[float], series: Sequence[Series], x_title: str) -> str:
    parts = []
    for line in series:
        values = [value for value in line.values if value is not None and _ok(value)]
        parts.append(f"{line.name} from {significant(values[0])} to {significant(values[-1])}")
    return f"{title} over {x_title} {_label(x[0])} to {_label(x[-1])}: {', '.join(parts)}"
