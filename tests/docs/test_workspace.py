"""A page that tells something wrong fails: the stand-ins are no rubber stamps."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.docs.blocks import Command, blocks, commands
from tests.docs.kfp_server import KfpServer
from tests.docs.workspace import Workspace, shows


def _typed(text: str, output: str = "") -> Command:
    return Command(where="page.md:1", text=text, output=output)


@pytest.mark.parametrize(
    "text",
    [
        "helm install yololine",
        "docker run yololine/data:0.1.0",
        "false || exit 3",
        "make nonsense",
        "make images REGISTY=registry.example.com/vision",
        "podman push registry.example.com/vision/date:0.1.0",
        "podman push registry.example.com/vision/data:latest",
        "podman build --file containers/date/Containerfile --tag a.example/data:1 .",
        "podman load --input nothing.tar",
        "pip install yololin",
        "pip install 'yololine[al]'",
        "pip install yololine==99.0",
        "kubectl aply -k manifests/base",
        "kubectl apply -k manifests/nowhere",
        "kubectl apply --kustom manifests/base",
        "kubectl -n Vision create namespace vision",
        "kubectl label namespace vision enforce",
        "kubectl patch serviceaccount default-editor -p '{'",
        "kubectl -n kubeflow port-forward ml-pipeline-ui 8080:80",
        "pytest tests/no/such_test.py",
        "pytest tests -m 'not slow'",
        "ruff check src/yololine/nothing.py",
    ],
)
def test_a_wrong_command_fails_its_page(tmp_path: Path, text: str) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        Workspace(tmp_path / "clone").run(_typed(text))


@pytest.mark.parametrize(
    ("text", "output"),
    [
        ("cat nothing", ""),
        ("yololine --version", "error: ..."),
        ("yololine --version", "0.0.0"),
    ],
)
def test_another_end_than_the_page_shows_fails_it(tmp_path: Path, text: str, output: str) -> None:
    with pytest.raises(AssertionError, match=r"page\.md:1"):
        Workspace(tmp_path / "clone").run(_typed(text, output))


def test_a_server_runs_until_its_page_ends(tmp_path: Path) -> None:
    code = "import time; print('ready', flush=True); time.sleep(600)"
    page = tmp_path / "page.md"
    page.write_text(
        f'```console\n$ echo $$ > pid; exec python -c "{code}" &\nready\n$ cat pid\n...\n```\n'
    )
    workspace = Workspace(tmp_path / "clone")
    workspace.follow(page)
    pid = int((workspace.folder / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_server_that_ends_by_itself_fails_its_page(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="no such server"),
        Workspace(tmp_path / "clone").running(_typed("echo no such server &", "ready")),
    ):
        pass


def test_what_a_shell_keeps_is_kept_from_command_to_command(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "clone")
    workspace.run(_typed("mkdir -p 'a folder' && cd 'a folder'"))
    workspace.run(_typed("export GREETING='good  day'"))
    workspace.run(_typed('echo "$PWD: $GREETING"', ".../clone/a folder: good  day"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ('"epochs": "3"', "epochs requires type NUMBER_INTEGER"),
        ('"epochs": True', "epochs requires type NUMBER_INTEGER"),
        ('"gpu_count": 4', "gpu_count requires type STRING"),
        ('"node_selector": "a100"', "node_selector requires type STRUCT"),
        ('"epoch": 3', "not required by pipeline"),
    ],
)
def test_a_run_that_kubeflow_would_refuse_fails_its_page(
    tmp_path: Path, kfp_server: KfpServer, change: str, why: str
) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python\nimport kfp, yololine\n"
        "kfp.Client().create_run_from_pipeline_package(\n"
        '    yololine.pipeline_package("training"),\n'
        f'    arguments={{"source_uri": "s3://a/b", "model_name": "c", {change}}},\n'
        ")\n```\n"
    )
    workspace = Workspace(tmp_path / "clone", environ={"KF_PIPELINES_ENDPOINT": kfp_server.url})
    with pytest.raises(AssertionError, match=why):
        workspace.follow(page)
    assert kfp_server.runs == []


def test_the_blocks_of_a_page_are_read_as_a_person_reads_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "- in a list:\n\n"
        "  ```console\n  $ first \\\n  > --option\n  told\n\n  more\n  $ second\n  ```\n\n"
        "```yaml\n# folder/name.yaml\na: 1\n```\n\n```python\n# no file.py is meant\n```\n"
    )
    typed, file, code = blocks(page)
    assert (file.file, code.file) == ("folder/name.yaml", None)
    assert [(c.text, c.output) for c in commands(typed)] == [
        ("first \\\n--option", "told\n\nmore"),
        ("second", ""),
    ]


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("", "anything\n", True),
        ("a\nb", "a  \nb\n", True),
        ("a\n...\nb", "a\n1\n2\nb\n", True),
        ("a ... b", "a 1 2 b\n", True),
        ("a (b)", "a b\n", False),
        ("a", "a\nb\n", False),
        ("a\n...", "b\na\n", False),
    ],
)
def test_output_is_compared_with_what_a_page_shows(expected: str, printed: str, same: bool) -> None:
    assert shows(expected, printed) is same
