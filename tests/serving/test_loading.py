"""What is not the registered version is refused before it is ready."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.serving.models import CLASS_NAMES
from yololine.errors import YololineError
from yololine.serving.loading import load
from yololine.serving.settings import settings


def name_classes(folder: Path, names: list[str]) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "class_names": names}))


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


@pytest.fixture
def folder(version_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(version_folder, tmp_path / "version"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: flip(f / "model.onnx"), "model.onnx: has sha256"),
        (lambda f: flip(f / "metrics.json"), "metrics.json: has sha256"),
        (lambda f: (f / "model.onnx").write_bytes(b""), "model.onnx: has 0 bytes, registered"),
        (lambda f: (f / "metrics.json").write_text("{} "), "metrics.json: has 3 bytes, registered"),
        (lambda f: (f / "model.onnx").unlink(), "model.onnx: cannot be read (No such file"),
        (lambda f: (f / "metrics.json").unlink(), "metrics.json: cannot be read (No such file"),
        (lambda f: (f / "manifest.json").unlink(), "manifest.json: cannot be read (No such file"),
        (lambda f: (f / "manifest.json").write_text("{"), "manifest.json: is no manifest"),
        (lambda f: (f / "manifest.json").write_text("[]"), "manifest.json: is no manifest"),
        (lambda f: (f / "manifest.json").write_text("{}"), "manifest.json: is no manifest"),
        (lambda f: (f / "manifest.json").write_bytes(b"\xff"), "manifest.json: is no manifest"),
        (lambda f: name_classes(f, [*CLASS_NAMES, "dent"]), "is neither (n, 7, anchors)"),
        (lambda f: name_classes(f, [*CLASS_NAMES[:1]]), "is neither (n, 5, anchors)"),
    ],
)
def test_what_is_refused(change: Callable[[Path], object], words: str, folder: Path) -> None:
    change(folder)
    with pytest.raises(YololineError) as caught:
        load(settings(model_dir=folder))
    assert words in str(caught.value)


def test_a_file_that_is_not_the_versions_is_not_looked_at(folder: Path) -> None:
    (folder / "notes.txt").write_text("of somebody")
    assert load(settings(model_dir=folder)).version.class_names == CLASS_NAMES
