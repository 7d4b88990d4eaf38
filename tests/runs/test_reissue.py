"""`yololine compile`: the shipped packages, with a registry of one's own."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kfp.components import load_component_from_file

import yololine
from components import COMPONENTS
from yololine.errors import UsageError
from yololine.runs.reissue import Reissued, reissue

DIGEST = "sha256:" + "c" * 64
REGISTRY = "registry.example.com:5000/vision"
PIPELINES = ("training", "deployment")
NAMES = (*PIPELINES, *COMPONENTS)


def shipped(name: str) -> Path:
    find = yololine.pipeline_package if name in PIPELINES else yololine.component_package
    return Path(find(name))


def leaves(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every value that is no list and no mapping, with where it is."""
    if isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from leaves(value, (*path, key))
    else:
        yield path, node


def differences(name: str, text: str) -> dict[tuple[Any, ...], Any]:
    """What the text has other than the package that is shipped; the rest is the same."""
    before = dict(leaves(list(yaml.safe_load_all(shipped(name).read_text()))))
    after = dict(leaves(list(yaml.safe_load_all(text))))
    assert before.keys() == after.keys()
    return {path: value for path, value in after.items() if value != before[path]}


@pytest.mark.parametrize("name", NAMES)
def test_the_default_images_make_the_shipped_file(name: str) -> None:
    issued = reissue(name, registry="yololine", tag=yololine.__version__)
    assert issued.text == shipped(name).read_text()


def test_the_line_has_the_other_images_and_nothing_else_changes() -> None:
    issued = reissue("training", registry=REGISTRY, tag="7")
    parameters = (0, "root", "inputDefinitions", "parameters")
    assert differences("training", issued.text) == {
        (*parameters, "data_image", "defaultValue"): f"{REGISTRY}/data:7",
        (*parameters, "train_image", "defaultValue"): f"{REGISTRY}/train:7",
        (*parameters, "predictor_image", "defaultValue"): f"{REGISTRY}/predictor:7",
    }
    # Comments too.
    assert not re.search(r"yololine/(data|train|predictor)\b", issued.text)
    assert issued.text.count(f"{REGISTRY}/data:7") == 2
    names = ("data", "train", "predictor")
    assert issued.images == {name: f"{REGISTRY}/{name}:7" for name in names}


def test_no_step_of_the_line_has_an_image_of_its_own() -> None:
    """So that its two parameters are all there is to change."""
    spec = yaml.safe_load_all(reissue("training", registry=REGISTRY, tag="7").text)
    executors = next(spec)["deploymentSpec"]["executors"]
    images = {executor["container"]["image"] for executor in executors.values()}
    assert images == {
        f"{{{{$.inputs.parameters['pipelinechannel--{name}_image']}}}}"
        for name in ("data", "train")
    }


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_component_has_the_other_image_and_nothing_else_changes(name: str) -> None:
    issued = reissue(name, registry=REGISTRY, tag="7")
    executor = f"exec-{name.replace('_', '-')}"
    (which,) = issued.images
    path = (0, "deploymentSpec", "executors", executor, "container", "image")
    assert differences(name, issued.text) == {path: f"{REGISTRY}/{which}:7"}


@pytest.mark.parametrize("name", ["training", "train_detector"])
@pytest.mark.parametrize("registry", [REGISTRY, "[::1]:5000/vision"])
def test_kfp_loads_it(tmp_path: Path, name: str, registry: str) -> None:
    file = tmp_path / "mine.yaml"
    reissue(name, registry=registry, tag="7").write(file)
    loaded, before = (load_component_from_file(str(f)) for f in (file, shipped(name)))
    assert loaded.platform_spec == before.platform_spec
    assert loaded.platform_spec.platforms["kubernetes"]
    assert loaded.component_spec.inputs.keys() == before.component_spec.inputs.keys()
    assert f"{registry}/train:7" in str(loaded.component_spec)


