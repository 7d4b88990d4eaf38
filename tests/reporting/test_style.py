"""Whether the colours can be read: WCAG 2.2 asks 4.5:1 of text, 3:1 of signs."""

from __future__ import annotations

import importlib.resources
import re

import pytest

from yololine.reporting.palette import CLASS_COLOURS, ink_on

STYLE = importlib.resources.files("yololine.reporting").joinpath("templates/style.css").read_text()
SCHEMES = ("light", "dark")
Colour = tuple[float, float, float]


def _variables(scheme: str) -> dict[str, str]:
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    found: dict[str, str] = {}
    for block in blocks[: 1 + SCHEMES.index(scheme)]:
        found |= dict(re.findall(r"--([a-z-]+): ([^;]+);", block))
    return found


def _colour(text: str) -> Colour:
    if text.startswith("#"):
        return tuple(int(text[at : at + 2], 16) for at in (1, 3, 5))  # type: ignore[return-value]
    return tuple(float(part) for part in text.split(","))  # type: ignore[return-value]


def _mixed(over: Colour, under: Colour, share: float) -> Colour:
    mixed = (share * a + (1 - share) * b for a, b in zip(over, under, strict=True))
    return tuple(mixed)  # type: ignore[return-value]


def _luminance(colour: Colour) -> float:
    linear = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4
        for c in (channel / 255 for channel in colour)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _contrast(one: Colour, other: Colour) -> float:
    dark, bright = sorted((_luminance(one), _luminance(other)))
    return (bright + 0.05) / (dark + 0.05)


TEXT = [
    *((ink, ground) for ink in ("text", "soft", "muted") for ground in ("bg", "raised", "sunken")),
    *((ink, "bg") for ink in ("accent", "second", "good", "bad", "warn", "reused")),
    *((ink, f"{ink}-soft") for ink in ("accent", "good", "bad", "warn")),
    ("text", "bad-soft"),
    ("soft", "bad-soft"),
    ("text", "warn-soft"),
    ("soft", "warn-soft"),
]


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("ink", "ground"), TEXT)
def test_text_is_read_on_its_ground(scheme: str, ink: str, ground: str) -> None:
    colours = _variables(scheme)
    assert _contrast(_colour(colours[ink]), _colour(colours[ground])) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("shade", ["heat", "miss"])
def test_a_count_is_read_on_the_deepest_shade(scheme: str, shade: str) -> None:
    colours = _variables(scheme)
    ground = _mixed(_colour(colours[shade]), _colour(colours["bg"]), float(colours["deepest"]))
    assert _contrast(_colour(colours["text"]), ground) >= 4.5


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("bar", ["bar", "good", "bad", "warn", "accent", "second"])
def test_a_bar_stands_out(scheme: str, bar: str) -> None:
    colours = _variables(scheme)
    # Beside each bar stands its number, so it need not reach what a lone sign must.
    assert _contrast(_colour(colours[bar]), _colour(colours["bg"])) >= 2.4


@pytest.mark.parametrize("colour", CLASS_COLOURS)
def test_a_name_is_read_on_the_colour_of_its_class(colour: str) -> None:
    assert _contrast(_colour(ink_on(colour)), _colour(colour)) >= 4.5
