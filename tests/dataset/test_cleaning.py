"""Cleaning: each rule on a made-up source, both layouts, and BCCD whole."""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from yololine.dataset.cleaning import Cleaned, clean_dataset
from yololine.dataset.cleaning_report import CleaningReport
from yololine.dataset.exhibits import MAX_EXHIBITS
from yololine.dataset.schema import Row, Tally, read_rows
from yololine.dataset.sources import list_source
from yololine.errors import DatasetError, SourceError
from yololine.sample import generate_sample
from yololine.storage import open_store, sha256_bytes
from yololine.storage.local import LocalStore

GOOD = "0 0.5 0.5 0.5 0.5\n"


def rows_of(cleaned: Cleaned) -> list[Row]:
    return [row for shard in cleaned.shards for row in read_rows(shard)]


def good_files(made: Any, count: int = 12) -> dict[str, Any]:
    """Enough good pictures that a few bad ones are no quarter of them."""
    files: dict[str, Any] = {"data.yaml": "names: [a, b]"}
    for i in range(count):
        files[f"images/good_{i:02d}.jpg"] = made.file(1000 + i)
        files[f"labels/good_{i:02d}.txt"] = GOOD
    return files


def clean(made: Any, folder: Path, files: dict[str, Any], **options: Any) -> Cleaned:
    cleaned: Cleaned = made.clean(made.source(folder / "in", files), folder / "out", **options)
    return cleaned


def test_a_row_is_the_picture_and_its_boxes(tmp_path: Path, made: Any) -> None:
    data = made.file(1)
    files = {
        "classes.txt": "a\nb",
        "images/day 1/x.jpg": data,
        "labels/day 1/x.txt": "1 0.5 0.5 0.5 0.5\n0 0.25 0.25 0.1 0.2\n",
    }
    cleaned = clean(made, tmp_path, files)
    [row] = rows_of(cleaned)
    assert row.image_id == sha256_bytes(data)[:20]
    assert row.file_name == "images/day 1/x.jpg"
    assert (row.image_bytes, row.sha256, row.suffix) == (data, sha256_bytes(data), ".jpg")
    assert (row.width, row.height) == (64, 48)
    np.testing.assert_allclose(row.boxes_xywh, [[16, 12, 32, 24], [12.8, 7.2, 6.4, 9.6]], atol=1e-5)
    assert row.categories.tolist() == [1, 0]
    assert cleaned.class_names == ("a", "b")
    assert cleaned.objects_per_class == {"a": 1, "b": 1}
    assert cleaned.exhibits == {}


@pytest.mark.parametrize(
    ("extra", "dropped", "detail"),
    [
        ({"images/x.jpg": b"GIF89a", "labels/x.txt": GOOD}, "not a readable picture", "a GIF"),
        ({"images/x.jpg": "half", "labels/x.txt": GOOD}, "truncated picture", "truncated"),
        ({"images/x.jpg": "tiny", "labels/x.txt": GOOD}, "a side under 8 pixels", "1 x 1 px"),
        ({"images/x.jpg": 7}, "no label file", "add an empty one"),
        ({"images/x.jpg": 7, "labels/x.txt": b"\xff\xfe"}, "unreadable label file", "UTF-8"),
        ({"images/x.jpg": 1000, "labels/x.txt": GOOD}, "duplicate picture", "same labels"),
        (
            {"images/x.jpg": 1000, "labels/x.txt": ""},
            "duplicate picture",
            "same bytes as images/good_00.jpg, but its labels differ",
        ),
        ({"images/x.jpg": 1000}, "duplicate picture", "without a label file"),
        (
            {"images/x.jpg": 1000, "labels/x.txt": b"\xff"},
            "duplicate picture",
            "its label file is unreadable",
        ),
        (
            {"images/x.jpg": 7, "labels/x.txt": "5 0.5 0.5 0.5 0.5\n0 0.5 0.5 0 0\n"},
            "no valid box left",
            "2 in labels/x.txt, all faulty; line 1: unknown class: class 5, but 2 classes",
        ),
    ],
)
def test_reasons_to_drop_a_picture(
    tmp_path: Path, made: Any, extra: dict[str, Any], dropped: str, detail: str
) -> None:
    contents = {
        "half": made.file(7)[:-300],
        "tiny": made.file(image=made.picture(size_wh=(1, 1)), kind="PNG"),
    }
    given = extra["images/x.jpg"]
    picture = made.file(given) if isinstance(given, int) else contents.get(given, given)
    cleaned = clean(made, tmp_path, good_files(made) | extra | {"images/x.jpg": picture})
    report = cleaned.report
    assert report.dropped_images_by_reason == {dropped: 1}
    [file] = [file for file in report.dropped_files if file.file == "images/x.jpg"]
    assert file.reason == dropped
    assert detail in file.detail
    lost_labels = len(extra) - 1
    assert report.dropped_files_by_reason == {dropped: 1} | (
        {"its picture was dropped": 1} if lost_labels else {}
    )
    assert cleaned.images == report.images.kept == 12
    assert "images/x.jpg" not in {row.file_name for row in rows_of(cleaned)}
    decodes = dropped not in {
        "not a readable picture",
        "truncated picture",
        "a side under 8 pixels",
    }
    assert bool(cleaned.exhibits) is decodes
    if decodes:
        assert cleaned.exhibits[file.exhibit]