def test_an_image_is_pinned_by_its_digest() -> None:
    pins = [f"data=mirror.example.com/python/data@{DIGEST}"]
    issued = reissue("training", registry=REGISTRY, tag="7", pins=pins)
    assert issued.images == {
        "data": f"mirror.example.com/python/data@{DIGEST}",
        "train": f"{REGISTRY}/train:7",
        "predictor": f"{REGISTRY}/predictor:7",
    }
    assert f"{REGISTRY}/data" not in issued.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"name": "trainin"}, "did you mean training?"),
        ({"name": "clean-dataset"}, "did you mean clean_dataset?"),
        ({"name": "../training"}, "is not there"),
        ({"registry": "https://registry.example.com"}, "for instance registry.example.com"),
        ({"tag": "latest"}, "whatever is newest"),
        ({"tag": ""}, "is no tag"),
        ({"pins": ["data"]}, "is no image's name"),
        ({"pins": [f"prod=r/data@{DIGEST}"]}, "does not begin with one of data=, train="),
        ({"pins": ["data=r/data:1", "data=r/data:2"]}, "names data once more"),
        (
            {"pins": ["platform=r/platform:1"]},
            "is no image of training; it has: data, predictor, train",
        ),
    ],
)
def test_what_is_wrong_is_told(options: dict[str, Any], words: str) -> None:
    given = {"name": "training", "registry": REGISTRY, "tag": "7"} | options
    with pytest.raises(UsageError, match=re.escape(words)):
        reissue(**given)


def test_a_file_that_cannot_be_written_is_told_and_left_as_it_was(tmp_path: Path) -> None:
    issued = Reissued(text="new", images={})
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "file").write_text("old")
    for file, words in [
        (tmp_path / "folder.yaml", "Is a directory"),
        (tmp_path / "none" / "x.yaml", "No such file or directory"),
        (tmp_path / "file" / "x.yaml", "Not a directory"),
        (tmp_path / "file", "does not end in .yaml"),
        (tmp_path / f"{'x' * 300}.yaml", "File name too long"),
    ]:
        with pytest.raises(UsageError, match=words):
            issued.write(file)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.yaml"]
    assert (tmp_path / "file").read_text() == "old"


def command(
    *argv: str, cwd: Path, largest_file_bytes: int = resource.RLIM_INFINITY
) -> subprocess.CompletedProcess[str]:
    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file_bytes, largest_file_bytes))

    return subprocess.run(
        [sys.executable, "-m", "yololine", "compile", *argv],
        env={**os.environ, "COLUMNS": "100"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limited,
    )


def test_the_command_writes_the_line_into_the_working_folder(tmp_path: Path) -> None:
    done = command("--registry", REGISTRY, "--tag", "7", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    names = ", ".join(f"{REGISTRY}/{image}:7" for image in ("data", "train", "predictor"))
    assert done.stdout == f"training.yaml: {names}\n"
    assert [path.name for path in tmp_path.iterdir()] == ["training.yaml"]
    text = (tmp_path / "training.yaml").read_text()
    assert text == reissue("training", registry=REGISTRY, tag="7").text


def test_the_command_prints_a_component(tmp_path: Path) -> None:
    done = command("clean_dataset", "--image", f"data=r/d@{DIGEST}", "--out", "-", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    pins = [f"data=r/d@{DIGEST}"]
    wanted = reissue("clean_dataset", registry="yololine", tag=yololine.__version__, pins=pins)
    assert done.stdout == wanted.text
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_whole_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "training.yaml").write_text("old")
    done = command("--tag", "7", cwd=tmp_path, largest_file_bytes=4096)
    assert done.returncode == 2
    assert done.stderr.startswith("error: training.yaml: cannot be written (File too large)")
    assert [path.name for path in tmp_path.iterdir()] == ["training.yaml"]
    assert (tmp_path / "training.yaml").read_text() == "old"


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--registry", "Registry/"], "error: registry 'Registry/': is no place of images"),
        (["clean"], "error: pipeline or component 'clean': is not there"),
        (["--out", "mine.txt"], "error: mine.txt: does not end in .yaml"),
        (["--tga", "7"], "No such option '--tga'"),
    ],
)
def test_the_command_refuses_in_words(tmp_path: Path, argv: list[str], words: str) -> None:
    done = command(*argv, cwd=tmp_path)
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_commands_help_names_what_there_is(tmp_path: Path) -> None:
    told = " ".join(command("--help", cwd=tmp_path).stdout.split())
    for name in NAMES:
        assert re.search(rf"\b{name}\b", told)
