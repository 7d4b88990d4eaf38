"""yololine: retrain an industrial object detector as one auditable, resumable pipeline run."""

from __future__ import annotations

from pathlib import Path

__version__ = "0.1.0"
__all__ = ["__version__", "pipeline_package"]


def pipeline_package(name: str) -> str:
    """Path of a compiled pipeline, ready for `kfp.Client` or the KFP UI's upload.

    Args:
        name: The pipeline's name, for instance `training`.

    Raises:
        UsageError: There is no pipeline of that name.
    """
    folder = _compiled_folder()
    path = folder / f"{name}.yaml"
    if not path.is_file():
        from yololine.errors import UsageError

        known = ", ".join(sorted(p.stem for p in folder.glob("*.yaml"))) or "none"
        raise UsageError(
            f"pipeline {name!r}",
            rule="is not among the compiled pipelines",
            remedy=f"use one of: {known}",
        )
    return str(path)


def _compiled_folder() -> Path:
    """The wheel carries the folder inside the package; a checkout has it at its top."""
    packaged = Path(__file__).with_name("compiled")
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "pipelines" / "compiled"
