"""What a run of the real command survives: odd names, pictures and labels, each with its outcome.

They lie in one source for each layout. That of YOLO is run to the end, a training of one epoch
included; that of Pascal VOC up to the start weights.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.e2e.faulty import (
    BOX,
    Content,
    Files,
    encoded,
    good,
    good_voc,
    photo,
    picture,
    png,
    some_corrupt,
    voc,
    write,
)
from tests.e2e.refusals import Case, Place, Refusal, check, check_whole, plain, run_case
from yololine.dataset.places import STORE_FOLDERS
from yololine.dataset.schema import Row, read_rows

pytestmark = pytest.mark.e2e


@dataclass(frozen=True)
class Odd:
    """A picture with its label, and what must have become of it.

    Attributes:
        name: Stem of both files, below images/ and labels/ or in one folder.
        image: The picture, `.jpg` unless the name says otherwise; None if there is none.
        label: The label file; None if there is none.
        reason: Why it is dropped; empty if it is kept.
        detail: Words of the reason, or what it was made into.
        boxes: How many are left.
        faults: Reasons for which boxes went, in their order.
    """

    name: str
    image: Content | None
    label: Content | None = BOX
    reason: str = ""
    detail: str = ""
    boxes: int = 1
    faults: tuple[str, ...] = ()
    size_wh: tuple[int, int] = (64, 48)


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _sixteen(shift: int = 0) -> Image.Image:
    values = np.asarray(photo(31, mode="L")).astype(np.uint16) * 257
    return Image.fromarray(values >> shift)


def _rgb_sixteen() -> bytes:
    pixels = (np.asarray(photo(32)).astype(np.uint16) * 257).astype(">u2")
    return png((64, 48), b"".join(b"\0" + row.tobytes() for row in pixels), depth=16, colour=2)


def _clear(mode: str, seed: int) -> Image.Image:
    image = photo(seed).convert("RGBA")
    image.putalpha(120)
    return image.convert(mode)


def _frames(kind: str, seed: int, **options: object) -> bytes:
    more = [photo(seed + 1), photo(seed + 2)]
    return encoded(photo(seed), kind, save_all=True, append_images=more, **options)


HUGE = 17 << 20
CUT = picture(20)[:-200]
NAMES = [
    Odd("spaces in a name", picture(1)),
    Odd("größe µ 漢字 🚗", picture(2)),
    Odd("-leading-dash", picture(3)),
    Odd("--epochs=0", picture(4)),
    Odd("new\nline", picture(5)),
    Odd("$(touch mark) `touch mark` ; & | < > * ? ' \"", picture(6)),
    Odd("%s {0} {{x}} {% x %}", picture(7)),
    Odd("<script>alert(1)</script>".replace("/", "\u2215"), picture(8)),
    Odd("dots.in.it.v1", picture(9)),
    Odd("x" * 251, picture(10)),
    Odd("/".join(["a long way down"] * 25) + "/deep", picture(11)),
    Odd("twin", picture(12)),
    Odd("TWIN", picture(13), BOX * 1 + "1 0.5 0.5 0.2 0.2\n", boxes=2),
    Odd("\u00e9", picture(14)),
    Odd("e\u0301", picture(15), BOX + "1 0.5 0.5 0.2 0.2\n", boxes=2),
]
PICTURES = [
    Odd("one pixel.png", png((1, 1)), reason="a side under 8 pixels", detail="1 x 1 px"),
    Odd("a line.png", png((10_000, 1)), reason="a side under 8 pixels", detail="10000 x 1 px"),
    Odd("a strip", picture(16, (10_000, 8)), size_wh=(10_000, 8)),
    Odd(
        "a bomb.png",
        png((10_001, 10_000), depth=1),
        reason="more than 100 megapixels",
        detail="10001 x 10000 px",
    ),
    Odd(
        "a bomb too.tif",
        encoded(Image.new("1", (10_001, 10_000)), "TIFF", compression="group4"),
        reason="more than 100 megapixels",
        detail="10001 x 10000 px",
    ),
    Odd("cmyk", encoded(photo(30, mode="CMYK")), detail="mode CMYK"),
    Odd("16 bits.png", encoded(_sixteen(), "PNG"), detail="mode I;16"),
    Odd("16 bits too.tif", encoded(_sixteen(), "TIFF"), detail="TIFF, mode I;16"),
    Odd("16 bits rgb.png", _rgb_sixteen(), detail="16 bits per channel"),
    Odd(
        "12 bits.png",
        encoded(_sixteen(4), "PNG"),
        reason="16-bit picture that uses 12 bits or fewer",
        detail="brightest value 13 of 255",
    ),
    Odd("palette.png", encoded(photo(33).quantize(16), "PNG", transparency=0), detail="mode P"),
    Odd("rgba.png", encoded(_clear("RGBA", 34), "PNG"), detail="mode RGBA"),
    Odd("grey and clear.png", encoded(_clear("LA", 35), "PNG"), detail="mode LA"),
    Odd("black and white.png", encoded(photo(36, mode="1"), "PNG"), detail="mode 1"),
    Odd("grey", encoded(photo(37, mode="L"))),
    Odd("turned", encoded(photo(38), exif=_exif(6)), detail="EXIF orientation", size_wh=(48, 64)),
    Odd("progressive", encoded(photo(39), progressive=True)),
    Odd("a png called jpg", encoded(photo(40), "PNG")),
    Odd("pages.tiff", _frames("TIFF", 41), detail="TIFF, first of 3 frames"),
    Odd("moving.webp", _frames("WEBP", 45, duration=40), detail="first of 3 frames"),
    Odd("moving too.png", _frames("PNG", 48), detail="first of 3 frames"),
    Odd(
        "a gif called jpg",
        encoded(photo(51), "GIF"),
        reason="not a readable picture",
        detail="it is a GIF",
    ),
    Odd(
        "a page called jpg",
        "<!DOCTYPE html><title>404</title>",
        reason="not a readable picture",
        detail="it is HTML",
    ),
    Odd("nothing", b"", reason="not a readable picture", detail="the file is empty"),
    Odd("cut short", CUT, reason="truncated picture", detail="truncated"),
    Odd(
        "noise",
        bytes(range(256)) * 8,
        reason="not a readable picture",
        detail="first bytes are 00 01 02",
    ),
    Odd(
        "a pointer",
        "version https://git-lfs.github.com/spec/v1\n",
        reason="not a readable picture",
        detail="Git LFS",
    ),
    Odd(
        "the same again",
        picture(1000),
        reason="duplicate picture",
        detail="same bytes as images/good_000.jpg",
    ),
]
LABELS = [
    Odd("background", picture(60), "", boxes=0),
    Odd("blank lines", picture(61), "\n \n\t\n", boxes=0),
    Odd("no label", picture(62), None, reason="no label file", detail="add an empty one"),
    Odd("byte order mark", picture(63), "\ufeff" + BOX),
    Odd("windows", picture(64), BOX.replace("\n", "\r\n") + "\r\n"),
    Odd("tabs", picture(65), "0\t0.5\t0.5\t0.5\t0.5 \t \n"),
    Odd("a class with a point", picture(66), "1.0 0.5 0.5 0.5 0.5\n"),
    Odd("a polygon", picture(67), "0 0.1 0.1 0.6 0.1 0.6 0.7 0.1 0.7\n"),
    Odd(
        "utf-16",
        picture(68),
        BOX.encode("utf-16"),
        reason="unreadable label file",
        detail="is no UTF-8 text, but UTF-16",
    ),
    Odd(
        "a huge label",
        picture(69),
        b"huge",
        reason="unreadable label file",
        detail="17825792 bytes, at most 16777216",
    ),
    Odd("one of two", picture(70), BOX + "7 0.5 0.5 0.5 0.5\n", faults=("unknown class",)),
    Odd("a class below 0", picture(71), BOX + "-1 0.5 0.5 0.5 0.5\n", faults=("unknown class",)),
    Odd("outside", picture(72), BOX + "0 1.5 0.5 0.5 0.5\n", faults=("box outside image",)),
    Odd("without area", picture(73), BOX + "0 0.5 0.5 0 0.5\n", faults=("zero extent",)),
    Odd(
        "no number",
        picture(74),
        BOX + "0 0.5 0.5 a 0.5\n0 0.5 0.5 0_5 1\n",
        faults=("not a number",) * 2,
    ),
    Odd(
        "no finite number",
        picture(75),
        BOX + "0 nan 0.5 0.5 0.5\n0 0.5 1e400 1 1\n",
        faults=("not finite",) * 2,
    ),
    Odd(
        "a column too many",
        picture(76),
        BOX + "0 0.5 0.5 0.5 0.5 0.99\n",
        faults=("wrong number of columns",),
    ),
    Odd(
        "a column too few",
        picture(77),
        BOX + "0 0.5 0.5 0.5\n",
        faults=("wrong number of columns",),
    ),
    Odd("the same box twice", picture(78), BOX * 2, faults=("duplicate box",)),
    Odd(
        "pixels",
        picture(79),
        "0 32 24 16 12\n",
        reason="no valid box left",
        detail="pixels where fractions belong?",
        faults=("box outside image",),
    ),
    Odd("a label alone", None, BOX, reason="label file without picture", detail="add its picture"),
]
EXTERNAL = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>\n'
LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>\n'
ANNOTATIONS = [
    Odd(
        "external entity",
        picture(80),
        voc("&x;", head=EXTERNAL),
        reason="unreadable label file",
        detail="it declares a DOCTYPE",
    ),
    Odd(
        "laughs",
        picture(81),
        voc("&b;", head=LAUGHS),
        reason="unreadable label file",
        detail="it declares a DOCTYPE",
    ),
    Odd(
        "an encoding that is none",
        picture(82),
        voc(head='<?xml version="1.0" encoding="klingon"?>'),
        reason="unreadable label file",
        detail="is no",
    ),
    Odd(
        "another encoding",
        picture(83),
        voc(head='<?xml version="1.0" encoding="ISO-8859-1"?>').encode("latin1"),
    ),
    Odd(
        "cut xml",
        picture(84),
        voc()[:-30],
        reason="unreadable label file",
        detail="is no well-formed XML",
    ),
    Odd(
        "html",
        picture(85),
        "<html></html>",
        reason="unreadable label file",
        detail="its root is <html>",
    ),
    Odd(
        "deep",
        picture(86),
        "<annotation>" + "<a>" * 99 + "</a>" * 99 + "</annotation>",
        reason="unreadable label file",
        detail="nests deeper than 32",
    ),
    Odd("no size", picture(87), voc().replace("<size>", "<!-- ").replace("</size>", " -->")),
    Odd(
        "another size",
        picture(88),
        voc().replace(">64<", ">640<"),
        reason="label made for another picture size",
        detail="it has (64, 48)",
    ),
    Odd(
        "a size turned by exif",
        encoded(photo(89, (48, 64)), exif=_exif(6)),
        voc().replace(">64<", ">48<").replace("<height>48<", "<height>64<"),
        reason="label made for another picture size",
        detail="once EXIF's orientation is applied",
    ),
    Odd("no object", picture(90), "<annotation></annotation>", boxes=0),
    Odd("a name in lines", picture(91), voc(" scratch\n ")),
    Odd(
        "difficult",
        picture(92),
        voc(tail="<segmented>0</segmented>").replace("</name>", "</name><difficult>1</difficult>"),
    ),
    Odd("floats", picture(93), voc(box=(8.25, 8.5, 40.75, 40.0))),
    Odd(
        "swapped",
        picture(94),
        voc(box=(40, 8, 8, 40)),
        reason="no valid box left",
        detail="max lies before min: x 40 to 8",
        faults=("zero extent",),
    ),
    Odd(
        "fractions",
        picture(95),
        voc(box=(0.1, 0.1, 0.6, 0.6)),
        reason="no valid box left",
        detail="fractions where pixels belong?",
        faults=("zero extent",),
    ),
    Odd(
        "infinite",
        picture(96),
        voc(box=(8, 8, float("inf"), 40)),
        reason="no valid box left",
        detail="not finite",
        faults=("not finite",),
    ),
    Odd(
        "a box without a side",
        picture(97),
        voc().replace("<xmin>8</xmin>", ""),
        reason="no valid box left",
        detail="bndbox lacks xmin",
        faults=("incomplete object",),
    ),
]
YOLO = [*NAMES, *PICTURES, *LABELS]


class Survived:
    """A run on a source of odd things, up to where it was told to end."""

    def __init__(self, refusal: Refusal) -> None:
        self.refusal = refusal
        self.record = refusal.records["clean_dataset"]
        self.facts = self.record.facts
        self.dropped = {item["file"]: item for item in self.facts["dropped_files"]}
        shards = sorted(refusal.place.store.glob("datasets/*/*.parquet"))
        self.rows: dict[str, Row] = {
            row.file_name: row for shard in shards for row in read_rows(shard)
        }
        self.faults: dict[str, list[str]] = {}
        for fault in self.facts["box_faults"]:
            self.faults.setdefault(fault["file"], []).append(fault["reason"])


def _image(odd: Odd, folder: str) -> str:
    has_suffix = odd.name.endswith((".png", ".tif", ".tiff", ".webp"))
    return f"{folder}/{odd.name}" + ("" if has_suffix else ".jpg")


def _label(odd: Odd, folder: str, suffix: str) -> str:
    stem = _image(odd, "").rpartition(".")[0].removeprefix("/")
    return f"{folder}/{stem}{suffix}"


def _source(files: Files, odds: list[Odd], *kind: str) -> Callable[[Path], None]:
    """Good files, odd ones, and what no listing has."""
    images, labels, suffix = kind
    whole = dict(files)
    for odd in odds:
        if odd.image is not None:
            whole[_image(odd, images)] = odd.image
        if odd.label is not None:
            whole[_label(odd, labels, suffix)] = odd.label

    def make(root: Path) -> None:
        write(root, whole)
        for path in root.rglob("a huge label.txt"):
            os.truncate(path, HUGE)
        os.mkfifo(root / "a [bold] pipe\x1b[2J.jpg")
        (root / "a link out.jpg").symlink_to("/etc/hostname")
        (root / "a circle").symlink_to("a circle")
        write(root, {"moving.gif": encoded(photo(1), "GIF"), "README": "", ".hidden/a.jpg": ""})

    return make


def _up_to_the_weights(place: Place) -> dict[str, object]:
    """Start weights that are refused, so that nothing is trained."""
    return {
        "max_dropped_fraction": 1,
        "weights_uri": place.file("best.pt", "no weights"),
        "weights_sha256": "0" * 64,
    }


def _tenth(place: Place) -> dict[str, object]:
    return _up_to_the_weights(place) | {"max_dropped_fraction": 0.25}


PAIRED = {
    "images/two.jpg": picture(61_000),
    "images/two.png": encoded(photo(61_001), "PNG"),
    "labels/two.txt": BOX,
    "images/Gro\u0308\u00dfe.jpg": picture(61_002),
    "labels/Gr\u00f6\u00dfe.txt": BOX,
}
REFUSED = {"words": ("best.pt with sha256",), "step": "prepare_weights"}
RUNS = {
    # To the end: what is kept must be fit to be altered, trained on, scored and shown.
    "yolo": Case(
        "yolo",
        {
            "max_dropped_fraction": 1,
            "augmentation_policy": "standard",
            "augmentation_copies": 1,
            "batch_size": 16,
        },
        words=("registered",),
        source=_source(good(40) | PAIRED, YOLO, "images", "labels", ".txt"),
        step="",
        code=0,
    ),
    "voc": Case(
        "voc",
        _up_to_the_weights,
        source=_source(good_voc(40), ANNOTATIONS, "JPEGImages", "Annotations", ".xml"),
        **REFUSED,
    ),
    "tenth": Case("tenth", _tenth, source=some_corrupt(2, 18), **REFUSED),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Refusal]]]:
    with ThreadPoolExecutor(len(RUNS)) as pool:
        yield {
            name: pool.submit(run_case, case, tmp_path_factory.mktemp(name))
            for name, case in RUNS.items()
        }


@pytest.fixture(scope="module")
def yolo(runs: dict[str, Future[Refusal]]) -> Survived:
    return Survived(runs["yolo"].result())


@pytest.fixture(scope="module")
def voc_run(runs: dict[str, Future[Refusal]]) -> Survived:
    return Survived(runs["voc"].result())


def test_a_run_on_odd_files_succeeds(yolo: Survived) -> None:
    run = yolo.refusal
    assert run.exit_code == 0, run.output
    assert all(record.error is None for record in run.records.values())
    assert "Traceback" not in run.output
    assert (run.changed_source, run.left_in_temporary) == ([], [])
    check_whole(run.place.store, failed="")
    # What a source may not be, as a run would read there what it writes.
    assert {path.name for path in run.place.store.iterdir()} == set(STORE_FOLDERS)
    assert not list(run.place.folder.rglob("mark"))


def test_a_run_on_odd_annotations_ends_where_it_was_told_to(
    runs: dict[str, Future[Refusal]],
) -> None:
    check(RUNS["voc"], runs["voc"].result())


def _became(odd: Odd, run: Survived, image: str, label: str) -> None:
    assert run.faults.get(label, []) == list(odd.faults)
    if odd.reason:
        file = image if odd.image is not None else label
        assert file not in run.rows
        assert run.dropped[file]["reason"] == odd.reason
        assert odd.detail in run.dropped[file]["detail"]
        assert plain(file) in run.refusal.report
        return
    row = run.rows[image]
    assert (row.width, row.height) == odd.size_wh
    assert len(row.categories) == odd.boxes
    assert image not in run.dropped
    if not odd.detail:
        assert row.image_bytes == odd.image
        return
    [changed] = [note for note in run.record.notes if "stored anew" in note]
    assert odd.detail in changed
    assert row.suffix == ".png"
    with Image.open(io.BytesIO(row.image_bytes)) as image:
        assert (image.mode, image.size) == ("RGB", odd.size_wh)


def _named(odd: Odd) -> str:
    return odd.name


@pytest.mark.parametrize("odd", YOLO, ids=_named)
def test_what_becomes_of_odd_things(odd: Odd, yolo: Survived) -> None:
    _became(odd, yolo, _image(odd, "images"), _label(odd, "labels", ".txt"))


@pytest.mark.parametrize("odd", ANNOTATIONS, ids=_named)
def test_what_becomes_of_odd_annotations(odd: Odd, voc_run: Survived) -> None:
    image, label = _image(odd, "JPEGImages"), _label(odd, "Annotations", ".xml")
    _became(odd, voc_run, image, label)


def test_every_file_is_accounted_for(yolo: Survived, voc_run: Survived) -> None:
    for run in (yolo, voc_run):
        source, files = run.refusal.place.source, run.facts["files"]
        listed = [
            path
            for path in source.rglob("*")
            if path.is_file() and not path.is_symlink() and ".hidden" not in path.parts
        ]
        assert files["total"] == len(listed)
        assert files["kept"] + files["dropped"] + files["ignored"] == files["total"]
        images, boxes = run.facts["images"], run.facts["boxes"]
        assert images["kept"] == len(run.rows)
        assert images["dropped"] == sum(run.facts["dropped_images_by_reason"].values())
        assert boxes["kept"] == sum(len(row.categories) for row in run.rows.values())
        assert boxes["dropped"] == sum(run.facts["dropped_boxes_by_reason"].values())


def test_wrong_labels_are_shown_by_reason_with_pictures(yolo: Survived) -> None:
    reasons = {fault for odd in YOLO for fault in odd.faults}
    assert reasons <= yolo.facts["dropped_boxes_by_reason"].keys()
    for reason in (*reasons, *(odd.reason for odd in YOLO if odd.reason)):
        assert reason in yolo.refusal.report
    shown = {fault["reason"] for fault in yolo.facts["box_faults"] if fault["exhibit"]}
    assert reasons - {"not a number", "not finite", "wrong number of columns"} <= shown
    store = yolo.refusal.place.store
    assert all((store / path).stat().st_size for path in yolo.record.exhibits.values())


@pytest.mark.parametrize(
    "words",
    [
        "Label files of more than one picture: 1, for instance labels/two.txt.",
        "1 link out of the source (a link out.jpg)",
        "1 link to nothing (a circle)",
        r"1 pipe (a [bold] pipe\x1b[2J.jpg)",
        "Ignored, as neither picture nor label: ",
        "1 .gif",
        "Polygons that became the boxes around them: 1.",
    ],
)
def test_what_is_not_taken_as_meant_is_told(words: str, yolo: Survived) -> None:
    assert any(words in note for note in yolo.record.notes)
    assert words in yolo.refusal.report
    assert words in yolo.refusal.log("clean_dataset")


def test_accents_written_in_two_ways_pair(yolo: Survived) -> None:
    assert len(yolo.rows["images/Gro\u0308\u00dfe.jpg"].categories) == 1


def test_a_tenth_of_the_pictures_may_be_corrupt(runs: dict[str, Future[Refusal]]) -> None:
    refusal = runs["tenth"].result()
    check(RUNS["tenth"], refusal)
    facts = refusal.records["clean_dataset"].facts
    assert facts["images"] == {"total": 20, "kept": 18, "dropped": 2, "background": 0}
    assert facts["dropped_images_by_reason"] == {"not a readable picture": 2}
    assert refusal.records["augment_dataset"].error is None
