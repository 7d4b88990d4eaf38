"""yololine: retrain an industrial object detector as one auditable, resumable pipeline run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

__version__ = "0.1.0"
__all__ = ["__version__", "component", "component_package", "pipeline_package"]


def pipeline_package(name: str) -> str:
    """Path of a compiled pipeline, ready for `kfp.Client` or the KFP UI's upload.

    Args:
        name: The pipeline's name, for instance `training`.

    Raises:
        UsageError: There is no pipeline of that name.
    """
    return _package(name, "pipeline")


def component_package(name: str) -> str:
    """Path of a compiled component; docs/components.md says what each of them does.

    Args:
        name: The component's name, for instance `clean_dataset`.

    Raises:
        UsageError: There is no component of that name.
    """
    return _package(name, "component")


def component(name: str) -> Any:
    """A component as kfp loads it, to be called inside `@dsl.pipeline` with keyword arguments.

    Its tasks need `yololine.pod.on_cluster` to reach the store from a cluster.

    Args:
        name: The component's name, for instance `clean_dataset`.

    Raises:
        UsageError: There is no component of that name.
    """
    from yololine.runs.composing import load_component

    return load_component(component_package(name))


def _package(name: str, *kinds: str) -> str:
    files = {file.stem: file for kind in kinds for file in _compiled_files(kind)}
    if name in files:
        return str(files[name])
    import difflib

    from yololine.errors import UsageError

    near = difflib.get_close_matches(name, files, n=1)
    raise UsageError(
        f"{' or '.join(kinds)} {name!r}",
        rule="is not there",
        remedy=(f"did you mean {near[0]}? " if near else "")
        + f"There are: {', '.join(files) or 'none, reinstall yololine'}",
    )


def _compiled_files(kind: str) -> list[Path]:
    """The wheel carries them inside the package; a checkout has them beside their source."""
    packaged = Path(__file__).with_name("compiled")
    if packaged.is_dir():
        folder = packaged if kind == "pipeline" else packaged / "components"
    else:
        folder = Path(__file__).parents[2] / f"{kind}s" / "compiled"
    return sorted(folder.glob("*.yaml"))
