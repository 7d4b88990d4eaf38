"""The made-up inspection set: its bytes, its boxes, its planted faults and its refusals."""

import hashlib
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from yololine import sample
from yololine.errors import StoreError, UsageError
from yololine.sample import CLASS_NAMES, SampleReport, generate_sample

IMAGES = 24
SIZE_WH = (320, 240)
GOOD_STEMS = [f"line3_{number:06d}" for number in range(1, IMAGES + 1)]
FAULT_STEMS = [f"line4_{number:06d}" for number in range(1, 10)]
Labels = list[tuple[str, list[float]]]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, SampleReport]:
    out = tmp_path_factory.mktemp("sample")
    return {
        layout: generate_sample(out / layout, layout=layout, images=IMAGES, seed=3)
        for layout in ("yolo", "voc")
    }


def read_yolo(path: Path) -> Labels:
    """Class (by name, or by number where it has none) and box in pixels, xyxy."""
    labels = []
    for line in path.read_text().splitlines():
        number, *box = line.split()
        cx, cy, w, h = (float(value) for value in box)
        edges = [cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2]
        known = int(number) < len(CLASS_NAMES)
        name = CLASS_NAMES[int(number)] if known else number
        labels.append((name, [edge * SIZE_WH[axis % 2] for axis, edge in enumerate(edges)]))
    return labels


def read_voc(path: Path) -> Labels:
    root = ElementTree.parse(path).getroot()
    assert root.findtext("filename") == f"{path.stem}.jpg"
    size_wh = (int(root.findtext("size/width", "")), int(root.findtext("size/height", "")))
    assert size_wh == SIZE_WH
    return [
        (
            item.findtext("name", ""),
            [float(item.findtext(f"bndbox/{key}", "")) for key in ("xmin", "ymin", "xmax", "ymax")],
        )
        for item in root.iter("object")
    ]


def read(report: SampleReport, stem: str) -> Labels:
    if report.layout == "yolo":
        return read_yolo(report.out / "labels" / f"{stem}.txt")
    return read_voc(report.out / "Annotations" / f"{stem}.xml")


def image_path(report: SampleReport, stem: str) -> Path:
    folder = "images" if report.layout == "yolo" else "JPEGImages"
    return report.out / folder / f"{stem}.jpg"


def digests(root: Path) -> dict[str, str]:
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in root.rglob("*")
        if path.is_file()
    }


def test_same_seed_same_bytes_and_a_smaller_set_is_a_part_of_a_larger(
    reports: dict[str, SampleReport], tmp_path: Path
) -> None:
    steps: list[tuple[int, int]] = []
    generate_sample(
        tmp_path / "less", images=20, seed=3, progress=lambda done, of: steps.append((done, of))
    )
    less, more = digests(tmp_path / "less"), digests(reports["yolo"].out)
    assert steps == [(done, 20) for done in range(1, 21)]
    assert less.items() <= more.items()
    extra = {Path(name).stem for name in more.keys() - less.keys()}
    assert extra == set(GOOD_STEMS[20:])


