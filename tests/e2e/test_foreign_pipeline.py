"""Somebody else's pipelines, made of our components: written, compiled and run as a user does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from components.catalogue import CATALOGUE
from tests.e2e.line import source_of
from tests.pipelines.walk import Compiled
from yololine.storage import open_store
from yololine.telemetry.journal import read_run
from yololine.telemetry.records import StepRecord, StepState

pytestmark = pytest.mark.e2e

HEAD = """
import yololine
from kfp import compiler, dsl
from yololine import images
from yololine.pod import always_run, on_cluster, on_gpu
"""
DATASET = """
resolve_source = yololine.component("resolve_source")
clean_dataset = yololine.component("clean_dataset")
split_dataset = yololine.component("split_dataset")


def dataset(source_uri, store_uri):
    source = always_run(on_cluster(resolve_source(source_uri=source_uri, store_uri=store_uri)))
    cleaned = clean_dataset(
        source_uri=source_uri,
        source_digest=source.outputs["Output"],
        store_uri=store_uri,
        max_dropped_fraction=0.5,
    )
    on_cluster(cleaned)
    split = split_dataset(dataset=cleaned.outputs["dataset"], store_uri=store_uri, seed=7)
    return cleaned, on_cluster(split)
"""
COUNTING = """
@dsl.component(base_image=images.DATA, install_kfp_package=False)
def split_sizes(split: dsl.Input[dsl.Dataset], sizes: dsl.Output[dsl.Artifact]):
    import json
    import pathlib

    from yololine.dataset.manifest import SplitManifest

    manifest = SplitManifest.model_validate_json(pathlib.Path(split.path).read_bytes())
    counts = {name: count.images for name, count in manifest.counts.items()}
    pathlib.Path(sizes.path).write_text(json.dumps(counts))


@dsl.pipeline(name="small-boxes")
def small_boxes(source_uri: str, store_uri: str, pixels: float = 16.0) -> int:
    cleaned, split = dataset(source_uri, store_uri)
    on_cluster(split_sizes(split=split.outputs["split"]))
    small = count_small(
        dataset=cleaned.outputs["dataset"], store_uri=store_uri, pixels=pixels
    )
    return on_cluster(small).output


compiler.Compiler().compile(small_boxes, "foreign.yaml")
"""
TRAINING = """
augment_dataset = yololine.component("augment_dataset")
prepare_weights = yololine.component("prepare_weights")
train_detector = yololine.component("train_detector")
report_run = yololine.component("report_run")


@dsl.pipeline(name="own-training")
def own_training(source_uri: str, store_uri: str, gpus: str = "0"):
    told = always_run(on_cluster(report_run(store_uri=store_uri, model_name="theirs")))
    with dsl.ExitHandler(told):
        _, split = dataset(source_uri, store_uri)
        augmented = augment_dataset(
            split=split.outputs["split"], store_uri=store_uri, augmentation_policy="none"
        )
        on_cluster(augmented)
        weights = on_cluster(prepare_weights(store_uri=store_uri))
        trained = train_detector(
            split=split.outputs["split"],
            augmented=augmented.outputs["augmented"],
            weights=weights.outputs["weights"],
            store_uri=store_uri,
            epochs=1,
            image_size=64,
            batch_size=8,
            resources=["nvidia.com/gpu", gpus, "2", "4Gi"],
        )
        on_gpu(on_cluster(trained), gpu_count=gpus, cpu="2", memory="4Gi")


compiler.Compiler().compile(own_training, "foreign.yaml")
"""
RUN = """
import json, sys, warnings
from kfp import components, local

# That this Python stands in for an image.
warnings.filterwarnings("ignore", module=r"kfp\\.local")
local.init(local.SubprocessRunner(use_venv=False), pipeline_root="outputs")
task = components.load_component_from_file("foreign.yaml")(**json.loads(sys.argv[1]))
print("Output:", task.outputs.get("Output"))
"""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A finished run: what it printed, its YAML, its only run's journal, its KFP artifacts."""

    printed: str
    compiled: Compiled
    run_id: str
    records: dict[str, StepRecord]
    folder: Path

    def artifact(self, task: str, name: str) -> Path:
        """The file of an output."""
        (found,) = (self.folder / "outputs").glob(f"*/{task}/{name}")
        return found


def count_small_of_the_page() -> str:
    """The component that the catalogue shows."""
    page = CATALOGUE.read_text(encoding="utf-8")
    (found,) = re.findall(r"^```py\n(@dsl\.component.*?)^```$", page, re.DOTALL | re.MULTILINE)
    return str(found)


