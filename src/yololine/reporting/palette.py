"""Colours that mean the same thing in every picture, table and plot of a report."""

from __future__ import annotations

CLASS_COLOURS = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#d55e00",
    "#a04040",
    "#8080e0",
)
"""By class index, again from the start after the last: legible on photographs, on white and on
near-black.

The first six are Okabe and Ito's (https://jfly.uni-koeln.de/color/), without black and yellow, each
of which is lost on one of the grounds. A test tells any two apart as colour-blind people see them.
"""


INK, PAPER = "#101318", "#ffffff"


def ink_on(colour: str) -> str:
    """Black or white, whichever reads better on the `#rrggbb` (relative luminance, WCAG 2.2)."""
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return INK if luminance > 0.179 else PAPER


def class_colour(index: int) -> str:
    """Colour of the class with this index, as `#rrggbb`."""
    return CLASS_COLOURS[index % len(CLASS_COLOURS)]
