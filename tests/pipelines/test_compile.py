"""What is committed is what compiles, and one command says so or mends it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.compile import ROOT, compiled

FOLDERS = ("components", "pipelines")


def test_committed_files_are_what_the_compiler_writes() -> None:
    found = {path for folder in FOLDERS for path in (ROOT / folder / "compiled").iterdir()}
    wanted = compiled()
    assert found == set(wanted)
    assert not [path for path, text in wanted.items() if path.read_text(encoding="utf-8") != text]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def _compile(checkout: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pipelines.compile", *argv],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_is_stale_missing_or_left_over_is_told_and_mended(checkout: Path) -> None:
    folder = checkout / "components" / "compiled"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "clean_dataset.yaml").write_text("old")
    (folder / "split_dataset.yaml").unlink()
    (folder / "gone.yaml").write_text("of a component that is no more")

    told = _compile(checkout, "--check")
    assert told.returncode == 1
    assert set(told.stdout.splitlines()) == {
        "components/compiled/clean_dataset.yaml is not current",
        "components/compiled/split_dataset.yaml is not current",
        "components/compiled/gone.yaml has no source",
        "run make compile",
    }
    assert (folder / "clean_dataset.yaml").read_text() == "old"

    mended = _compile(checkout)
    assert mended.returncode == 0, mended.stderr
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    current = _compile(checkout, "--check")
    assert (current.returncode, current.stdout) == (0, "")