def test_another_seed_draws_other_pictures() -> None:
    first, second = (sample._scene(seed, 0, SIZE_WH)[0] for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_layouts_hold_the_same_pictures_and_boxes(reports: dict[str, SampleReport]) -> None:
    yolo, voc = reports["yolo"], reports["voc"]
    assert yolo.objects_per_class == voc.objects_per_class
    for stem in GOOD_STEMS:
        assert image_path(yolo, stem).read_bytes() == image_path(voc, stem).read_bytes()
        ours, theirs = read(yolo, stem), read(voc, stem)
        assert [name for name, _ in ours] == [name for name, _ in theirs]
        for (_, ours_xyxy), (_, theirs_xyxy) in zip(ours, theirs, strict=True):
            # Six decimals of a width of 320 pixels.
            assert ours_xyxy == pytest.approx(theirs_xyxy, abs=5e-4)


@pytest.mark.parametrize("layout", ["yolo", "voc"])
def test_good_pictures_are_readable_and_counted(
    reports: dict[str, SampleReport], layout: str
) -> None:
    report = reports[layout]
    counts = dict.fromkeys(CLASS_NAMES, 0)
    backgrounds = 0
    for stem in GOOD_STEMS:
        with Image.open(image_path(report, stem)) as image:
            image.load()
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", SIZE_WH)
        labels = read(report, stem)
        backgrounds += not labels
        for name, (x1, y1, x2, y2) in labels:
            counts[name] += 1
            assert -1e-3 <= x1 < x2 <= SIZE_WH[0] + 1e-3
            assert -1e-3 <= y1 < y2 <= SIZE_WH[1] + 1e-3
    assert report.images == IMAGES
    assert counts == report.objects_per_class
    assert min(counts.values()) > 0
    assert backgrounds == IMAGES // 12


def test_class_list_is_written(reports: dict[str, SampleReport]) -> None:
    text = (reports["yolo"].out / "data.yaml").read_text()
    assert text.splitlines()[:3] == ["path: .", "train: images", "names:"]
    assert text.splitlines()[3:] == [f"  {i}: {name}" for i, name in enumerate(CLASS_NAMES)]
    assert (reports["voc"].out / "classes.txt").read_text().split() == list(CLASS_NAMES)


@pytest.mark.parametrize("layout", ["yolo", "voc"])
def test_every_planted_fault_is_there(reports: dict[str, SampleReport], layout: str) -> None:
    report = reports[layout]
    stems = FAULT_STEMS
    assert [Path(fault.split()[0]).stem for fault in report.faults] == stems

    with pytest.raises(UnidentifiedImageError):
        Image.open(image_path(report, stems[0]))
    with Image.open(image_path(report, stems[1])) as image, pytest.raises(OSError, match="trunc"):
        image.load()
    twin = image_path(report, "line3_000001").read_bytes()
    assert image_path(report, stems[2]).read_bytes() == twin
    assert read(report, stems[2]) == read(report, "line3_000001")

    name, _ = read(report, stems[3])[-1]
    assert name == {"yolo": "9", "voc": "unknown_defect"}[layout]
    _, (x1, _, _, _) = read(report, stems[4])[-1]
    assert x1 > SIZE_WH[0]
    _, (x1, _, x2, _) = read(report, stems[5])[-1]
    assert x1 == x2
    _, edges = read(report, stems[6])[-1]
    assert math.isnan(edges[0])

    assert image_path(report, stems[7]).is_file()
    with pytest.raises(FileNotFoundError):
        read(report, stems[7])
    assert not image_path(report, stems[8]).exists()
    assert read(report, stems[8])


@pytest.mark.parametrize("layout", ["yolo", "voc"])
def test_no_other_file_is_faulty(reports: dict[str, SampleReport], layout: str) -> None:
    """Each faulty file has one fault: what a check finds there is what was planted."""
    report = reports[layout]
    pictures = {path.stem for path in image_path(report, "x").parent.iterdir()}
    labels = {Path(name).stem for name in digests(report.out) if name.startswith(("lab", "Ann"))}
    assert pictures - labels == {"line4_000008"}
    assert labels - pictures == {"line4_000009"}
    for stem in FAULT_STEMS[3:7]:
        good = read(report, stem)[:-1]
        assert good
        assert all(name in CLASS_NAMES for name, _ in good)
        assert all(np.all(np.isfinite(box)) for _, box in good)


def test_boxes_are_tight() -> None:
    """Compare each strip with itself before anything hit it."""
    edge_fractions: list[float] = []
    for index in range(11):
        photo, labels = sample._scene(5, index, SIZE_WH)
        clean, none = sample._scene(5, index, SIZE_WH, defects=False)
        assert labels
        assert not none
        change = np.abs(photo.astype(int) - clean.astype(int)).max(axis=2)
        outside = np.ones(change.shape, bool)
        for _, box in labels:
            x1, y1, x2, y2 = (int(edge) for edge in box)
            outside[max(y1 - 3, 0) : y2 + 3, max(x1 - 3, 0) : x2 + 3] = False
            # Each outermost row and column of the box shows something of the defect.
            inside = change[y1:y2, x1:x2]
            assert min(inside[0].max(), inside[-1].max()) >= 6
            assert min(inside[:, 0].max(), inside[:, -1].max()) >= 6
            edge_fractions.append(max(x2 - x1, y2 - y1) / min(SIZE_WH))
        # Beyond 3 pixels from every box only a halo or a fading tail is left.
        assert (change[outside] > 25).mean() < 1e-3
    assert np.median(edge_fractions) > 0.15
    assert min(edge_fractions) > 0.07


def test_defects_do_not_share_a_box() -> None:
    for index in range(11):
        _, labels = sample._scene(8, index, SIZE_WH)
        boxes = [box for _, box in labels]
        for number, a in enumerate(boxes):
            for b in boxes[:number]:
                assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@pytest.mark.parametrize("size_wh", [(64, 64), (64, 200), (500, 90)])
def test_odd_image_sizes(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    report = generate_sample(tmp_path / "out", images=20, image_size_wh=size_wh)
    assert sum(report.objects_per_class.values()) > 10
    with Image.open(image_path(report, "line3_000001")) as image:
        assert image.size == size_wh


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"layout": "coco"}, "layout 'coco'.*yolo or voc"),
        ({"images": 19}, "images 19.*20 or more"),
        ({"images": 10**9}, "images 1000000000.*1000000 or fewer"),
        ({"image_size_wh": (320, 63)}, "image size 320x63.*64 pixels"),
        ({"seed": -1}, "seed -1.*0 or more"),
    ],
)
def test_refusal_leaves_nothing(tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        generate_sample(tmp_path / "new" / "out", **change)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("out", "words"),
    [
        ("/dev/null/set", "a file and a folder want the same name"),
        (f"/tmp/{'x' * 300}", "the name is longer than the disk allows"),
    ],
)
def test_a_folder_that_cannot_be_made_is_told(out: str, words: str) -> None:
    with pytest.raises(StoreError, match=words):
        generate_sample(Path(out), images=20)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_never_writes_over_anything(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "out"
    kept = out if kind == "file" else out / "kept.txt"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    with pytest.raises(UsageError, match="not an empty folder"):
        generate_sample(out, images=20)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept]
    assert kept.read_text() == "mine"


@pytest.mark.parametrize("existed", [False, True])
def test_interruption_leaves_nothing(tmp_path: Path, existed: bool) -> None:
    def stop(done: int, _: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "out"
    if existed:
        out.mkdir()
    with pytest.raises(KeyboardInterrupt):
        generate_sample(out, images=20, image_size_wh=(64, 64), progress=stop)
    assert list(tmp_path.rglob("*")) == ([out] if existed else [])


def test_fills_an_empty_folder_in_place(tmp_path: Path) -> None:
    inode = tmp_path.stat().st_ino
    generate_sample(tmp_path, images=20, image_size_wh=(64, 64))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.yaml", "images", "labels"]
    assert tmp_path.stat().st_ino == inode
