"""Colours that mean the same thing in every picture, table and plot of a report."""

from __future__ import annotations

CLASS_COLOURS = (
    "#4c8dff",
    "#f2902f",
    "#22b07d",
    "#b06cf0",
    "#f0567b",
    "#17b1c4",
    "#c9a50c",
    "#8a94a6",
    "#e667c5",
    "#7fae2e",
)
"""By class index, again from the start after the last: legible on photographs, on white and on
near-black, and told apart by the common kinds of colour blindness with the class's name beside."""


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
