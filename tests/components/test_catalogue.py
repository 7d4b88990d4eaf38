"""The catalogue is the code's own words, and its examples are one whole pipeline."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import pytest

from components import COMPONENTS, NEVER_CACHED, load
from components.catalogue import CATALOGUE, catalogue, inputs
from tests.pipelines.walk import Compiled
from yololine.telemetry.records import STEPS

FRAME_BODY = "    pass  # the examples\n"
TASKS_BODY = "    ...  # the other tasks\n"


def test_page_is_current() -> None:
    assert CATALOGUE.read_text(encoding="utf-8") == catalogue()


def test_each_component_has_a_section_in_the_lines_order() -> None:
    headings = re.findall(r"^## (\w+)$", catalogue(), re.MULTILINE)
    assert headings == list(COMPONENTS)
    assert set(COMPONENTS) == set(STEPS)


@pytest.mark.parametrize("name", COMPONENTS)
def test_each_parameter_has_a_range(name: str) -> None:
    artifacts = {"Artifact", "Dataset", "Model"}
    told = {i.name: i.range for i in inputs(load(name)) if i.type not in artifacts}
    told.pop("status", None)
    assert [name for name, words in told.items() if not words] == []


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Compiled:
    """The page's examples, put into its frame as it says, and compiled."""
    folder = tmp_path_factory.mktemp("composed")
    frame, own_step, own_task, *examples = re.findall(
        r"^```py\n(.*?)^```$", CATALOGUE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    assert len(examples) == len(COMPONENTS)
    *tasks, handler = [*examples[:-1], own_task, examples[-1]]
    body = handler.replace(TASKS_BODY, textwrap.indent("".join(tasks), "    "))
    pipeline = frame.replace(FRAME_BODY, textwrap.indent(body, "    "))
    pipeline = pipeline.replace("\n@dsl.pipeline", f"\n{own_step}\n\n@dsl.pipeline")
    program = folder / "mine.py"
    program.write_text(
        f"{pipeline}\n\nfrom kfp import compiler\ncompiler.Compiler().compile(mine, 'mine.yaml')\n",
        encoding="utf-8",
    )
    subprocess.run([sys.executable, "-W", "error", str(program)], cwd=folder, check=True)
    return Compiled(folder / "mine.yaml")


def test_examples_are_one_pipeline_that_compiles(composed: Compiled) -> None:
    assert set(composed.tasks) == {*COMPONENTS, "count_small"}
    assert composed.lost_parameters() == []
    behind = composed.tasks["register_model"]["inputs"]["artifacts"]
    producers = {task["taskOutputArtifact"]["producerTask"] for task in behind.values()}
    assert producers == {"export-detector", "evaluate-detector", "decide-promotion"}


def test_examples_run_on_a_cluster(composed: Compiled) -> None:
    assert set(composed.pods) == set(composed.tasks)
    for step, pod in composed.pods.items():
        assert pod["securityContext"]["runAsNonRoot"] is True, step
        assert pod["secretAsEnv"], step
    uncached = {s for s, t in composed.tasks.items() if not t["cachingOptions"]}
    assert uncached == set(NEVER_CACHED)
    trainer = composed.container(composed.tasks["train_detector"]) or {}
    assert trainer["resources"]["accelerator"]["resourceCount"] == "2"


@pytest.mark.parametrize("name", COMPONENTS)
def test_an_example_is_short(name: str) -> None:
    section = catalogue().partition(f"## {name}\n")[2].partition("\n## ")[0]
    (example,) = re.findall(r"```py\n(.*?)```", section, re.DOTALL)
    assert f"{name}(" in example
    assert len(example.splitlines()) <= 10
