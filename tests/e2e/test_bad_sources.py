"""Every source that is refused, given to the real command: its layout, its files, its labels."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.faulty import (
    BOX,
    DATA_YAML,
    Content,
    good,
    good_voc,
    picture,
    some_corrupt,
    write,
)
from tests.e2e.refusals import Case, Place, Refusals, check
from yololine import steps

pytestmark = pytest.mark.e2e


def _only(*names: str) -> dict[str, Content]:
    return {name: picture(1) if name.endswith(".jpg") else BOX for name in names}


def _hidden(folder: Path) -> None:
    write(folder, {".cache/a.jpg": picture(1), ".cache/a.txt": BOX})


def _links(folder: Path) -> None:
    write(folder.parent / "elsewhere", good())
    for name in ("images", "labels"):
        (folder / name).symlink_to(folder.parent / "elsewhere" / name)


def _loop(folder: Path) -> None:
    (folder / "a.jpg").symlink_to("b.jpg")
    (folder / "b.jpg").symlink_to("a.jpg")


def _not_utf8(folder: Path) -> None:
    write(folder, good())
    Path(os.fsdecode(os.fsencode(folder) + b"/images/gr\xf6\xdfe.jpg")).write_bytes(picture(1))


def _nothing(_: Path) -> None:
    """An empty folder."""


def _copied_into_itself(folder: Path) -> None:
    folder.joinpath(*["x"] * 250).mkdir(parents=True)
    write(folder, good())


def _no_folder(folder: Path) -> None:
    folder.rmdir()


LAYOUT = [
    Case(
        "a source that is not there",
        {},
        ("/source", "is not there", "check source_uri"),
        _no_folder,
    ),
    Case(
        "an empty source",
        {},
        ("/source", "holds no file", "upload images and labels to it"),
        _nothing,
    ),
    Case(
        "a source of hidden files",
        {},
        ("/source", "holds no file, hidden ones apart", "check source_uri"),
        _hidden,
    ),
    Case(
        "a source of links",
        {},
        (
            "/source",
            "left out: 2 links out of the source (images, labels)",
            "copy what the links lead to",
        ),
        _links,
    ),
    Case(
        "a source of links in a circle",
        {},
        ("/source", "left out: 2 links to nothing (a.jpg, b.jpg)", "copy what the links lead to"),
        _loop,
    ),
    Case(
        "a file for a source",
        lambda place: {"source_uri": place.file("a.jpg", picture(1))},
        ("a.jpg", "is a file, and a source is a folder", "give the folder"),
    ),
    Case(
        "an archive for a source",
        lambda place: {"source_uri": place.file("photos.tar.gz", b"\x1f\x8b")},
        ("photos.tar.gz", "is a file, and a source is a folder", "unpack it"),
    ),
    Case(
        "a source with an archive",
        {},
        ("found 1 .zip", "holds no picture", "unpack photos.zip"),
        {"photos.zip": "PK"},
    ),
    Case(
        "a metadata address for a source",
        {"source_uri": "http://169.254.169.254/latest/meta-data"},
        ("http://169.254.169.254", "is no store", "write s3://bucket/prefix"),
    ),
    Case(
        "an FTP server for a source",
        {"source_uri": "ftp://host/photos"},
        ("ftp://host/photos", "is no store", "write s3://bucket/prefix"),
    ),
    Case(
        "pictures of no known type",
        {},
        ("found 1 .gif, 1 .heic", "holds no picture", "give pictures as jpg"),
        {"a.gif": "GIF89a", "b.heic": ""},
    ),
    Case(
        "labels without pictures",
        {},
        ("found 2 .txt", "holds no picture", "give pictures as jpg"),
        _only("labels/a.txt", "labels/b.txt"),
    ),
    Case(
        "pictures without labels",
        {},
        ("found 2 .jpg", "holds pictures and no label file", "add labels"),
        _only("a.jpg", "b.jpg"),
    ),
    Case(
        "labels of COCO",
        {},
        ("1 .json", "holds pictures and no label file", "export it as YOLO or Pascal VOC"),
        _only("a.jpg", "instances.json"),
    ),
    Case(
        "labels that lie elsewhere",
        {},
        ("truth [/red]/a.txt", "is no layout that is known", "lay the files out as YOLO"),
        _only("photos/a.jpg", "truth [/red]/a.txt"),
    ),
    Case(
        "labels in two formats",
        {},
        ("/source", "labels in two formats", "set source_format"),
        _only("a.jpg", "a.txt", "b.jpg", "b.xml"),
    ),
    Case(
        "pictures that data.yaml has elsewhere",
        {},
        ("found 1 .yaml", "holds no picture", "places that a data.yaml names are not followed"),
        {"data.yaml": "path: /data/set\ntrain: images\nnames: [a]\n"},
    ),
    Case(
        "an archive of Windows",
        {},
        (r"labels\\a.txt'", "holds a backslash", "unpack with 7z"),
        {"a.jpg": picture(1), "a.txt": BOX, r"labels\a.txt": BOX},
    ),
    Case(
        "a folder copied into itself",
        {},
        ("/source/x/x", "nests folders deeper than 200", "look for a folder that was copied"),
        _copied_into_itself,
    ),
    Case(
        "a name that is not UTF-8",
        {},
        (r"gr\udcf6\udcdfe.jpg", "the name is not UTF-8", "convmv"),
        _not_utf8,
    ),
    *(
        Case(f"data.yaml: {name}", {}, (value, rule, remedy), good() | {"data.yaml": text})
        for name, text, value, rule, remedy in (
            (
                "no names",
                "nc: 2\ntrain: images\n",
                "data.yaml",
                "has no class names",
                "write names as a list",
            ),
            ("an empty file", "", "data.yaml", "has no class names", "write names as a list"),
            (
                "an empty list",
                "names: []",
                "data.yaml",
                "has no class names",
                "write names as a list",
            ),
            ("one word", "names: scratch", "names: scratch", "is no list", "write names as a list"),
            (
                "nothing for a name",
                "names: [scratch, ~]",
                "class 1",
                "has no name in plain text",
                "write names as a list",
            ),
            (
                "a list for a name",
                "names: [scratch, [dent]]",
                "class 1",
                "has no name in plain text",
                "write names as a list",
            ),
            (
                "a name twice",
                "names: [dent, scratch, dent]",
                "dent",
                "named more than once",
                "give each class its own name",
            ),
            (
                "a gap",
                "names: {0: scratch, 2: dent}",
                "the ids 0, 2",
                "ids must be 0 to 1, each once",
                "without a gap",
            ),
            (
                "from one",
                "names: {1: scratch, 2: dent}",
                "the ids 1, 2",
                "ids must be 0 to 1, each once",
                "from 0",
            ),
            (
                "the wrong way round",
                "names: {scratch: 0, dent: 1}",
                "the ids scratch, dent",
                "ids must be 0 to 1",
                "number the classes",
            ),
            (
                "an id twice",
                "names:\n  0: scratch\n  1: dent\n  1: rust\n",
                "data.yaml line 4: 1",
                "is given twice",
                "keep one",
            ),
            (
                "names twice",
                "names: [a]\nnames: [b]\n",
                "data.yaml line 2: names",
                "is given twice",
                "keep one",
            ),
            (
                "another count",
                "names: [scratch, dent]\nnc: 3",
                "nc: 3",
                "but names has 2 classes",
                "correct nc",
            ),
            (
                "a count in words",
                "names: [scratch, dent]\nnc: two",
                "nc: two",
                "but names has 2 classes",
                "correct nc",
            ),
            (
                "no YAML",
                "names: [scratch\npath: x\n",
                "data.yaml line 2",
                "is no YAML",
                "mend the file",
            ),
            (
                "code",
                "names: !!python/object/apply:os.getcwd []",
                "data.yaml line 1",
                "is no YAML of plain values",
                "mend",
            ),
            (
                "keypoints",
                f"{DATA_YAML}kpt_shape: [17, 3]",
                "data.yaml",
                "describes keypoints",
                "export the labels as boxes",
            ),
            (
                "another file",
                b"\x89PNG\r\n\x1a\n\x00",
                "data.yaml",
                "is no UTF-8 text",
                "save it as UTF-8",
            ),
            (
                "a megabyte and more",
                "#" * (1 << 20) + "\n",
                "(1048577 bytes)",
                "is larger than 1048576 bytes",
                "check that it",
            ),
            (
                "brackets without end",
                "names: " + "[" * 5000,
                "data.yaml",
                "deeper than 32",
                "check its brackets",
            ),
        )
    ),
    Case(
        "two that disagree",
        {},
        ("a/data.yaml, b/data.yaml", "name different classes", "keep one of them"),
        _only("a.jpg", "a.txt") | {"a/data.yaml": "names: [a]", "b/data.yaml": "names: [b]"},
    ),
    Case(
        "classes.txt with a hole",
        {},
        ("classes.txt: class 1", "has an empty name", "name it"),
        good_voc() | {"classes.txt": "scratch\n\ndent\n"},
    ),
]


def _labels(text: str, count: int = 6) -> dict[str, Content]:
    """Pictures whose labels all say the same."""
    return good(count) | {f"labels/good_{number:03d}.txt": text for number in range(count)}


CLEANING = [
    Case(
        "three of four pictures corrupt",
        {},
        (
            "15 of 20 pictures were dropped (15 not a readable picture)",
            "max_dropped_fraction allows 25%",
            "raise max_dropped_fraction",
        ),
        some_corrupt(15, 5),
    ),
    Case(
        "every picture corrupt",
        {},
        (
            "no picture is left of 4: 4 not a readable picture",
            "it is HTML",
            "mend the source, starting with images/good_000.jpg",
        ),
        some_corrupt(4, 0),
    ),
    Case(
        "one picture too many",
        {"max_dropped_fraction": 0},
        ("1 of 8 pictures were dropped", "max_dropped_fraction allows 0%", "mend the source"),
        some_corrupt(1, 7),
    ),
    Case(
        "labels that are all empty",
        {},
        ("no box is left in 6 pictures", "every label file is empty", "give boxes"),
        _labels(""),
    ),
    Case(
        "labels in pixels",
        {},
        (
            "6 no valid box left",
            "pixels where fractions belong?",
            "mend the source, starting with images/good_000.jpg",
        ),
        _labels("0 32 24 16 12\n"),
    ),
    Case(
        "labels of classes that are not there",
        {},
        ("6 no valid box left", "class 7, but 2 classes are named (0-1)", "mend the source"),
        _labels("7 0.5 0.5 0.5 0.5\n"),
    ),
    Case(
        "labels with decimal commas",
        {},
        ("6 no valid box left", "a decimal point is wanted", "mend the source"),
        _labels("0 0,5 0,5 0,5 0,5\n"),
    ),
    Case(
        "labels of predictions",
        {},
        ("6 no valid box left", "a prediction's confidence is none of them", "mend the source"),
        _labels("0 0.5 0.5 0.5 0.5 0.9\n"),
    ),
]


def _few(labelled: int, background: int) -> dict[str, Content]:
    files = good(labelled + background)
    return files | {f"labels/good_{labelled + n:03d}.txt": "" for n in range(background)}


SPLITTING = [
    Case(
        "two pictures",
        {},
        ("2 images in 2 groups", "cannot fill 3 splits (train, val, test)", "give more images"),
        good(2),
    ),
    Case(
        "objects in two pictures alone",
        {},
        ("would have no object", "only 2 groups of images have any", "label more images"),
        _few(2, 8),
    ),
]
CROP = """\
transform:
  __class_fullname__: Compose
  p: 1.0
  transforms:
  - {{__class_fullname__: Crop, p: 1.0, x_min: 0, y_min: 0, x_max: {0}, y_max: {0}}}
