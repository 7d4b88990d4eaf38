"""Policies and the copies they make."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from yololine.dataset.augmentation import (
    MAX_EXHIBITS,
    Augmented,
    Policy,
    augment,
    load_policy,
)
from yololine.dataset.cleaning import Cleaned
from yololine.dataset.policies import builtin_policies
from yololine.dataset.schema import Row, Tally, read_index, read_rows
from yololine.dataset.splitting import split_dataset
from yololine.errors import DatasetError
from yololine.storage import sha256_bytes

SPLITS = ("train", "train", "val", "train", "test", "train")
CATEGORIES = [(0,), (1, 2), (0,), (), (1,), (2, 2, 0)]


@pytest.fixture(scope="module")
def dataset(
    made: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[list[Path], dict[str, str]]:
    shards = made.shards(tmp_path_factory.mktemp("shards"), CATEGORIES)
    ids = [row.image_id for shard in shards for row in read_rows(shard, images=False)]
    return shards, dict(zip(ids, SPLITS, strict=True))


@pytest.fixture(scope="module")
def standard() -> Policy:
    return load_policy("standard")


def policy_file(folder: Path, *transforms: dict[str, Any], text: str = "") -> str:
    path = folder / "policy.yaml"
    document = {
        "__version__": "2.0.8",
        "transform": {"__class_fullname__": "Compose", "p": 1.0, "transforms": list(transforms)},
    }
    path.write_text(text or yaml.safe_dump(document))
    return str(path)


def transform(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"__class_fullname__": name, "p": 1.0, **arguments}


def rows_of(made: Augmented) -> list[Row]:
    return [row for shard in made.shards for row in read_rows(shard)]


def test_built_in_policies(standard: Policy) -> None:
    assert builtin_policies() == ("none", "standard")
    assert {"HorizontalFlip", "VerticalFlip", "Affine"} <= set(standard.transform_names)
    assert len(standard.sha256) == 64
    assert load_policy("standard").sha256 == standard.sha256
    nothing = load_policy("none")
    assert (nothing.compose, nothing.transform_names) == (None, ())


def test_standard_is_what_albumentations_writes() -> None:
    """So that their tools, and their successor, read it."""
    import albumentations as A  # noqa: N812 - their own spelling

    import yololine.dataset

    path = Path(yololine.dataset.__file__).with_name("policies") / "standard.yaml"
    written = io.StringIO()
    A.save(A.load(path, data_format="yaml"), written, data_format="yaml")
    assert path.read_text() == written.getvalue()


def test_copies_are_of_train_images_alone(tmp_path: Path, dataset: Any, standard: Policy) -> None:
    shards, assignments = dataset
    made = augment(shards, assignments, tmp_path, standard, copies=2, seed=0)
    originals = {row.image_id: row for shard in shards for row in read_rows(shard)}
    train = [image_id for image_id, split in assignments.items() if split == "train"]
    copies = rows_of(made)
    assert [row.image_id for row in copies] == [f"{i}-a{k}" for i in train for k in (1, 2)]
    tally = Tally(("a", "b", "c"))
    for row in copies:
        tally.add(row)
        original = originals[row.image_id[:-3]]
        assert (row.group, row.file_name) == (original.group, original.file_name)
        assert row.sha256 == sha256_bytes(row.image_bytes)
        assert row.image_bytes != original.image_bytes
        assert set(row.categories.tolist()) <= set(original.categories.tolist())
        with Image.open(io.BytesIO(row.image_bytes)) as image:
            assert (image.format, image.mode) == ("JPEG", "RGB")
            assert image.size == (row.width, row.height) == (64, 48)
        x, y, w, h = row.boxes_xywh.T
        assert (row.boxes_xywh >= 0).all()
        assert (x + w <= row.width + 1e-3).all()
        assert (y + h <= row.height + 1e-3).all()
        assert (w >= 1).all()
        assert (h >= 1).all()
    assert made.images == len(copies) == 8
    assert made.objects_per_class == tally.objects_per_class
    assert made.digest == tally.digest()


def test_the_seed_decides_and_nothing_else(
    tmp_path: Path, dataset: Any, standard: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards, assignments = dataset
    one = augment(shards, assignments, tmp_path / "1", standard, copies=2, seed=0)
    monkeypatch.setattr("yololine.dataset.augmentation.THREADS", 7)
    two = augment(shards, assignments, tmp_path / "2", standard, copies=2, seed=0)
    other = augment(shards, assignments, tmp_path / "3", standard, copies=2, seed=1)
    assert [shard.name for shard in one.shards] == [shard.name for shard in two.shards]
    assert (one.digest, one.exhibits) == (two.digest, two.exhibits)
    assert one.digest != other.digest


def test_a_copy_depends_on_no_other(tmp_path: Path, dataset: Any, standard: Policy) -> None:
    shards, assignments = dataset
    whole = augment(shards, assignments, tmp_path / "1", standard, copies=3, seed=0)
    last = max(i for i, split in enumerate(assignments.values()) if split == "train")
    alone = dict.fromkeys(assignments, "val") | {list(assignments)[last]: "train"}
    part = augment(shards, alone, tmp_path / "2", standard, copies=1, seed=0)
    [copy] = rows_of(part)
    [same] = [row for row in rows_of(whole) if row.image_id == copy.image_id]
    assert copy.image_bytes == same.image_bytes


def test_transforms_come_independently(tmp_path: Path, dataset: Any) -> None:
    """Two flips of one probability: all four outcomes occur."""
    shards, assignments = dataset
    flips = [transform(name, p=0.5) for name in ("HorizontalFlip", "VerticalFlip")]
    policy = load_policy(policy_file(tmp_path, *flips))
    made = augment(shards, assignments, tmp_path / "out", policy, copies=20, seed=0)
    first = next(iter(assignments))
    corners = {
        tuple((row.boxes_xywh[0, :2] > 20).tolist())
        for row in rows_of(made)
        if row.image_id.startswith(first)
    }
    assert len(corners) == 4


def test_boxes_move_with_the_pixels(tmp_path: Path, made: Any) -> None:
    shards = made.shards(tmp_path / "in", [(1,)])
    [original] = [row for shard in shards for row in read_rows(shard)]
    policy = load_policy(policy_file(tmp_path, transform("HorizontalFlip")))
    done = augment(shards, {original.image_id: "train"}, tmp_path / "o", policy, copies=1, seed=0)
    [copy] = rows_of(done)
    x, y, w, h = original.boxes_xywh[0]
    np.testing.assert_allclose(copy.boxes_xywh, [[64 - x - w, y, w, h]], atol=1e-4)
    before = Image.open(io.BytesIO(original.image_bytes)).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    after = Image.open(io.BytesIO(copy.image_bytes))
    assert np.abs(np.asarray(before).astype(int) - np.asarray(after)).mean() < 3


@pytest.mark.parametrize(("x_min", "kept"), [(10, 1), (14, 1), (17, 0)])
def test_boxes_of_which_little_is_left_are_dropped(
    tmp_path: Path, made: Any, x_min: int, kept: int
) -> None:
    """Of a box from x 1.5 to 21.5, a crop leaves 58 %, 38 % or 23 %."""
    shards = made.shards(tmp_path / "in", [(1,), (1,) * 8])  # of the second, some boxes are left
    ids = [row.image_id for shard in shards for row in read_rows(shard)]
    crop = transform("Crop", x_min=x_min, y_min=0, x_max=64, y_max=48)
    policy = load_policy(policy_file(tmp_path, crop))
    done = augment(shards, dict.fromkeys(ids, "train"), tmp_path / "o", policy, copies=1, seed=0)
    copy = rows_of(done)[0]
    assert copy.width == 64 - x_min
    assert len(copy.categories) == kept


@pytest.mark.parametrize(("name", "copies"), [("none", 3), ("standard", 0)])
def test_no_copies(tmp_path: Path, dataset: Any, name: str, copies: int) -> None:
    shards, assignments = dataset
    made = augment(shards, assignments, tmp_path, load_policy(name), copies=copies, seed=0)
    assert (made.shards, made.images, made.exhibits) == ([], 0, {})
    assert made.objects_per_class == {"a": 0, "b": 0, "c": 0}


def test_negative_copies_are_refused(tmp_path: Path, dataset: Any, standard: Policy) -> None:
    with pytest.raises(DatasetError, match="copies -1: must be 0 or more"):
        augment(*dataset, tmp_path, standard, copies=-1, seed=0)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("strong", "policy 'strong': is not known; use none, standard, or the path"),
        ("", "policy '': is not known"),
        ("nowhere/policy.yaml", "nowhere/policy.yaml: is not there, or is no file; use none, "),
        ("/etc/", "policy /etc/: is not there, or is no file"),
        ("/etc", "policy /etc: is not there, or is no file"),
    ],
)
def test_policies_that_are_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=words):
        load_policy(given)


def test_a_huge_file_is_no_policy(tmp_path: Path) -> None:
    file = policy_file(tmp_path, text="#" * (1 << 20) + "\n")
    with pytest.raises(DatasetError, match="has 1048577 bytes, and a policy at most 1048576"):
        load_policy(file)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("transform:\n  p: [1\nx: 2\n", r"policy\.yaml line 3: is no YAML"),
        ("transform: !!python/name:os.system\n", "line 1: is no YAML"),
        ("transform:\n  p: 1\n  p: 2\n", r"policy\.yaml line 3: p: is given twice"),
        (
            "transform:\n  __class_fullname__: Compose\n  transforms:\n  - 3\n",
            "line 4: 3: is no transform",
        ),
        ("transforms: []\n", "it has no `transform`"),
        ("- 1\n", "it has no `transform`"),
        ("transform: {p: 1}\n", "has no __class_fullname__"),
        ("transform: {__class_fullname__: Compose, transforms: 3}\n", "must be a list"),
    ],
)
def test_files_that_are_no_policy(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DatasetError, match=words):
        load_policy(policy_file(tmp_path, text=text))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (transform("NoSuchBlur"), r"line \d+: NoSuchBlur: is no transform of Albumentations 2.0.8"),
        (transform("GaussianBlurr"), "GaussianBlurr: is no transform.*did you mean GaussianBlur"),
        (transform("os.system", command="true"), "os.system: is no transform"),
        (transform("builtins.eval"), "builtins.eval: is no transform"),
        (transform("Lambda", name="x"), "Lambda: is no transform of Albumentations"),
        (transform("HorizontalFlip", speed=3), "HorizontalFlip: .*'speed'"),
        (transform("GaussNoise", var_limit=[1, 5]), "GaussNoise: .*'var_limit' are not valid"),
        (transform("GaussNoise", std_range=[0.5, 9]), "GaussNoise: .*std_range"),
        ({"__class_fullname__": "HorizontalFlip"}, "HorizontalFlip: .*no 'p' parameter"),
        (
            transform("OneOf", transforms=[transform("Blur", blur_limit="x")]),
            r"policy\.yaml line 11: Blur: ",
        ),
        (transform("ToFloat"), "ToFloat: makes ndarray float32"),
        (transform("ToFloat") | {"p": 0.001}, "ToFloat: makes ndarray float32"),
        (transform("Normalize"), "makes ndarray float32"),
        (transform("RandomCropFromBorders", crop_left=2), "RandomCropFromBorders: "),
        (
            transform("ToGray", num_output_channels=1),
            r"line 8: ToGray: makes ndarray uint8 \(480, 640\)",
        ),
        (transform("Resize", height=10_000, width=10_001), "more than 100 megapixels"),
        (
            transform("Crop", x_min=0, y_min=0, x_max=5000, y_max=9),
            "line 8: Crop: fails on an image of 640 x 480",
        ),
    ],
)
def test_mistaken_policies_name_the_transform(
    tmp_path: Path, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(DatasetError, match=words):
        load_policy(policy_file(tmp_path, transform("VerticalFlip"), given))


def test_a_policy_may_alter_colours_alone(tmp_path: Path, dataset: Any) -> None:
    shards, assignments = dataset
    policy = load_policy(policy_file(tmp_path, transform("Blur"), transform("ToGray")))
    made = augment(shards, assignments, tmp_path / "out", policy, copies=1, seed=0)
    assert sum(made.objects_per_class.values()) == 6


def test_a_crop_may_fit_what_comes_before_it(tmp_path: Path) -> None:
    resize = transform("Resize", height=900, width=900)
    crop = transform("Crop", x_min=0, y_min=0, x_max=800, y_max=800)
    assert load_policy(policy_file(tmp_path, resize, crop)).transform_names == ("Resize", "Crop")


def test_a_class_that_another_package_registered_is_refused(tmp_path: Path) -> None:
    import albumentations as A  # noqa: N812 - their own spelling

    class Foreign(A.ImageOnlyTransform):  # type: ignore[misc]
        pass

    name = Foreign.get_class_fullname()
    with pytest.raises(DatasetError, match="Foreign: is no transform of Albumentations"):
        load_policy(policy_file(tmp_path, transform(name)))


def test_a_policy_that_fails_on_one_image_names_it(tmp_path: Path, dataset: Any) -> None:
    crop = transform("Crop", x_min=0, y_min=0, x_max=100, y_max=100)
    policy = load_policy(policy_file(tmp_path, crop))
    with pytest.raises(DatasetError, match=r"on images/00000\.jpg: fails on an image of 64 x 48"):
        augment(*dataset, tmp_path / "out", policy, copies=1, seed=0)


def test_a_policy_that_leaves_no_box_is_refused(tmp_path: Path, dataset: Any) -> None:
    crop = transform("Crop", x_min=44, y_min=28, x_max=64, y_max=48)
    policy = load_policy(policy_file(tmp_path, crop))
    words = r"policy\.yaml: leaves none of 12 boxes in its copies; crop, shift or scale less"
    with pytest.raises(DatasetError, match=words):
        augment(*dataset, tmp_path / "out", policy, copies=2, seed=0)


def test_a_policy_that_costs_many_boxes_is_told(
    tmp_path: Path, dataset: Any, standard: Policy
) -> None:
    crop = transform("Crop", x_min=16, y_min=0, x_max=64, y_max=48)
    policy = load_policy(policy_file(tmp_path, crop))
    [note] = augment(*dataset, tmp_path / "a", policy, copies=2, seed=0).notes
    assert re.search(r"leaves \d of 12 boxes in its copies", note)
    assert augment(*dataset, tmp_path / "b", standard, copies=1, seed=0).notes == ()


def test_a_single_transform_and_its_own_box_rules(tmp_path: Path, dataset: Any) -> None:
    """What the file says of boxes gives way to the dataset's own rules."""
    shards, assignments = dataset
    text = yaml.safe_dump({"transform": transform("VerticalFlip")})
    assert load_policy(policy_file(tmp_path, text=text)).transform_names == ("VerticalFlip",)
    document = {
        "__class_fullname__": "Compose",
        "p": 1.0,
        "bbox_params": {"format": "yolo", "label_fields": ["x"], "min_visibility": 1.0},
        "transforms": [transform("VerticalFlip")],
    }
    policy = load_policy(policy_file(tmp_path, text=yaml.safe_dump({"transform": document})))
    made = augment(shards, assignments, tmp_path / "out", policy, copies=1, seed=0)
    assert sum(made.objects_per_class.values()) == 6


def test_exhibits_show_before_and_after(tmp_path: Path, made: Any, standard: Policy) -> None:
    shards = made.shards(tmp_path / "in", [(i % 3,) for i in range(MAX_EXHIBITS + 3)])
    ids = [row.image_id for shard in shards for row in read_rows(shard)]
    done = augment(shards, dict.fromkeys(ids, "train"), tmp_path / "o", standard, copies=1, seed=0)
    assert len(done.exhibits) == MAX_EXHIBITS
    for jpeg in done.exhibits.values():
        with Image.open(io.BytesIO(jpeg)) as image:
            assert image.width <= 320


def test_bccd_keeps_nearly_every_box(
    tmp_path: Path, bccd_cleaned: Cleaned, standard: Policy
) -> None:
    index = read_index(bccd_cleaned.shards)
    done = split_dataset(index, val_fraction=0.4, test_fraction=0.5, seed=0)
    made = augment(bccd_cleaned.shards, done.assignments, tmp_path, standard, copies=1, seed=0)
    train = done.counts["train"]
    assert made.images == train.images
    kept = sum(made.objects_per_class.values()) / sum(train.objects_per_class.values())
    assert 0.97 < kept <= 1
