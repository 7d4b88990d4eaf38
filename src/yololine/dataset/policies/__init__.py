"""Augmentation policies as files, read without Albumentations (which takes seconds to import)."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from yololine.documents import MAX_BYTES
from yololine.errors import DatasetError, StoreError
from yololine.storage import open_object

NO_POLICY = "none"


def builtin_policies() -> tuple[str, ...]:
    """Names that `load_policy` knows without a file."""
    folder = files("yololine.dataset") / "policies"
    found = (Path(item.name) for item in folder.iterdir())
    return (NO_POLICY, *sorted(path.stem for path in found if path.suffix == ".yaml"))


def read_policy(name: str) -> bytes:
    """A policy's YAML: of a built-in one by its name, else of the path or URI; empty for none.

    Raises:
        DatasetError: The name is not known, or the file cannot be read.
    """
    if name == NO_POLICY:
        return b""
    if "/" not in name and not name.endswith((".yaml", ".yml")):
        if name not in builtin_policies():
            raise DatasetError(
                f"augmentation policy {name!r}",
                rule="is not known",
                remedy=f"use {', '.join(builtin_policies())}, or the path of a YAML file",
            )
        return (files("yololine.dataset") / "policies" / f"{name}.yaml").read_bytes()
    try:
        store, file = open_object(name)
        size_bytes = store.size_bytes(file) if file else None
        if size_bytes is not None and size_bytes <= MAX_BYTES:
            return store.read_bytes(file)
    except StoreError as error:
        raise DatasetError(
            f"augmentation policy {name}",
            rule=f"cannot be read: {error.rule}",
            remedy=error.remedy,
        ) from error
    raise DatasetError(
        f"augmentation policy {name}",
        rule="is not there, or is no file"
        if size_bytes is None
        else f"has {size_bytes} bytes, and a policy at most {MAX_BYTES}",
        remedy=f"use {', '.join(builtin_policies())}, or the path or URI of a YAML file",
    )
