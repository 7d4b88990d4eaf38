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


def class_colour(index: int) -> str:
    """Colour of the class with this index, as `#rrggbb`."""
    return CLASS_COLOURS[index % len(CLASS_COLOURS)]
