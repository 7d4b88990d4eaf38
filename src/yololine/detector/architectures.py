"""The named architectures that can be trained from scratch, by family."""

from __future__ import annotations

import difflib

from yololine.errors import WeightsError

FAMILIES: dict[str, str] = {
    "yolov8": "nsmlx",
    "yolov9": "tsmce",
    "yolov10": "nsmblx",
    "yolo11": "nsmlx",
    "yolo12": "nsmlx",
    "yolo26": "nsmlx",
}
"""Family -> the letters of its sizes, small to large.

Listed here, and not asked of ultralytics, because preflight runs in an image without it.
"""

ARCHITECTURES = tuple(family + size for family, sizes in FAMILIES.items() for size in sizes)


def check_architecture(name: str) -> str:
    """The name, if it is a known architecture.

    Raises:
        WeightsError: It is not; the message lists what there is.
    """
    if name in ARCHITECTURES:
        return name
    near = difflib.get_close_matches(name.lower(), ARCHITECTURES, n=1, cutoff=0.5)
    families = ", ".join(f"{family}{{{','.join(sizes)}}}" for family, sizes in FAMILIES.items())
    raise WeightsError(
        f"architecture {name!r}",
        rule="is not a known architecture",
        remedy=(f"did you mean {near[0]!r}? " if near else "") + f"Known: {families}",
    )
