"""A compiled package once more, with other container images in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import yaml

from yololine import _package
from yololine.errors import UsageError
from yololine.images import IMAGES, checked_image, image
from yololine.runs.package import LOADER
from yololine.storage.disk import replacing

SUFFIXES = (".yaml", ".yml")
"""What `kfp.Client` takes for a pipeline's file."""


@dataclass(frozen=True, kw_only=True)
class Reissued:
    """The package's text, and the images that it names: `data`, `train` -> reference."""

    text: str
    images: dict[str, str]

    def write(self, file: Path) -> None:
        """Put the text into a file, whole or not at all.

        Raises:
            UsageError: The file cannot be written, or kfp would not take it.
        """
        if file.suffix not in SUFFIXES:
            raise UsageError(
                file,
                rule="does not end in .yaml, and Kubeflow takes no pipeline from it",
                remedy=f"write {file.with_suffix('.yaml')}",
            )
        try:
            with replacing(file) as whole:
                whole.write(self.text.encode())
        except OSError as error:
            raise UsageError(
                file,
                rule=f"cannot be written ({error.strerror})",
                remedy="choose another file, or - for standard output",
            ) from error


def reissue(name: str, *, registry: str, tag: str, pins: Iterable[str] = ()) -> Reissued:
    """The package that yololine ships, the same to the letter but for its images.

    Args:
        name: A pipeline or a component.
        registry: Where the images are pulled from.
        tag: Their release.
        pins: `image=reference`: images that have another name, or are held by their digest.

    Raises:
        UsageError: There is no such package, or no such image in it, or a name of an image is none.
    """
    text = Path(_package(name, "pipeline", "component")).read_text(encoding="utf-8")
    pinned = _pinned(pins)
    images = {known: image(known, registry=registry, tag=tag) for known in IMAGES} | pinned
    shipped = {image(known): known for known in IMAGES}
    found: set[str] = set()

    def renamed(node: Any) -> Any:
        """The node, with each text that is an image's name as a whole exchanged."""
        if isinstance(node, dict):
            return {key: renamed(value) for key, value in node.items()}
        if isinstance(node, list):
            return [renamed(item) for item in node]
        if isinstance(node, str) and node in shipped:
            found.add(shipped[node])
            return images[shipped[node]]
        return node

    documents = [renamed(document) for document in yaml.load_all(text, Loader=LOADER)]
    for other in pinned.keys() - found:
        raise UsageError(
            f"--image {other}={pinned[other]}",
            rule=f"is no image of {name}",
            remedy=f"it has: {', '.join(sorted(found))}",
        )
    # kfp tells of the parameters in comments above the first document.
    head = "".join(takewhile(lambda line: line.startswith("#"), text.splitlines(keepends=True)))
    for old, known in shipped.items():
        head = head.replace(f"'{old}'", f"'{images[known]}'")
    return Reissued(
        # As kfp's compiler dumps it; libyaml would fold the lines elsewhere.
        text=head + yaml.safe_dump_all(documents, sort_keys=True),
        images={known: images[known] for known in IMAGES if known in found},
    )


def _pinned(pins: Iterable[str]) -> dict[str, str]:
    pinned: dict[str, str] = {}
    for pin in pins:
        known, _, reference = pin.partition("=")
        if known not in IMAGES:
            raise UsageError(
                f"--image {pin}",
                rule=f"does not begin with one of {', '.join(f'{name}=' for name in IMAGES)}",
                remedy="write for instance data=registry.example.com/vision/data@sha256:...",
            )
        if known in pinned:
            raise UsageError(
                f"--image {pin}", rule=f"names {known} once more", remedy="name each image once"
            )
        pinned[known] = checked_image(reference)
    return pinned
