"""Registered versions of a model, and which of them is the champion.

models/<name>/<version>/model.onnx weights.pt metrics.json golden.parquet lineage.json report.html
models/<name>/<version>/manifest.json   sha256 and size of each, written last
models/<name>/champion.json             the promoted version
"""

from __future__ import annotations

import difflib
import random
import re
import time
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from yololine.errors import NotFound, RegistryError, UsageError
from yololine.frozen import Frozen
from yololine.inference.precision import Precision
from yololine.storage import FileRef, Store, fetch_files, publish_files, sha256_file
from yololine.storage.disk import disk_in_words, replacing
from yololine.telemetry.records import now

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""A Kubernetes label's value in lower case: the name becomes an InferenceService's later."""
VERSION_DIGITS = 12
MANIFEST = "manifest.json"
MODEL = "model.onnx"
WEIGHTS = "weights.pt"
"""For training on: what serves the version does without them."""
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
    precision: Precision = "f32"
    """That it was evaluated with, and is served with where the processor has it."""
    registered_at: datetime

    @property
    def folder(self) -> str:
        """Path below the store's root."""
        return f"models/{self.name}/{self.version}"

    @property
    def reference(self) -> str:
        """What a person types to mean it."""
        return f"{self.name}@{self.version}"


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
        data = store.read_bytes(f"models/{name}/{version}/{MANIFEST}")
        return Version.model_validate_json(data)
    except (NotFound, ValidationError):
        return None


def versions_by_model(store: Store, name: str = "") -> dict[str, list[str]]:
    """Registered versions by the model's name; of one model alone where it is named."""
    found: dict[str, list[str]] = {}
    for path in store.paths(f"models/{name}" if name else "models"):
        parts = path.split("/")
        if len(parts) == 4 and parts[3] == MANIFEST:
            found.setdefault(parts[1], []).append(parts[2])
    return found


def resolve_version(store: Store, text: str) -> Version:
    """The version that a person names.

    Args:
        store: Where versions are registered.
        text: `NAME` for the model's champion, or `NAME@VERSION`.

    Raises:
        UsageError: There is no such model or version, or the model has no champion.
        RegistryError: The version, or what names the champion, is damaged.
    """
    name, at, wanted = text.strip().partition("@")
    check_model_name(name)
    there = sorted(versions_by_model(store, name).get(name, ()))
    if not there:
        models = sorted({path.split("/")[1] for path in store.paths("models")})
        near = difflib.get_close_matches(name, models, n=1)
        raise UsageError(
            f"model {name!r}",
            rule=f"has no version in {store.uri}",
            remedy=(f"did you mean {near[0]}? " if near else "")
            + (f"There are: {', '.join(models)}" if models else "run the training first"),
        )
    if not at:
        reigning = champion(store, name)
        if reigning is None:
            raise UsageError(
                f"model {name!r}",
                rule="has no champion: none of its versions was promoted",
                remedy=f"name a version, for instance {name}@{there[0]}; there are: "
                + ", ".join(there),
            )
        wanted = reigning.version
    if wanted not in there:
        near = difflib.get_close_matches(wanted, there, n=1, cutoff=0.4)
        raise UsageError(
            f"version {name}@{wanted}",
            rule=f"is not in {store.uri}",
            remedy=f"did you mean {name}@{near[0]}?" if near else f"there are: {', '.join(there)}",
        )
    found = read_version(store, name, wanted)
    if found is None:
        raise RegistryError(
            f"{store.uri}/models/{name}/{wanted}/{MANIFEST}",
            rule="is damaged, or of another version of yololine",
            remedy="run the training of this version again: it is registered anew",
        )
    return found


def fetch_version(
    store: Store, version: Version, folder: Path, *, files: Iterable[str] | None = None
) -> None:
    """Bring a version's files into a folder, each verified, and its manifest last.

    Args:
        store: Where the version is registered.
        version: Which.
        folder: Where they go; it is made. A folder without manifest.json is no version yet.
        files: Names of the files wanted, None for all.

    Raises:
        RegistryError: The version holds no file of such a name.
        StoreError: A file cannot be read, or is not what was registered.
    """
    wanted = tuple(version.files if files is None else files)
    refs = [(_ref(version, name), folder / name) for name in wanted]
    with disk_in_words(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / MANIFEST).unlink(missing_ok=True)
    fetch_files(store, refs)
    with disk_in_words(folder), replacing(folder / MANIFEST) as file:
        file.write(version.model_dump_json(indent=1).encode())


def open_folder(folder: Path) -> Version:
    """The version whose files lie in a folder, each of them verified against its manifest.

    `weights.pt` may be missing.

    Raises:
        RegistryError: The manifest or a file is missing, or is not what was registered.
    """
    manifest = folder / MANIFEST
    try:
        version = Version.model_validate_json(manifest.read_bytes())
    except OSError as error:
        raise RegistryError(
            manifest,
            rule=f"cannot be read ({error.strerror}), so the folder holds no version",
            remedy="give the folder of a version: models/NAME/VERSION of a store, or a copy of it",
        ) from error
    except ValidationError as error:
        raise RegistryError(
            manifest,
            rule="is no manifest of a version, or one of another version of yololine",
            remedy="fetch the version again",
        ) from error
    _ref(version, MODEL)
    for name in version.files:
        _check_file(folder / name, _ref(version, name))
    return version


def _check_file(file: Path, ref: FileRef) -> None:
    try:
        size_bytes = file.stat().st_size
        if size_bytes != ref.size_bytes:
            rule = f"has {size_bytes} bytes, registered with {ref.size_bytes}"
        elif (sha256 := sha256_file(file)) != ref.sha256:
            rule = f"has sha256 {sha256[:12]}..., registered with {ref.sha256[:12]}..."
        else:
            return
    except OSError as error:
        if isinstance(error, FileNotFoundError) and file.name == WEIGHTS:
            return
        rule = f"cannot be read ({error.strerror}), though the manifest names it"
    raise RegistryError(file, rule=rule, remedy="fetch the version again; nothing of it was used")


def _ref(version: Version, name: str) -> FileRef:
    if name not in version.files:
        raise RegistryError(
            f"version {version.reference}",
            rule=f"holds no {name}",
            remedy=f"there are: {', '.join(version.files)}; run its training again to register "
            "it anew, or take another version",
        )
    if Path(name).name != name:
        raise RegistryError(
            f"version {version.reference}",
            rule=f"names a file {name!r}, which would lie outside its folder",
            remedy="do not use it: its manifest was not written by yololine",
        )
    return version.files[name]


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
    precision: Precision = "f32",
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
            precision=precision,
            registered_at=standing.registered_at if standing else now(),
        )
        store.write_bytes(f"{folder}/{MANIFEST}", made.model_dump_json(indent=1).encode())
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
