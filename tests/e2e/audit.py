"""What a reader would take for real in a store must be whole."""

from __future__ import annotations

from yololine.detector.checkpoints import Checkpoint
from yololine.registry.versions import Champion, Version
from yololine.steps.perform import Result
from yololine.storage import FileRef, Store
from yololine.telemetry.journal import read_run


def torn(store: Store) -> list[str]:
    """Every object that promises something the store does not hold; empty where all is well.

    Each document is read by the model that its readers use, and everything it names is fetched.
    """
    found: list[str] = []
    paths = list(store.paths())
    for path in paths:
        room, name = path.split("/", 1)[0], path.rsplit("/", 1)[-1]
        promised: list[FileRef] = []
        if room == "results" and name == "manifest.json":
            result = Result.model_validate_json(store.read_bytes(path))
            promised = [*result.files.values(), *result.exhibits.values()]
            promised += _refs(result.manifest)
        elif room == "models" and name == "manifest.json":
            version = Version.model_validate_json(store.read_bytes(path))
            promised = list(version.files.values())
        elif room == "models" and name == "champion.json":
            crowned = Champion.model_validate_json(store.read_bytes(path))
            if f"models/{crowned.name}/{crowned.version}/manifest.json" not in paths:
                found.append(f"{path}: crowns {crowned.version}, which is not there")
        elif room == "checkpoints" and name.endswith(".json"):
            promised = [Checkpoint.model_validate_json(store.read_bytes(path)).file]
        found += [f"{path}: {ref.path}" for ref in promised if not _whole(store, ref)]
    for run_id in {path.split("/")[1] for path in paths if path.startswith("runs/")}:
        read_run(store, run_id)
    return found


def _whole(store: Store, ref: FileRef) -> bool:
    """Whether the content itself, not what the store says of it, is what was published."""
    return store.exists(ref.path) and store.digest(ref.path) == ref.sha256


def _refs(value: object) -> list[FileRef]:
    """The references in a manifest, at any depth."""
    if isinstance(value, list):
        return [ref for item in value for ref in _refs(item)]
    if not isinstance(value, dict):
        return []
    if {"path", "sha256", "size_bytes"} <= value.keys():
        fields = {name: value[name] for name in ("path", "sha256", "size_bytes")}
        return [FileRef.model_validate(fields)]
    return [ref for item in value.values() for ref in _refs(item)]
