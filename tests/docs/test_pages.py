"""The site is whole and asks no other server; what the pages name is there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from html.parser import HTMLParser
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from scripts import parameters
from tests.docs.blocks import PAGES, ROOT, blocks, inline_code
from tests.docs.stand_ins import STAND_INS
from yololine import pipeline_package
from yololine.cli import cli
from yololine.runs.package import read_package
from yololine.runs.parameters import merge


class _Requests(HTMLParser):
    """What a browser fetches by itself, as opposed to links that a person may follow."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.found += [given[name] or "" for name in ("src", "srcset", "poster") if name in given]
        if tag == "link":
            self.found.append(given.get("href") or "")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [
            Path(sys.executable).with_name("sphinx-build"),
            *("--quiet", "--nitpicky", "--fail-on-warning", "--keep-going"),
            *("--doctree-dir", folder / "doctrees", ROOT / "docs", folder / "html"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder / "html"


def test_every_page_is_built(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        assert (site / f"{page.stem}.html").is_file()


def test_the_site_asks_no_other_server(site: Path) -> None:
    asked = []
    for page in site.glob("*.html"):
        reader = _Requests()
        reader.feed(page.read_text(encoding="utf-8"))
        assert reader.found
        asked += [uri for uri in reader.found if "//" in uri]
    for style in site.rglob("*.css"):
        asked += re.findall(
            r"(?:url\(|@import)[\s\"']*((?:https?:)?//[^)\"'\s]+)", style.read_text()
        )
    assert asked == []


def test_parameters_are_those_of_the_yaml() -> None:
    assert parameters.PAGE.read_text(encoding="utf-8") == parameters.page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml_and_json_on_a_page_are_what_they_say(page: Path, tmp_path: Path) -> None:
    """A Kubernetes object, or parameters under names that there are, with values of their types."""
    known = read_package(Path(pipeline_package("training"))).parameters
    for block in blocks(page):
        if block.language == "json":
            json.loads(block.text)
        if block.language != "yaml":
            continue
        content = yaml.safe_load(block.text)
        # The others are an object of Kubernetes, or a data.yaml.
        if not {"apiVersion", "names"} & set(content):
            required = {parameter.name: "text" for parameter in known if parameter.required}
            file = tmp_path / "parameters.yaml"
            file.write_text(yaml.safe_dump(required | content), encoding="utf-8")
            merge(known, file=file)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_command_in_a_sentence_is_one(page: Path) -> None:
    """Not typed, but there: a target of make, a command of yololine with its options, a script."""
    for code in inline_code(page):
        words = shlex.split(code) if code.count('"') % 2 == code.count("'") % 2 == 0 else [code]
        match [word.removeprefix(".venv/bin/").removeprefix("!") for word in words]:
            case ["make", target, *_]:
                assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), (
                    code
                )
            case ["yololine", verb, *arguments] if "..." not in code:
                pipeline = arguments[:1] if verb == "run" else []
                told = CliRunner().invoke(cli, [verb, *pipeline, "--help"])
                assert told.exit_code == 0, code
                options = [word for word in arguments if word.startswith("--")]
                assert [option for option in options if option not in told.output] == [], code
            case ["python", "-m", module, *_] if module != "pytest":
                path = module.replace(".", "/")
                assert (ROOT / f"{path}.py").exists() or (ROOT / path).is_dir(), code
            case ["python" | "pytest", path, *_] if "/" in path:
                assert (ROOT / path).exists(), code
            case [tool, verb, *_] if tool in STAND_INS and tool != "make":
                assert verb, code


@pytest.mark.parametrize("image", ["data", "platform"])
def test_licences_are_as_their_page_says(image: str) -> None:
    """Nothing under a licence that asks for the source of what is built with it."""
    lock = (ROOT / "containers" / image / "requirements.txt").read_text(encoding="utf-8")
    names = re.findall(r"^([a-z0-9._-]+)==", lock, re.MULTILINE)
    assert len(names) > 20
    found = {}
    for name in names:
        try:
            told = metadata(name)
        except PackageNotFoundError:
            continue  # of another system
        licences = [
            text
            for field in ("Classifier", "License-Expression")
            for text in told.get_all(field) or ()
        ]
        found[name] = [text for text in licences if re.search(r"GPL|GNU", text)]
    assert {name: licences for name, licences in found.items() if licences} == {}
