from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from yololine.reporting.palette import CLASS_COLOURS

SIGHT = {
    "all colours": np.eye(3),
    "no red": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "no green": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "no blue": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""Linear RGB as people see it whose eyes lack one kind of cone: Machado, Oliveira and Fernandes
(2009), A Physiologically-based Model for Simulation of Color Vision Deficiency, severity 1."""
RGB_TO_XYZ = np.array(
    [
        [0.4124564, 0.3575761, 0.1804375],
        [0.2126729, 0.7151522, 0.0721750],
        [0.0193339, 0.1191920, 0.9503041],
    ]
) / np.array([[0.95047], [1.0], [1.08883]])  # of the white D65
JUST_SEEN = 2.3
"""The least difference in CIELAB that people notice."""


def _lab(colour: str, sight: np.ndarray) -> np.ndarray:
    channels = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    xyz = RGB_TO_XYZ @ (sight @ linear).clip(0, 1)
    x, y, z = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("sight", SIGHT)
def test_classes_are_told_apart_by_colour_blind_people_too(sight: str) -> None:
    seen = {colour: _lab(colour, np.array(SIGHT[sight])) for colour in CLASS_COLOURS}
    for one, other in combinations(CLASS_COLOURS, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 5 * JUST_SEEN, (one, other)
