"""One formula for the images' names, and a word for each name that is none."""

from __future__ import annotations

import pytest

import yololine
from yololine import images
from yololine.errors import UsageError
from yololine.images import IMAGES, checked_image, image

SHA256 = "sha256:" + "0123456789abcdef" * 4


def test_names_of_this_release() -> None:
    version = yololine.__version__
    assert [image(name) for name in IMAGES] == [
        images.DATA,
        images.TRAIN,
        images.PLATFORM,
        images.PREDICTOR,
    ]
    assert f"yololine/data:{version}" == images.DATA
    assert f"yololine/train:{version}" == images.TRAIN
    assert f"yololine/platform:{version}" == images.PLATFORM


@pytest.mark.parametrize(
    "registry",
    [
        "vision",
        "localhost",
        "localhost:5000",
        "registry:5000",
        "10.0.0.1:5000/vision",
        "registry.example.com",
        "registry.example.com:5000/team/line-3/a__b.c_d",
        "Registry.Example.com/team",
        "[::1]:5000/team",
        "123456789012.dkr.ecr.eu-central-1.amazonaws.com",
    ],
)
def test_registry_of_any_place(registry: str) -> None:
    assert image("train", registry=registry, tag="v1.2_x-3") == f"{registry}/train:v1.2_x-3"


@pytest.mark.parametrize(
    ("registry", "remedy"),
    [
        ("", "registry.example.com"),
        ("https://registry.example.com/team", "for instance registry.example.com/team"),
        ("docker://registry.example.com", "for instance registry.example.com"),
        ("registry.example.com/", "for instance registry.example.com"),
        ("/team", "registry.example.com"),
        ("registry.example.com/Team", "for instance registry.example.com/team"),
        ("Team", "for instance team"),
        (" registry.example.com\n", "for instance registry.example.com"),
        ("my registry", "registry.example.com"),
        ("registry.example.com//team", "registry.example.com"),
        ("registry.example.com/team:1.0", "registry.example.com"),
        ("registry.example.com/team@" + SHA256, "registry.example.com"),
        ("registry.example.com:port/team", "registry.example.com"),
        ("registry.example.com/-team", "registry.example.com"),
        ("registry.example.com/a___b", "registry.example.com"),
        ("registry.example.com/stahl-prüfung", "registry.example.com"),
        ("${REGISTRY}", "registry.example.com"),
        ("x" * 252, "registry.example.com"),
    ],
)
def test_registry_that_is_none(registry: str, remedy: str) -> None:
    with pytest.raises(UsageError) as refused:
        image("data", registry=registry)
    assert repr(registry) in str(refused.value)
    assert remedy in refused.value.remedy


@pytest.mark.parametrize("tag", ["", "1 2", ".1", "-1", "a/b", "1.0+cpu", SHA256, "1\n", "x" * 129])
def test_tag_that_is_none(tag: str) -> None:
    with pytest.raises(UsageError, match="is no tag"):
        image("data", tag=tag)


def test_image_that_is_not_built() -> None:
    with pytest.raises(UsageError, match="use one of: data, train, platform"):
        image("predict")


@pytest.mark.parametrize(
    "reference",
    [
        "data:1",
        f"registry.example.com:5000/team/data@{SHA256}",
        f"registry.example.com/team/data:latest@{SHA256}",
        "registry.example.com/team/data@sha512:" + "0" * 128,
    ],
)
def test_reference_as_it_is_written(reference: str) -> None:
    assert checked_image(reference) == reference


@pytest.mark.parametrize(
    ("reference", "rule"),
    [
        ("registry.example.com/data", "whatever is newest"),
        ("registry.example.com/data:latest", "whatever is newest"),
        ("registry.example.com/data@sha256:abc", "is no image's name"),
        ("registry.example.com/data@" + SHA256.upper(), "is no image's name"),
        ("https://registry.example.com/data:1", "is no image's name"),
        ("registry.example.com/data:", "is no image's name"),
        ("", "is no image's name"),
    ],
)
def test_reference_that_names_no_content(reference: str, rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        checked_image(reference)


def test_newest_is_no_tag() -> None:
    with pytest.raises(UsageError, match="whatever is newest"):
        image("data", tag="latest")