def foreign(folder: Path, program: str, **arguments: object) -> Ran:
    """Compile in a folder of their own and run there; this repository is not on the path."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("YOLOLINE", "PYTHONPATH"))}
    for name, text, argv in (
        ("define.py", program, []),
        ("run.py", RUN, [json.dumps(arguments)]),
    ):
        (folder / name).write_text(text, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, "-W", "error::DeprecationWarning:__main__", name, *argv],
            cwd=folder,
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout
    store = open_store(str(arguments["store_uri"]))
    (run_id,) = {path.split("/")[1] for path in store.paths("runs")}
    return Ran(
        printed=done.stdout,
        compiled=Compiled(folder / "foreign.yaml"),
        run_id=run_id,
        records=read_run(store, run_id),
        folder=folder,
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return source_of(tmp_path_factory.mktemp("source") / "photos")


def test_three_components_and_two_of_their_own(source: str, tmp_path: Path) -> None:
    program = "\n\n".join([HEAD, DATASET, count_small_of_the_page(), COUNTING])
    store_uri = str(tmp_path / "store")
    ran = foreign(tmp_path, program, source_uri=source, store_uri=store_uri, pixels=20.0)

    # What their own steps found is what is there.
    store = open_store(store_uri)
    shards = [p for p in store.paths("datasets") if p.endswith(".parquet")]
    rows = [row for shard in shards for row in pq.read_table(store.root / shard).to_pylist()]
    boxes = [box for row in rows for box in row["objects"]["bbox"]]
    small = sum(min(box[2:]) < 20 for box in boxes)
    assert 0 < small < len(boxes)
    assert f"Output: {small}" in ran.printed
    sizes = json.loads(ran.artifact("split-sizes", "sizes").read_text())
    assert sum(sizes.values()) == len(rows)
    assert set(sizes) == {"train", "val", "test"}

    # Without preflight and without our supervisor the steps keep their journal all the same.
    assert {step: record.state for step, record in ran.records.items()} == dict.fromkeys(
        ("resolve_source", "clean_dataset", "split_dataset"), StepState.DONE
    )
    assert ran.run_id.startswith("small-boxes")
    assert ran.records["clean_dataset"].facts["images"]["kept"] == len(rows)
    page = ran.artifact("clean-dataset", "report").read_text()
    assert page.lstrip().startswith("<!doctype html>")

    assert ran.compiled.lost_parameters() == []
    assert (
        set(ran.compiled.pods)
        == set(ran.compiled.tasks)
        == {
            *ran.records,
            "split_sizes",
            "count_small",
        }
    )


def test_a_training_of_theirs(source: str, tmp_path: Path) -> None:
    store_uri = str(tmp_path / "store")
    program = "\n\n".join([HEAD, DATASET, TRAINING])
    ran = foreign(tmp_path, program, source_uri=source, store_uri=store_uri)

    assert {record.state for record in ran.records.values()} == {StepState.DONE}
    assert set(ran.records) == set(ran.compiled.tasks)
    training = ran.records["train_detector"].facts
    assert len(training["curves"]) == 1
    assert ran.artifact("train-detector", "model").stat().st_size > 1_000_000
    report = ran.artifact("report-run", "report").read_text()
    assert "theirs" in report
    assert ran.compiled.lost_parameters() == []


def alone(folder: Path, source_uri: str) -> subprocess.CompletedProcess[str]:
    """Call a component outside of any pipeline, as in a notebook."""
    program = textwrap.dedent(
        f"""
        import warnings
        import yololine
        from kfp import local

        warnings.filterwarnings("ignore", module=r"kfp\\.local")
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root="outputs")
        resolve_source = yololine.component("resolve_source")
        task = resolve_source(source_uri={source_uri!r}, store_uri="store")
        print("Output:", task.outputs["Output"])
        """
    )
    return subprocess.run(
        [sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=False
    )


def record_of(folder: Path) -> StepRecord:
    store = open_store(str(folder / "store"))
    (run_id,) = {path.split("/")[1] for path in store.paths("runs")}
    return read_run(store, run_id)["resolve_source"]


def test_one_component_alone(source: str, tmp_path: Path) -> None:
    done = alone(tmp_path, source)
    assert done.returncode == 0, done.stdout + done.stderr
    record = record_of(tmp_path)
    assert record.state is StepState.DONE
    assert f"Output: {record.digest}" in done.stdout


def test_what_one_refuses_is_told_in_kfps_log(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    done = alone(tmp_path, str(tmp_path / "empty"))
    assert done.returncode != 0
    record = record_of(tmp_path)
    assert record.state is StepState.FAILED
    assert record.error
    assert str(tmp_path / "empty") in record.error.message
    assert f"error: resolve_source: {record.error.message}" in done.stdout + done.stderr
