"""Registered versions of a model, and which of them is the champion.

models/<name>/<version>/model.onnx weights.pt metrics.json lineage.json report.html
models/<name>/<version>/manifest.json   sha256 and size of each, written last
models/<name>/champion.json             the promoted version
"""

from __future__ import annotations

import random
import re
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from yololine.errors import NotFound, RegistryError, UsageError
from yololine.frozen import Frozen
from yololine.storage import FileRef, Store, publish_files
from yololine.telemetry.records import now

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A Kubernetes label's value in lower case: the name becomes an InferenceService's later."""
VERSION_DIGITS = 12
ATTEMPTS = 5
"""How often a version is written while other writers of it come in between."""


class Version(Frozen):
    """A registered version; its name comes from what it was made of, not from a counter."""

    name: str
    version: str
    key: str
    promoted: bool
    files: dict[str, FileRef]
    class_names: tuple[str, ...]
    image_size: int
    metrics: dict[str, Any]
    registered_at: datetime

    @property
    def folder(self) -> str:
        """Path below the store's root."""
        return f"models/{self.name}/{self.version}"


class Champion(Frozen):
    """The version that may go live."""

    name: str
    version: str
    key: str
    registered_at: datetime


def check_model_name(name: str) -> str:
    """The name, if it may name a model.

    Raises:
        UsageError: It may not.
    """
    if NAME_PATTERN.fullmatch(name):
        return name
    fit = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:63].strip("-")
    raise UsageError(
        f"model_name={name!r}",
        rule="must be 1 to 63 lower-case letters, digits and dashes, none of them first or last "
        "a dash",
        remedy=f"use {fit!r}" if fit else "choose a name such as 'casting-defects'",
    )


def version_name(key: str) -> str:
    """The version's name from the key of its making."""
    return key[:VERSION_DIGITS]


def find_version(store: Store, name: str, key: str) -> Version | None:
    """The registered version of this key, if it is there and every file verifies."""
    version = read_version(store, name, version_name(key))
    if version is None or version.key != key:
        return None
    return version if all(store.verified(ref) for ref in version.files.values()) else None


def read_version(store: Store, name: str, version: str) -> Version | None:
    """A registered version, None where there is none, or a damaged manifest says nothing of it."""
    try:
        data = store.read_bytes(f"models/{name}/{version}/manifest.json")
        return Version.model_validate_json(data)
    except (NotFound, ValidationError):
        return None


def register(
    store: Store,
    *,
    name: str,
    key: str,
    promoted: bool,
    files: dict[str, Path],
    class_names: tuple[str, ...],
    image_size: int,
    metrics: dict[str, Any],
) -> Version:
    """Publish a version: its files, then the manifest that makes it one.

    Returns:
        What is registered in the end: of two runs that register the same version at the same
        moment, each with a report of its own, that of one of them.

    Raises:
        RegistryError: Another version has the same name but another key, or other runs keep
            registering this one.
        StoreError: The store cannot be written; there is then no version.
    """
    version = version_name(key)
    standing = read_version(store, name, version)
    if standing is not None and standing.key != key:
        raise RegistryError(
            f"version {name}@{version}",
            rule="is taken by another key",
            remedy="register under another model_name",
        )
    if whole := find_version(store, name, key):
        return whole
    folder = f"models/{name}/{version}"
    for attempt in range(ATTEMPTS):
        if attempt:
            # Writers that come in between each other wait, each for a time of its own.
            time.sleep(random.uniform(0, 0.1 * 2**attempt))
            if whole := find_version(store, name, key):
                return whole
        refs = publish_files(store, [(path, f"{folder}/{file}") for file, path in files.items()])
        made = Version(
            name=name,
            version=version,
            key=key,
            promoted=promoted,
            files=dict(zip(files, refs, strict=True)),
            class_names=class_names,
            image_size=image_size,
            metrics=metrics,
            registered_at=standing.registered_at if standing else now(),
        )
        store.write_bytes(f"{folder}/manifest.json", made.model_dump_json(indent=1).encode())
        # Files of one writer under the manifest of another would be no version.
        if whole := find_version(store, name, key):
            return whole
    raise RegistryError(
        f"version {name}@{version}",
        rule=f"did not verify after {ATTEMPTS} attempts to write it",
        remedy="run again, with no other run of the same inputs beside it",
    )


def champion(store: Store, name: str) -> Champion | None:
    """The champion of a model, None where no version was ever promoted.

    Raises:
        RegistryError: The file that names it is damaged.
    """
    path = f"models/{name}/champion.json"
    try:
        return Champion.model_validate_json(store.read_bytes(path))
    except NotFound:
        return None
    except ValidationError as error:
        raise RegistryError(
            f"{store.uri}/{path}",
            rule="names no champion: it is damaged",
            remedy="delete it, and run the training of the version that shall be champion again",
        ) from error


def crown(store: Store, version: Version) -> None:
    """Make a promoted version the champion, unless a newer one is.

    So a run that is repeated, and finds its version registered, takes nothing back.
    """
    reigning = champion(store, version.name)
    if reigning and reigning.registered_at >= version.registered_at:
        return
    crowned = Champion(
        name=version.name,
        version=version.version,
        key=version.key,
        registered_at=version.registered_at,
    )
    store.write_bytes(
        f"models/{version.name}/champion.json", crowned.model_dump_json(indent=1).encode()
    )
