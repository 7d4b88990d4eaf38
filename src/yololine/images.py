"""The only place that names container images: one for each slice of the environment."""

from __future__ import annotations

import re

from yololine import __version__
from yololine.errors import UsageError

IMAGES = ("data", "train", "platform", "predictor")
"""`data` holds sources, datasets, scoring, reports and deployment, and no torch; `train` adds
weights, training and export with torch and ultralytics; `platform` calls Kubernetes; `predictor`
serves a version, with neither torch nor ultralytics in it."""
REGISTRY = "yololine"

# https://github.com/distribution/reference: a host with its port, folders, a tag, a digest. A first
# part without dot and colon is a folder of the container runtime's own registry.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST = rf"(?:localhost|(?=[^/]*[.:]){_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])(?::[0-9]{{1,5}})?"
_FOLDER = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
_NAME = rf"(?:{_HOST}/)?{_FOLDER}(?:/{_FOLDER})*"
_TAG = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}"
_DIGEST = r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}"
_REGISTRY = re.compile(rf"{_HOST}|{_NAME}")
_REFERENCE = re.compile(rf"(?P<name>{_NAME})(?::(?P<tag>{_TAG}))?(?:@(?P<digest>{_DIGEST}))?")
_LONGEST_NAME = 255
_EXAMPLE = "registry.example.com:5000/vision"


def image(name: str, *, registry: str = REGISTRY, tag: str = __version__) -> str:
    """The reference of an image: `{registry}/{name}:{tag}`.

    Args:
        name: One of `IMAGES`.
        registry: Where it is pulled from, with its folders: `registry.example.com:5000/vision`.
        tag: Names the release.

    Raises:
        UsageError: There is no such image, registry or tag cannot be part of a name, or the tag
            is `latest`.
    """
    if name not in IMAGES:
        raise UsageError(
            f"image {name!r}",
            rule="is none of yololine's",
            remedy=f"use one of: {', '.join(IMAGES)}",
        )
    if not _REGISTRY.fullmatch(registry) or len(f"{registry}/{name}") > _LONGEST_NAME:
        meant = re.sub(r"^[a-z]+://", "", registry.strip().lower()).rstrip("/")
        near = meant if meant != registry and _REGISTRY.fullmatch(meant) else _EXAMPLE
        raise UsageError(
            f"registry {registry!r}",
            rule="is no place of images: a host, or folders, in lower-case letters, digits and "
            "'.', '_', '-', with neither https:// nor a tag, at most 255 characters",
            remedy=f"write for instance {near}",
        )
    if not re.fullmatch(_TAG, tag):
        raise UsageError(
            f"tag {tag!r}",
            rule="is no tag: a letter, a digit or '_', then these and '.', '-', at most 128",
            remedy=f"write for instance {__version__}",
        )
    return checked_image(f"{registry}/{name}:{tag}")


def checked_image(reference: str) -> str:
    """The reference of an image, if it names one content: by a tag that stays, or by a digest.

    Raises:
        UsageError: It is no reference, or names whatever is newest.
    """
    parts = _REFERENCE.fullmatch(reference)
    if not parts or len(parts["name"]) > _LONGEST_NAME:
        raise UsageError(
            f"image {reference!r}",
            rule="is no image's name",
            remedy=f"write {_EXAMPLE}/data:{__version__}, or @sha256: and 64 hex digits after it",
        )
    if not parts["digest"] and (parts["tag"] or "latest") == "latest":
        raise UsageError(
            f"image {reference!r}",
            rule="names whatever is newest, so no run would know what it ran, and Kubeflow's "
            "cache, which goes by the name, would answer with what an older image made",
            remedy=f"name a tag that stays, for instance {__version__}, or a digest",
        )
    return reference


DATA = image("data")
TRAIN = image("train")
PLATFORM = image("platform")
PREDICTOR = image("predictor")
