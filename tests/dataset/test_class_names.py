"""What data.yaml and classes.txt say, and what they may not say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from yololine.dataset.class_names import NamedClasses, plain_name, read_class_names
from yololine.errors import SourceError
from yololine.storage import open_store


def read(made: Any, folder: Path, files: dict[str, Any], *extra: str) -> NamedClasses | None:
    store = open_store(str(made.source(folder, files)))
    return read_class_names(store, [*store.paths(), *extra], data_yaml=True)


@pytest.mark.parametrize(
    ("files", "names"),
    [
        ({"data.yaml": "names: [a, b c, 3]"}, ("a", "b c", "3")),
        ({"data.yaml": "names:\n  1: b\n  0: a\nnc: 2\ntrain: ../train/images"}, ("a", "b")),
        ({"data.yaml": "names: {'0': a, '1': b}"}, ("a", "b")),
        (
            {"data.yaml": "names: [no, on, 1.10, 007, 2026-01-01]"},
            ("no", "on", "1.10", "007", "2026-01-01"),
        ),
        ({"data.yaml": "names: [' a\u0308  b ']"}, ("\u00e4 b",)),
        ({"data.yml": "\ufeffnames:\n- a"}, ("a",)),
        ({"data.yaml": "names: [a, ]"}, ("a",)),
        ({"data.yaml": "names: [a]\nnc:\ndownload: https://example.com"}, ("a",)),
        ({"deep/data.yaml": "names: [b]", "dataset.yaml": "names: [a]"}, ("a",)),
        ({"x/data.yaml": "names: [a]", "y/data.yaml": "names: [a]"}, ("a",)),
        ({"classes.txt": "a\r\nb c\r\n\r\n"}, ("a", "b c")),
        ({"labels/classes.txt": "a"}, ("a",)),
        ({"data.yaml": "names: [a]", "classes.txt": "b"}, ("a",)),
    ],
)
def test_class_names(
    tmp_path: Path, made: Any, files: dict[str, str], names: tuple[str, ...]
) -> None:
    named = read(made, tmp_path, files)
    assert named
    assert named.names == names
    assert set(named.files) <= set(files)


def test_no_file_names_them(tmp_path: Path, made: Any) -> None:
    assert read(made, tmp_path, {"README": ""}) is None
    store = open_store(str(made.source(tmp_path, {"data.yaml": "names: [a]"})))
    assert read_class_names(store, ["data.yaml"], data_yaml=False) is None


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"data.yaml": "names: [a, b"}, r"data\.yaml line 1: is no YAML"),
        ({"data.yaml": "nc: 2\nnames:\n  - a\n - b"}, r"data\.yaml line 4: is no YAML"),
        ({"data.yaml": "names: !!python/object/apply:os.getcwd []"}, r"line 1: is no YAML"),
        ({"data.yaml": "names: [a]\nnames: [b]"}, r"data\.yaml line 2: names: is given twice"),
        ({"data.yaml": "names: {0: a, 1: b, 1: c}"}, "line 1: 1: is given twice"),
        ({"data.yaml": "train: images"}, "has no class names"),
        ({"data.yaml": "names: []"}, "has no class names; write names as a list"),
        ({"data.yaml": "- a"}, "has no class names"),
        ({"data.yaml": ""}, "has no class names"),
        ({"data.yaml": "names: scratch"}, "names: scratch: is no list"),
        ({"data.yaml": "names: [a, [b]]"}, "class 1: has no name in plain text"),
        ({"data.yaml": "names: [a, ~]"}, "class 1: has no name in plain text"),
        ({"data.yaml": "names:\n- a\n-\n"}, "class 1: has no name in plain text"),
        ({"data.yaml": "names: [a, ' ']"}, "class 1: has an empty name"),
        ({"data.yaml": "names: [a, b, a]"}, "a: named more than once"),
        ({"data.yaml": "names: [\u00e9, e\u0301]"}, "\u00e9: named more than once"),
        ({"data.yaml": "names: {0: a, 2: b}"}, "with the ids 0, 2: ids must be 0 to 1"),
        ({"data.yaml": "names: {1: a, 2: b}"}, "ids must be 0 to 1, each once; number the"),
        ({"data.yaml": "names: {a: 0, b: 1}"}, "with the ids a, b: ids must be 0 to 1"),
        ({"data.yaml": "names: [a, b]\nnc: 3"}, "nc: 3: but names has 2 classes; correct nc"),
        ({"data.yaml": "names: [a, b]\nnc: [2]"}, "but names has 2 classes"),
        ({"data.yaml": "names: [a]\nkpt_shape: [17, 3]"}, "keypoints"),
        ({"data.yaml": "names: [a\u202eb]"}, "is no class name"),
        ({"data.yaml": f"names: [{'x' * 201}]"}, "at most 200 characters"),
        ({"x/data.yaml": "names: [a]", "y/data.yaml": "names: [b]"}, "name different classes"),
        ({"data.yaml": b"names: [\xff]"}, "is no UTF-8 text"),
        ({"data.yaml": "#" * (1 << 20) + "\n"}, r"\(1048577 bytes\): is larger than 1048576"),
        ({"classes.txt": "\n\n"}, "has no class names"),
        ({"classes.txt": "a\n\nb"}, "class 1: has an empty name"),
        ({"classes.txt": "a\nb\na"}, "a: named more than once"),
        ({"classes.txt": b"\xff\xfe\x00"}, "is no UTF-8 text"),
    ],
)
def test_mistaken_class_lists(tmp_path: Path, made: Any, files: dict[str, Any], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        read(made, tmp_path, files)


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("train: images", ""),
        ("path: ../set\ntrain: images", ""),
        ("path: /data/set\ntrain: images/", ""),
        ("train: ../images", ""),
        ("train: .", ""),
        ("train: [images, more]", "train: more"),
        ("train: list.txt", "train: list.txt"),
        ("val: /elsewhere/val", "val: /elsewhere/val"),
        ("test: https://example.com/x.zip", "test: https://example.com/x.zip"),
        ("train: {a: b}", ""),
    ],
)
def test_places_that_are_not_there_are_told(
    tmp_path: Path, made: Any, text: str, missing: str
) -> None:
    named = read(made, tmp_path, {"data.yaml": f"names: [a]\n{text}"}, "images/a.jpg")
    assert named
    assert len(named.notes) == bool(missing)
    assert all(f"not in the source ({missing})" in note for note in named.notes)


def test_a_division_is_not_taken_over_and_told(tmp_path: Path, made: Any) -> None:
    text = "names: [a]\ntrain: images/train\nval: images/val"
    named = read(made, tmp_path, {"data.yaml": text}, "images/train/a.jpg", "images/val/b.jpg")
    assert named
    assert named.notes == (
        (
            "The division of data.yaml into train and val is not taken over: pictures are split by "
            "val_fraction and test_fraction."
        ),
    )


@pytest.mark.parametrize("text", ["red cell", " red\n\t cell ", "red\u00a0cell"])
def test_names_are_compared_in_one_form(text: str) -> None:
    assert plain_name(text) == "red cell"