"""
AUGMENTING = [
    Case(
        "a policy that crops everything away",
        {},
        ("policy.yaml", "leaves none of 6 boxes in its copies", "crop, shift or scale less"),
        good(),
    ),
    Case(
        "a policy for larger pictures",
        {},
        ("policy.yaml on images/good_0", "fails on an image of 64 x 48 px", "a larger image"),
        good(),
    ),
]


def _cropping(side: int) -> Callable[[Place], Mapping[str, object]]:
    return lambda place: {
        "augmentation_policy": place.file("policy.yaml", CROP.format(side)),
        "augmentation_copies": 1,
    }


@pytest.fixture(scope="module")
def refusals(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Refusals]:
    # The line goes on to the start weights where the dataset fails: they are made once.
    store = tmp_path_factory.mktemp("prepared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("YOLOLINE_RUN_ID", "prepared")
        steps.prepare_weights(
            str(store),
            str(store / "out" / "weights"),
            str(store / "out" / "page"),
            architecture="yolo11n",
            weights_uri="",
            weights_sha256="",
        )
    asked = Refusals(request, tmp_path_factory, results=store / "results")
    yield asked
    asked.close()


def _named(case: Any) -> str:
    return str(case.name)


@pytest.mark.parametrize("case", LAYOUT, ids=_named)
def test_a_layout_is_refused_before_a_picture_is_read(case: Case, refusals: Refusals) -> None:
    refusal = refusals.to(case)
    check(case, refusal)
    assert set(refusal.records) == {"preflight", "report_run"}


@pytest.mark.parametrize(
    "case", [replace(case, step="clean_dataset") for case in CLEANING], ids=_named
)
def test_cleaning_refuses_and_gives_its_account(case: Case, refusals: Refusals) -> None:
    """Before any GPU is asked for, and with every file that was dropped named in the report."""
    refusal = refusals.to(case)
    check(case, refusal)
    assert "train_detector" not in refusal.records
    facts = refusal.records["clean_dataset"].facts
    assert facts["images"]["total"] == facts["images"]["kept"] + facts["images"]["dropped"]
    assert sum(facts["dropped_images_by_reason"].values()) == facts["images"]["dropped"]
    assert all(dropped["file"] in refusal.report for dropped in facts["dropped_files"])


@pytest.mark.parametrize(
    "case",
    [replace(case, step="split_dataset") for case in SPLITTING]
    + [
        replace(case, step="augment_dataset", given=_cropping(side))
        for case, side in zip(AUGMENTING, (8, 100), strict=True)
    ],
    ids=_named,
)
def test_the_dataset_is_refused_before_a_gpu_is_used(case: Case, refusals: Refusals) -> None:
    refusal = refusals.to(case)
    check(case, refusal)
    assert "train_detector" not in refusal.records
