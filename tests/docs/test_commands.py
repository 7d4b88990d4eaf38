"""What the pages say to type is typed: by real programs where it can be, else by stand-ins."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

import pytest

from tests.conftest import MinioServer
from tests.docs.blocks import PAGES, ROOT, blocks
from tests.docs.kfp_server import KfpServer
from tests.docs.workspace import Workspace

FIRST = ROOT / "docs" / "first-run.md"
"""Every other page goes on from what this one leaves."""
LANGUAGES = {"", "{toctree}", "console", "json", "python", "text", "yaml"}
CATALOGUE = ROOT / "docs" / "components.md"
"""Its `py` blocks are parts of one pipeline: tests/components/test_catalogue.py runs it."""
LANGUAGES |= {"py"}  # parts of a program, which the catalogue's own test puts together
KUBEFLOW = "http://localhost:8080"
MINIO = "http://localhost:9000"
PORTS = ("8090", "8091", "8092")
"""Of predictors: others in a test, for they may be taken."""
TYPED = [
    page
    for page in PAGES
    if page != FIRST
    and any(block.language in {"console", "python"} or block.file for block in blocks(page))
]


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder after the page of the first run."""
    folder = tmp_path_factory.mktemp("docs") / "first-run"
    folder.mkdir()
    Workspace(folder).follow(FIRST)
    return folder


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_is_of_a_language_that_is_checked(page: Path) -> None:
    """A command in a block of another kind would not be typed."""
    known = LANGUAGES | ({"py"} if page == CATALOGUE else set())
    strange = {b.where: b.language for b in blocks(page) if b.language not in known}
    assert strange == {}


@pytest.mark.e2e
def test_the_first_run_is_as_its_page_says(first_run: Path) -> None:
    assert (first_run / "yololine-store" / "models").is_dir()


@pytest.fixture
def addresses(page: Path, kfp_server: KfpServer, request: pytest.FixtureRequest) -> dict[str, str]:
    """What the page's addresses and keys are here; a MinIO is started for a page that has one."""
    found = {KUBEFLOW: kfp_server.url}
    if MINIO in page.read_text(encoding="utf-8"):
        server: MinioServer = request.getfixturevalue("new_minio")()
        server.start()
        found |= {MINIO: f"http://{server.host}"}
        found |= {"vision-access-key": server.access_key, "vision-secret-key": server.secret_key}
    for port in PORTS:
        with socket.create_server(("127.0.0.1", 0)) as free:
            found[port] = str(free.getsockname()[1])
    return found


@pytest.mark.e2e
@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.name)
def test_a_page_is_as_it_says(
    page: Path, first_run: Path, addresses: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(first_run, folder)
    # As in a notebook of Kubeflow, where kfp.Client() needs no address.
    environ = {"KF_PIPELINES_ENDPOINT": addresses[KUBEFLOW]}
    Workspace(folder, environ=environ, addresses=addresses).follow(page)
