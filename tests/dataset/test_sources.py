"""Listings, layouts, pairing and the refusals of sources."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from yololine.dataset.sources import (
    Layout,
    Pair,
    SourceFormat,
    SourceListing,
    detect_layout,
    diff_listings,
    list_source,
)
from yololine.errors import SourceError
from yololine.storage import open_store, sha256_bytes

YAML = "names: [a, b]\n"


def layout_of(made: Any, folder: Path, files: list[str] | dict[str, str], **options: Any) -> Layout:
    """The layout of files that are empty, or hold a text."""
    source = made.source(folder, dict.fromkeys(files, "") if isinstance(files, list) else files)
    store = open_store(str(source))
    return detect_layout(store, list_source(store), **options)


def test_a_listing_is_its_content(tmp_path: Path, made: Any) -> None:
    files = {"images/ä.jpg": "1", "images/b.jpg": "22", ".hidden/x": "", "a.txt": "", "B.txt": ""}
    listing = list_source(open_store(str(made.source(tmp_path / "a", files))))
    again = list_source(open_store(str(made.source(tmp_path / "b", files))))
    assert [e.path for e in listing.entries] == ["B.txt", "a.txt", "images/b.jpg", "images/ä.jpg"]
    assert (listing.files, listing.size_bytes) == (4, 3)
    assert listing == again
    assert listing.digest == again.digest
    lines = "".join(f"{e.path}\0{e.size_bytes}\0{e.md5}\n" for e in listing.entries)
    assert listing.digest == sha256_bytes(lines.encode())


def test_listings_travel_as_json(tmp_path: Path, made: Any) -> None:
    listing = list_source(open_store(str(made.source(tmp_path, {"ä/b c.jpg": "1", "d": ""}))))
    assert SourceListing.from_json(listing.to_json()) == listing
    assert b" c.jpg" in listing.to_json()
    assert b", " not in listing.to_json()


def test_what_changed_between_listings(tmp_path: Path, made: Any) -> None:
    old = made.source(tmp_path / "old", {"same": "1", "gone": "2", "new content": "3"})
    new = made.source(tmp_path / "new", {"same": "1", "came": "2", "new content": "4"})
    diff = diff_listings(*(list_source(open_store(str(folder))) for folder in (old, new)))
    assert (diff.added, diff.removed, diff.changed) == (("came",), ("gone",), ("new content",))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nothing", r"source: is not there; check source_uri"),
        ("folder", "holds no file, hidden ones apart; check source_uri, or upload"),
        ("hidden", "holds no file, hidden ones apart; check source_uri"),
        ("file", "is a file, and a source is a folder of pictures and labels; give the folder"),
        ("link", r"hidden ones apart; left out: 1 link out of the source \(a\.jpg\); copy what"),
    ],
)
def test_an_empty_source_is_refused(tmp_path: Path, kind: str, words: str) -> None:
    folder = tmp_path / "source"
    if kind == "file":
        folder.write_bytes(b"GIF")
    elif kind != "nothing":
        folder.mkdir()
    if kind == "hidden":
        (folder / ".a.jpg").touch()
    if kind == "link":
        (folder / "a.jpg").symlink_to("/etc/hostname")
    with pytest.raises(SourceError, match=words):
        list_source(open_store(str(folder)))


@pytest.mark.parametrize("name", ["photos.zip", "photos.TAR.GZ"])
def test_an_archive_is_no_source(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"PK")
    with pytest.raises(SourceError, match=r"is a file.*unpack it and give the folder: archives"):
        list_source(open_store(str(tmp_path / name)))


@pytest.mark.parametrize(
    ("image", "label", "kind"),
    [
        ("images/a.jpg", "labels/a.txt", "yolo"),
        ("images/a.JPEG", "labels/a.txt", "yolo"),
        ("images/a.tiff", "labels/a.TXT", "yolo"),
        ("Images/a.png", "Labels/a.txt", "yolo"),
        ("images/train/a.bmp", "labels/train/a.txt", "yolo"),
        ("train/images/a.webp", "train/labels/a.txt", "yolo"),
        ("images/set/images/x/a.tif", "images/set/labels/x/a.txt", "yolo"),
        ("a.jpg", "a.txt", "yolo"),
        ("lot 1/a.b.jpg", "lot 1/a.b.txt", "yolo"),
        ("images/a.jpg", "images/a.txt", "yolo"),
        ("JPEGImages/a.jpg", "Annotations/a.xml", "voc"),
        ("VOC2007/JPEGImages/a.jpg", "VOC2007/Annotations/a.xml", "voc"),
        ("images/a.jpg", "annotations/a.xml", "voc"),
        ("images/a.jpg", "labels/a.xml", "voc"),
        ("pictures/day 1/a.jpg", "pictures/day 1/a.xml", "voc"),
        ("pictures/a.jpg", "boxes/a.xml", "voc"),
    ],
)
def test_pairs(tmp_path: Path, made: Any, image: str, label: str, kind: str) -> None:
    layout = layout_of(made, tmp_path, [image, label, "README.md"])
    assert layout.source_format == kind
    assert layout.pairs == (Pair(image=image, label=label),)
    assert layout.ignored == ("README.md",)
    assert (layout.orphan_labels, layout.metadata, layout.class_names) == ((), (), None)


def test_stems_pair_within_their_folder(tmp_path: Path, made: Any) -> None:
    files = [
        "train/images/a.jpg",
        "train/images/b.jpg",
        "train/labels/a.txt",
        "val/images/a.png",
        "val/labels/a.txt",
        "val/labels/b.txt",
    ]
    layout = layout_of(made, tmp_path, files)
    assert layout.pairs == (
        Pair(image="train/images/a.jpg", label="train/labels/a.txt"),
        Pair(image="train/images/b.jpg", label=None),
        Pair(image="val/images/a.png", label="val/labels/a.txt"),
    )
    assert layout.orphan_labels == ("val/labels/b.txt",)


def test_case_decides_only_where_nothing_else_does(tmp_path: Path, made: Any) -> None:
    files = ["images/a.jpg", "images/A.jpg", "images/B.jpg"]
    labels = ["labels/a.txt", "labels/A.txt", "labels/b.txt"]
    pairs = {p.image: p.label for p in layout_of(made, tmp_path, files + labels).pairs}
    assert pairs == dict(zip(files, labels, strict=True))


def test_a_voc_label_far_away_must_be_the_only_one(tmp_path: Path, made: Any) -> None:
    files = ["x/a.jpg", "y/a.jpg", "x/b.jpg", "boxes/a.xml", "boxes/b.xml"]
    pairs = {p.image: p.label for p in layout_of(made, tmp_path, files).pairs}
    assert pairs == {"x/a.jpg": None, "y/a.jpg": None, "x/b.jpg": "boxes/b.xml"}


def test_every_file_has_one_place(tmp_path: Path, made: Any) -> None:
    files = {
        "data.yaml": YAML,
        "images/a.jpg": "",
        "labels/a.txt": "",
        "labels/lost.txt": "",
        "labels/classes.txt": "a\nb",
        "labels/a.xml": "",
        "notes/today.txt": "",
        "README.roboflow.txt": "",
        "train.txt": "",
        "LICENSE": "",
    }
    layout = layout_of(made, tmp_path, files, source_format="yolo")
    assert layout.metadata == ("data.yaml",)
    assert layout.orphan_labels == ("labels/lost.txt",)
    placed = [
        *(pair.image for pair in layout.pairs),
        *(pair.label for pair in layout.pairs),
        *layout.orphan_labels,
        *layout.metadata,
        *layout.ignored,
    ]
    assert sorted(map(str, placed)) == sorted(files)


def test_voc_takes_its_classes_from_classes_txt_alone(tmp_path: Path, made: Any) -> None:
    files = {"a.jpg": "", "a.xml": "", "classes.txt": "b", "data.yaml": "names: [a]"}
    layout = layout_of(made, tmp_path, files)
    assert (layout.class_names, layout.metadata) == (("b",), ("classes.txt",))
    assert layout.ignored == ("data.yaml",)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            ["labels/a.txt", "x.gif"],
            r"found 1 .txt, 1 .gif\): holds no picture; give pictures as jpg",
        ),
        (["a.txt", "a.tar.gz"], r"holds no picture; unpack a\.tar\.gz: archives are not read"),
        (["data.yaml"], "holds no picture.*places that a data.yaml names are not followed"),
        (["a.jpg", "classes.txt", "README.txt"], "no label file"),
        (["a.jpg", "annotations.json"], "found 1 .jpg, 1 .json.*no label file.*export it as YOLO"),
        (["pics/a.jpg", "ground truth/a.txt"], "is no layout that is known.*ground truth/a.txt"),
        (["a.jpg", "x/b.xml"], "is no layout that is known"),
        (["a.jpg", "images\\b.jpg"], r"'images\\\\b.jpg': holds a backslash.*unpack with 7z or"),
        (
            ["a.jpg", "a.txt", "b.jpg", "b.xml"],
            "1 pictures in yolo and 1 pictures in voc.*set source",
        ),
    ],
)
def test_sources_without_a_layout(tmp_path: Path, made: Any, files: list[str], words: str) -> None:
    with pytest.raises(SourceError, match=words):
        layout_of(made, tmp_path, files)


@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_source_format_decides_between_two(tmp_path: Path, made: Any, kind: str) -> None:
    layout = layout_of(made, tmp_path, ["a.jpg", "a.txt", "a.xml"], source_format=kind)
    suffix = {"yolo": ".txt", "voc": ".xml"}[kind]
    assert [pair.label for pair in layout.pairs] == [f"a{suffix}"]
    assert len(layout.ignored) == 1


def test_source_format_must_fit(tmp_path: Path, made: Any) -> None:
    with pytest.raises(SourceError, match=r"no label file \(\.xml\)"):
        layout_of(made, tmp_path, ["a.jpg", "a.txt"], source_format=SourceFormat.VOC)
    with pytest.raises(SourceError, match=r"source_format 'coco': is not known.*auto, yolo, voc"):
        layout_of(made, tmp_path, ["a.jpg", "a.txt"], source_format="coco")


@pytest.mark.parametrize("kind", ["yolo", "voc"])
def test_accents_are_written_in_two_ways(tmp_path: Path, made: Any, kind: str) -> None:
    """As macOS writes them into a ZIP file, and as other systems do."""
    composed, apart = "Gr\u00f6\u00dfe", "Gro\u0308\u00dfe"
    image, label = ("images", "labels/{}.txt") if kind == "yolo" else ("JPEGImages", "x/{}.xml")
    layout = layout_of(made, tmp_path, [f"{image}/{apart}.jpg", label.format(composed)])
    assert layout.pairs == (Pair(image=f"{image}/{apart}.jpg", label=label.format(composed)),)


def test_both_ways_may_lie_side_by_side(tmp_path: Path, made: Any) -> None:
    composed, apart = "\u00e9", "e\u0301"
    files = [f"{name}{suffix}" for name in (composed, apart) for suffix in (".jpg", ".txt")]
    pairs = {p.image: p.label for p in layout_of(made, tmp_path, files).pairs}
    assert pairs == {f"{name}.jpg": f"{name}.txt" for name in (composed, apart)}


def test_what_is_not_taken_as_meant_is_told(tmp_path: Path, made: Any) -> None:
    files = {"a.jpg": "", "a.png": "", "a.txt": "", "b.gif": "", "c.gif": "", "README": ""}
    source = made.source(tmp_path, files | {"data.yaml": "names: [a]\ntrain: ../x\nval: /y"})
    (source / "out").symlink_to("/etc")
    store = open_store(str(source))
    words = (
        "not in the source (train: ../x, val: /y). Its places are not followed",
        "The division of data.yaml into train and val is not taken over",
        "Label files of more than one picture: 1, for instance a.txt.",
        "Left out, as they are no files within the source: 1 link out of the source (out).",
        "Ignored, as neither picture nor label: 2 .gif, 1 without suffix.",
    )
    notes = detect_layout(store, list_source(store)).notes
    assert len(notes) == len(words)
    assert all(told in note for told, note in zip(words, notes, strict=True))