def test_a_label_without_picture_is_dropped(tmp_path: Path, made: Any) -> None:
    report = clean(made, tmp_path, good_files(made) | {"labels/lost.txt": GOOD}).report
    assert [(f.file, f.reason) for f in report.dropped_files] == [
        ("labels/lost.txt", "label file without picture")
    ]
    assert (report.files.dropped, report.images.dropped) == (1, 0)


def test_an_empty_label_is_a_background(tmp_path: Path, made: Any) -> None:
    files = good_files(made) | {"images/x.jpg": made.file(7), "labels/x.txt": "\n"}
    cleaned = clean(made, tmp_path, files)
    assert (cleaned.images, cleaned.report.images.background) == (13, 1)
    [row] = [row for row in rows_of(cleaned) if row.file_name == "images/x.jpg"]
    assert row.boxes_xywh.shape == (0, 4)


def test_a_faulty_box_goes_and_its_picture_stays(tmp_path: Path, made: Any) -> None:
    files = good_files(made) | {
        "images/x.jpg": made.file(7),
        "labels/x.txt": f"{GOOD}0 0.5 0.5 0 0.5\n0 2.5 0.5 0.2 0.2\nx 1 1 1 1\n",
    }
    cleaned = clean(made, tmp_path, files)
    report = cleaned.report
    assert [(f.file, f.line, f.reason) for f in report.box_faults] == [
        ("labels/x.txt", 2, "zero extent"),
        ("labels/x.txt", 3, "box outside image"),
        ("labels/x.txt", 4, "not a number"),
    ]
    assert report.dropped_boxes_by_reason == {
        "zero extent": 1,
        "box outside image": 1,
        "not a number": 1,
    }
    assert (report.boxes.total, report.boxes.kept, report.boxes.dropped) == (16, 13, 3)
    assert (report.images.dropped, cleaned.images) == (0, 13)
    assert {f.exhibit for f in report.box_faults} == {"01-zero-extent.jpg"}
    exhibit = Image.open(io.BytesIO(cleaned.exhibits["01-zero-extent.jpg"])).convert("RGB")
    # The box without width stands in the middle; the picture is drawn twice as large.
    red, green, blue = np.asarray(exhibit)[30:66, 64].mean(axis=0)
    assert red > max(green, blue) + 60


def test_two_pictures_may_share_a_label(tmp_path: Path, made: Any) -> None:
    files = good_files(made) | {
        "images/x.jpg": made.file(7),
        "images/x.png": made.file(7, kind="PNG"),
        "labels/x.txt": GOOD,
    }
    cleaned = clean(made, tmp_path, files)
    assert cleaned.images == 14
    assert cleaned.report.files.kept == len(files)


