from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

import pytest

from yololine.reporting.plots import Series, line_chart, precision_recall, training_charts


def chart(*series: Series, x: list[float] | None = None, **options: Any) -> Any:
    length = max(len(line.values) for line in series)
    return line_chart(
        "Loss",
        x or [float(n + 1) for n in range(length)],
        list(series),
        aid="lower is better",
        x_title="epoch",
        y_title="loss",
        **options,
    )


def points(path: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"[ML]([\d.]+) ([\d.]+)", path)]


def test_a_line_goes_from_edge_to_edge_and_down_where_the_loss_goes_down() -> None:
    made = chart(Series(name="train", values=[3.0, 2.0, 1.0]))
    (line,) = made.lines
    drawn = points(line.path)
    assert (drawn[0][0], drawn[-1][0]) == (made.left, made.right)
    assert drawn[0][1] < drawn[1][1] < drawn[2][1]
    assert made.summary == "Loss over epoch 1 to 3: train from 3 to 1"
    assert [tick.label for tick in made.x_ticks] == ["1", "2", "3"]


@pytest.mark.parametrize("values", [[], [None, None], [float("nan")]])
def test_nothing_to_draw_is_no_chart(values: list[float | None]) -> None:
    series = [Series(name="a", values=values)]
    assert line_chart("t", [1.0], series, aid="", x_title="", y_title="") is None


def test_a_gap_lifts_the_pen_and_a_lone_value_is_a_point() -> None:
    (line,) = chart(Series(name="val", values=[1.0, 2.0, None, 1.5, None, 1.0, 1.2])).lines
    assert line.path.count("M") == 3
    assert len(line.points) == 1


def test_one_epoch_is_a_point_with_its_number() -> None:
    made = chart(Series(name="train", values=[0.5]))
    assert len(made.lines[0].points) == 1
    assert [tick.label for tick in made.x_ticks] == ["1"]


def test_names_at_the_lines_ends_keep_apart() -> None:
    made = chart(*(Series(name=n, values=[2.0, 1.0]) for n in ("a", "b", "c")))
    places = sorted(line.label_y for line in made.lines)
    assert all(b - a >= 14.9 for a, b in pairwise(places))
    assert made.top <= places[0]
    assert places[-1] <= made.bottom


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 1.0, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (0.83, 2.1, ["0.5", "1", "1.5", "2", "2.5"]),
        (4e-05, 1.9e-04, ["0", "5e-05", "0.0001", "0.00015", "0.0002"]),
        (1.5, 6.2, ["1", "2", "3", "4", "5", "6", "7"]),
        (3.0, 3.0, ["2.4", "2.6", "2.8", "3", "3.2", "3.4", "3.6"]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(low: float, high: float, labels: list[str]) -> None:
    made = chart(Series(name="a", values=[low, high]))
    assert [tick.label for tick in made.y_ticks] == labels


def test_the_best_epoch_is_marked_on_every_line() -> None:
    rows = [{"epoch": n, "map50": n / 10, "map50_95": n / 20, "box_loss": 1 / n} for n in (1, 2, 3)]
    made = training_charts(rows, 2)
    assert [c.title for c in made] == ["Validation mAP", "Box loss"]
    assert [len(c.mark.dots) if c.mark else 0 for c in made] == [2, 1]
    assert made[0].mark is not None
    assert made[0].mark.label == "best: epoch 2"
    assert all(c.mark is None for c in training_charts(rows, None))
    assert all(c.mark is None for c in training_charts(rows, 9))


def test_precision_over_recall() -> None:
    plot = precision_recall(
        "dent",
        {"recall": [0.0, 0.5, 1.0], "precision": [1.0, 0.8, 0.0]},
        {"ap50": 0.7, "precision": 1.0, "recall": 0.0},
    )
    assert plot is not None
    assert points(plot.path)[0] == (plot.left, plot.top) == plot.dot
    assert points(plot.path)[-1] == (plot.right, plot.bottom)
    assert precision_recall("dent", {}, {}) is None
    # -1 is COCO's word for "no such object".
    assert precision_recall("dent", {"recall": [0.0], "precision": [-1.0]}, {}) is None