def test_the_same_picture_in_another_container_is_of_one_group(tmp_path: Path, made: Any) -> None:
    jpeg = made.file(7)
    with Image.open(io.BytesIO(jpeg)) as image:
        png, tiff = (made.file(image=image.convert("RGB"), kind=kind) for kind in ("PNG", "TIFF"))
    files = good_files(made)
    for name, data in (("x.jpg", jpeg), ("y.png", png), ("z.tiff", tiff)):
        files |= {f"images/{name}": data, f"labels/{name[0]}.txt": GOOD}
    rows = rows_of(clean(made, tmp_path, files))
    assert len({row.group for row in rows if row.file_name[7] in "xyz"}) == 1
    assert len({row.group for row in rows}) == 13
    assert len({row.image_id for row in rows}) == 15


def test_odd_pictures_are_stored_as_rgb_png_and_counted(tmp_path: Path, made: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    odd = {
        "p.png": made.file(image=made.picture(1).convert("RGBA"), kind="PNG"),
        "q.jpg": made.file(image=made.picture(2).convert("CMYK")),
        "r.jpg": made.file(3, exif=exif),
        "s.tif": made.file(4, kind="TIFF"),
    }
    files = good_files(made)
    for name, data in odd.items():
        files |= {f"images/{name}": data, f"labels/{name[0]}.txt": GOOD}
    cleaned = clean(made, tmp_path, files)
    assert cleaned.report.normalised == 4
    [note] = [note for note in cleaned.report.notes if "stored anew" in note]
    for change in ("mode RGBA", "mode CMYK", "EXIF orientation", "TIFF"):
        assert f"1 {change}" in note
    for row in rows_of(cleaned):
        assert row.sha256 == sha256_bytes(row.image_bytes)
        with Image.open(io.BytesIO(row.image_bytes)) as image:
            assert image.size == (row.width, row.height)
            assert image.mode == "RGB"
        if (data := odd.get(row.file_name.removeprefix("images/"))) is not None:
            assert row.image_id == sha256_bytes(data)[:20]
            assert row.suffix == ".png"
    [turned] = [row for row in rows_of(cleaned) if row.file_name == "images/r.jpg"]
    assert (turned.width, turned.height) == (48, 64)


@pytest.mark.parametrize(
    ("made_for", "detail"),
    [
        ((64, 48), None),
        (None, None),
        ((640, 480), "x.xml is for (640, 480) px, it has (64, 48)"),
        ((48, 64), "it has (64, 48) once EXIF's orientation is applied"),
    ],
)
def test_voc_labels_of_another_size(
    tmp_path: Path, made: Any, made_for: tuple[int, int] | None, detail: str | None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = made.picture(size_wh=(48, 64))
    files = {"x.jpg": made.file(image=turned, exif=exif)}
    files["x.xml"] = made.voc(("a", (1, 1, 30, 30)), size_wh=made_for)
    for i in range(4):
        files |= {f"{i}.jpg": made.file(i), f"{i}.xml": made.voc(("a", (1, 1, 30, 30)))}
    report = clean(made, tmp_path, files).report
    if detail is None:
        assert report.images.dropped == 0
    else:
        [file] = [file for file in report.dropped_files if file.file == "x.jpg"]
        assert file.reason == "label made for another picture size"
        assert file.detail.endswith(detail)


def test_yolo_classes_that_no_file_names(tmp_path: Path, made: Any) -> None:
    files = {
        "images/a.jpg": made.file(1),
        "labels/a.txt": "2 0.5 0.5 0.5 0.5\n4000000 0.5 0.5 0.2 0.2\n",
        "images/b.jpg": made.file(2),
        "labels/b.txt": GOOD,
    }
    cleaned = clean(made, tmp_path, files)
    assert cleaned.class_names == ("class_0", "class_1", "class_2")
    assert cleaned.report.class_names_guessed
    assert "class_0 to class_2 were made up" in cleaned.report.notes[0]
    assert "No object of class_1." in cleaned.report.notes
    assert cleaned.report.dropped_boxes_by_reason == {"unknown class": 1}


def test_voc_classes_that_no_file_names(tmp_path: Path, made: Any) -> None:
    files = {
        "a.jpg": made.file(1),
        "a.xml": made.voc(("zinc", (1, 1, 30, 30)), ("acid", (9, 9, 40, 40))),
    }
    cleaned = clean(made, tmp_path, files)
    assert cleaned.class_names == ("acid", "zinc")
    assert not cleaned.report.class_names_guessed
    assert "alphabetical order" in cleaned.report.notes[0]
    named = clean(made, tmp_path / "named", files | {"classes.txt": "zinc"})
    assert named.class_names == ("zinc",)
    assert named.report.dropped_boxes_by_reason == {"unknown class": 1}


def test_ignored_files_are_counted(tmp_path: Path, made: Any) -> None:
    files = good_files(made) | {"README.md": "x", "LICENSE": "x", "notes/a.json": "{}"}
    counts = clean(made, tmp_path, files).report.files
    assert (counts.total, counts.kept, counts.dropped, counts.ignored) == (28, 25, 0, 3)


def test_progress_counts_every_picture(tmp_path: Path, made: Any) -> None:
    seen: list[tuple[int, int]] = []
    files = good_files(made) | {"images/x.jpg": b""}
    clean(made, tmp_path, files, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, 13) for i in range(1, 14)]


def test_too_many_dropped_is_refused(tmp_path: Path, made: Any) -> None:
    files = good_files(made, 3) | {"images/x.jpg": b"", "images/y.jpg": made.file(1)}
    with pytest.raises(
        DatasetError,
        match=r"2 of 5 pictures were dropped \(1 not a readable picture, 1 no label file\): "
        r"max_dropped_fraction allows 25%; mend the source, or raise max_dropped_fraction",
    ):
        clean(made, tmp_path, files)
    assert clean(made, tmp_path, files, max_dropped_fraction=0.4).images == 3
    with pytest.raises(DatasetError):
        clean(made, tmp_path, files, max_dropped_fraction=0)


@pytest.mark.parametrize(
    ("files", "words"),
    [
        (
            {"images/a.jpg": 1, "labels/a.txt": "0 30 20 10 10"},
            r"starting with images/a\.jpg \(no valid box left: .*pixels where fractions belong\?\)",
        ),
        (
            {"images/a.jpg": b"", "labels/a.txt": GOOD},
            r"no picture is left of 1: 1 not a readable.*with images/a.jpg \(.* is empty\)",
        ),
        ({"images/a.jpg": 1, "labels/a.txt": ""}, "no box is left in 1 pictures: every label"),
        ({"images/a.jpg": 1, "labels/a.txt": "9 1 1 1 1"}, "no picture is left of 1: 1 no valid"),
    ],
)
def test_nothing_left_is_refused(
    tmp_path: Path, made: Any, files: dict[str, Any], words: str
) -> None:
    files = {p: made.file(v) if isinstance(v, int) else v for p, v in files.items()}
    with pytest.raises(SourceError, match=words):
        clean(made, tmp_path, files | {"classes.txt": "a"}, max_dropped_fraction=1)


def test_the_account_of_nothing_is_an_account(tmp_path: Path, made: Any) -> None:
    files = {"images/a.jpg": b"", "labels/a.txt": GOOD, "images/b.jpg": made.file(1)}
    store = open_store(str(made.source(tmp_path / "in", files)))
    cleaned = clean_dataset(store, list_source(store), tmp_path / "out")
    assert (cleaned.images, cleaned.shards, cleaned.report.image_sizes) == (0, [], None)
    assert cleaned.report.images.dropped == 2
    assert {file.file for file in cleaned.report.dropped_files} == set(files)
    assert cleaned.exhibits


def test_files_too_large_to_be_what_they_seem_are_not_read(
    tmp_path: Path, made: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yololine.dataset.pairs.MAX_LABEL_BYTES", 100)
    monkeypatch.setattr("yololine.dataset.pairs.MAX_PICTURE_BYTES", 10_000)
    source = made.source(
        tmp_path / "in",
        good_files(made)
        | {"images/x.jpg": made.file(7), "labels/x.txt": GOOD * 10}
        | {"images/y.jpg": b"\xff" * 10_001, "labels/y.txt": GOOD},
    )
    (source / "data.yaml").unlink()
    opened: list[str] = []
    read = LocalStore.read_bytes
    monkeypatch.setattr(LocalStore, "read_bytes", lambda s, p: opened.append(p) or read(s, p))
    report = made.clean(source, tmp_path / "out").report
    assert {"labels/x.txt", "images/y.jpg"}.isdisjoint(opened)
    faults = {f.file: (f.reason, f.detail) for f in report.dropped_files}
    assert faults["images/x.jpg"] == (
        "unreadable label file",
        "labels/x.txt has 180 bytes, at most 100 are read",
    )
    assert faults["images/y.jpg"] == ("picture file of more than 512 MiB", "10001 bytes")


def test_what_is_taken_as_something_else_is_told(tmp_path: Path, made: Any) -> None:
    files = good_files(made) | {
        "data.yaml": "names: [a, A, b]",
        "labels/good_00.txt": "0 0.1 0.1 0.4 0.1 0.2 0.5\n1 0.5 0.5 0.5 0.5\n",
        "photos.gif": "",
    }
    notes = clean(made, tmp_path, files).report.notes
    assert "Ignored, as neither picture nor label: 1 .gif." in notes
    assert "Classes whose names differ in case alone: a, A. Are they one?" in notes
    assert "Polygons that became the boxes around them: 1." in notes


@pytest.mark.parametrize("change", ["removed", "grown", "label removed"])
def test_a_source_that_changes_meanwhile_is_refused(tmp_path: Path, made: Any, change: str) -> None:
    source = made.source(tmp_path / "in", good_files(made))
    store = open_store(str(source))
    listing = list_source(store)
    if change == "removed":
        (source / "images/good_03.jpg").unlink()
    elif change == "label removed":
        (source / "labels/good_03.txt").unlink()
    else:
        (source / "images/good_03.jpg").write_bytes(b"other")
    with pytest.raises(
        SourceError, match=r"good_03\.(jpg|txt): changed since the source was listed"
    ):
        clean_dataset(store, listing, tmp_path / "out")


def test_the_digest_is_of_the_content(tmp_path: Path, made: Any) -> None:
    """Whatever the layout's other files; another box, name or class makes another digest."""
    files = good_files(made)
    base = clean(made, tmp_path / "0", files)
    again = clean(made, tmp_path / "1", files | {"README.md": "words", "labels/lost.txt": GOOD})
    assert again.digest == base.digest
    assert [shard.name for shard in again.shards] == [shard.name for shard in base.shards]
    tally = Tally(base.class_names)
    for row in rows_of(base):
        tally.add(row)
    assert tally.digest() == base.digest
    others = [
        files | {"labels/good_00.txt": "0 0.5 0.5 0.5 0.51\n"},
        files | {"labels/good_00.txt": "1 0.5 0.5 0.5 0.5\n"},
        files | {"data.yaml": "names: [a, c]"},
        files | {"images/good_00.jpg": made.file(77)},
    ]
    digests = {clean(made, tmp_path / f"x{i}", f).digest for i, f in enumerate(others)}
    assert len(digests | {base.digest}) == 5


def test_exhibits_are_few_and_of_every_reason(tmp_path: Path, made: Any) -> None:
    files = good_files(made, 100)
    for i in range(30):
        files[f"images/unlabelled_{i:02d}.jpg"] = made.file(i)
    files |= {"images/zz.jpg": made.file(99), "labels/zz.txt": f"{GOOD}0 0.5 0.5 0 0\n"}
    cleaned = clean(made, tmp_path, files)
    assert len(cleaned.exhibits) == MAX_EXHIBITS
    assert cleaned.report.box_faults[0].exhibit == "02-zero-extent.jpg"
    named = Counter(file.exhibit for file in cleaned.report.dropped_files)
    assert named[""] == 30 - (MAX_EXHIBITS - 1)
    for jpeg in cleaned.exhibits.values():
        with Image.open(io.BytesIO(jpeg)) as image:
            assert image.width <= 320


def test_a_report_must_add_up(tmp_path: Path, made: Any) -> None:
    report = clean(made, tmp_path, good_files(made)).report.model_dump()
    assert CleaningReport(**report)
    for part in ("files", "images", "boxes"):
        wrong = report | {part: report[part] | {"kept": report[part]["kept"] - 1}}
        with pytest.raises(ValueError, match="does not add up"):
            CleaningReport(**wrong)


@pytest.mark.parametrize("layout", ["yolo", "voc"])
def test_the_sample_s_planted_faults_are_found(tmp_path: Path, made: Any, layout: str) -> None:
    sample = generate_sample(
        tmp_path / "in", layout=layout, images=20, seed=1, image_size_wh=(160, 120)
    )
    cleaned = made.clean(tmp_path / "in", tmp_path / "out")
    report = cleaned.report
    assert report.source_format == layout
    assert report.dropped_images_by_reason == {
        "not a readable picture": 1,
        "truncated picture": 1,
        "duplicate picture": 1,
        "no label file": 1,
    }
    assert report.dropped_files_by_reason["label file without picture"] == 1
    faults = Counter(fault.reason for fault in report.box_faults)
    assert len(faults) == 4
    assert faults.keys() >= {"unknown class", "box outside image", "zero extent"}
    stems = {Path(name).stem for fault in sample.faults for name in fault.split() if "." in name}
    found = {Path(fault.file).stem for fault in (*report.dropped_files, *report.box_faults)}
    assert found == {stem for stem in stems if stem.startswith("line4")}
    assert cleaned.images == sample.images + 4
    for name, count in sample.objects_per_class.items():
        assert cleaned.objects_per_class[name] >= count


def test_both_layouts_of_one_sample_hold_the_same(tmp_path: Path, made: Any) -> None:
    rows = {}
    for layout in ("yolo", "voc"):
        generate_sample(
            tmp_path / layout, layout=layout, images=20, seed=2, image_size_wh=(160, 120)
        )
        cleaned = made.clean(tmp_path / layout, tmp_path / f"{layout}-out")
        rows[layout] = {row.image_id: row for row in rows_of(cleaned)}
    assert rows["yolo"].keys() == rows["voc"].keys()
    for image_id, row in rows["yolo"].items():
        other = rows["voc"][image_id]
        assert row.categories.tolist() == other.categories.tolist()
        np.testing.assert_allclose(row.boxes_xywh, other.boxes_xywh, atol=1e-3)


def test_bccd(bccd_cleaned: Cleaned) -> None:
    report = bccd_cleaned.report
    assert report.source_format == "voc"
    assert bccd_cleaned.class_names == ("Platelets", "RBC", "WBC")
    assert (report.images.total, report.images.kept) == (364, 364)
    assert (report.files.total, report.files.kept, report.files.ignored) == (729, 728, 1)
    assert report.boxes.total == 361 + 4155 + 372
    assert [(f.file, f.reason) for f in report.box_faults] == [
        ("Annotations/BloodImage_00338.xml", "zero extent"),
        ("Annotations/BloodImage_00343.xml", "zero extent"),
    ]
    assert bccd_cleaned.objects_per_class == {"Platelets": 361, "RBC": 4153, "WBC": 372}
    assert report.image_sizes.width.median == 640
    assert len(bccd_cleaned.exhibits) == 2
    assert len({row.image_id for row in rows_of(bccd_cleaned)}) == 364


def test_bccd_again_is_the_same(
    bccd: Path, bccd_cleaned: Cleaned, tmp_path: Path, made: Any
) -> None:
    again = made.clean(bccd, tmp_path)
    assert again.digest == bccd_cleaned.digest
    assert [shard.name for shard in again.shards] == [s.name for s in bccd_cleaned.shards]
    assert again.report == bccd_cleaned.report
    assert again.exhibits == bccd_cleaned.exhibits
