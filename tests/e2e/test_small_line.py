"""The compiled line on a small source: made once, reused, taken up again, refused."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import MinioServer
from tests.e2e.line import MADE, REUSED, Line, command, run_ids, run_line, source_of
from yololine import pipeline_package
from yololine.evaluation.golden import read_golden
from yololine.registry.versions import champion, read_version
from yololine.storage import open_store
from yololine.telemetry.journal import read_run
from yololine.telemetry.records import STEPS, StepState

pytestmark = pytest.mark.e2e

RUN_STEPS = set(STEPS) - {"deploy_model"}
"""Of a training that puts nothing live."""
KEPT = (
    "clean_dataset",
    "split_dataset",
    "augment_dataset",
    "prepare_weights",
    "build_test_set",
)
"""What more epochs do not touch."""
LEARNT = ("train_detector", "export_detector", "evaluate_detector", "decide_promotion")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Parameters of a line that takes seconds."""
    folder = tmp_path_factory.mktemp("line")
    return {
        "source_uri": source_of(folder / "source"),
        "store_uri": str(folder / "store"),
        "model_name": "steel-sheet",
        "image_size": 64,
        "epochs": 2,
        "batch_size": 8,
        "max_dropped_fraction": 0.5,
        "min_map50": 0.0,
        "gpu_count": "0",
    }


@pytest.fixture(scope="module")
def first(small: dict[str, Any]) -> Line:
    """The first run; every test here builds on it."""
    return run_line(**small)


def test_first_run_makes_every_step(first: Line) -> None:
    assert first.exit_code == 0, first.output
    assert set(first.records) == RUN_STEPS
    assert first.states() == MADE
    assert "Traceback" not in first.output


def test_every_source_file_is_accounted_for(first: Line, small: dict[str, Any]) -> None:
    files = first.records["clean_dataset"].facts["files"]
    there = sum(path.is_file() for path in Path(small["source_uri"]).rglob("*"))
    assert files["total"] == there
    assert files["kept"] + files["dropped"] + files["ignored"] == there


def test_version_holds_model_metrics_and_lineage(
    first: Line, small: dict[str, Any], tmp_path: Path
) -> None:
    store = open_store(small["store_uri"])
    version = read_version(store, "steel-sheet", first.version)
    assert version
    assert set(version.files) == {
        "model.onnx",
        "weights.pt",
        "metrics.json",
        "golden.parquet",
        "lineage.json",
        "report.html",
    }
    assert all(store.verified(ref) for ref in version.files.values())
    golden_file = tmp_path / "golden.parquet"
    store.download(version.files["golden.parquet"].path, golden_file)
    golden = read_golden(golden_file)
    assert golden.class_names == version.class_names
    assert len(golden.images) == first.records["evaluate_detector"].facts["golden_images"] > 0
    metrics = json.loads(store.read_bytes(f"{version.folder}/metrics.json"))
    assert {"ap50", "ap50_95", "per_class"} <= set(metrics)
    lineage = json.loads(store.read_bytes(f"{version.folder}/lineage.json"))
    assert lineage["source_uri"] == small["source_uri"]
    assert lineage["source_digest"] == first.records["resolve_source"].digest
    assert lineage["dataset_digest"] == first.records["clean_dataset"].digest
    behind = RUN_STEPS - {"preflight", "resolve_source", "report_run"}
    assert set(lineage["steps"]) == behind
    crowned = champion(store, "steel-sheet")
    assert crowned
    assert crowned.version == first.version


def test_same_run_again_makes_nothing(first: Line, small: dict[str, Any]) -> None:
    again = run_line(**small)
    assert again.exit_code == 0, again.output
    assert again.states(*KEPT, *LEARNT, "register_model") == REUSED
    assert again.records["train_detector"].made_in_run == first.run_id
    assert again.version == first.version
    for step in (*KEPT, *LEARNT):
        assert again.records[step].digest == first.records[step].digest
        assert again.records[step].key == first.records[step].key
    assert "unchanged" in again.records["resolve_source"].notes[0]


def test_one_more_epoch_starts_at_the_training(first: Line, small: dict[str, Any]) -> None:
    more = run_line(**small | {"epochs": 3})
    assert more.exit_code == 0, more.output
    assert more.states(*KEPT) == REUSED
    assert more.states(*LEARNT) == MADE
    assert more.version != first.version
    assert len(more.records["train_detector"].facts["curves"]) == 3


def test_one_image_more_is_a_new_dataset_and_said(
    first: Line, small: dict[str, Any], tmp_path: Path
) -> None:
    source = Path(small["source_uri"])
    name = sorted((source / "images").glob("*.jpg"))[3].stem
    added = source_of(tmp_path / "other", seed=8)
    picture = sorted((Path(added) / "images").glob("*.jpg"))[5]
    shutil.copy(picture, source / "images" / f"{name}-added.jpg")
    shutil.copy(
        Path(added) / "labels" / f"{picture.stem}.txt", source / "labels" / f"{name}-added.txt"
    )
    grown = run_line(**small)
    assert grown.exit_code == 0, grown.output
    source_record, dataset = grown.records["resolve_source"], grown.records["clean_dataset"]
    assert source_record.digest != first.records["resolve_source"].digest
    assert dataset.digest != first.records["clean_dataset"].digest
    assert "2 files added" in source_record.notes[0]
    assert f"New dataset {dataset.digest[:12]}" in dataset.notes[-1]
    assert "2 files added" in grown.output
    assert grown.states(*LEARNT) == MADE


def test_killed_in_training_goes_on_from_the_last_epoch(small: dict[str, Any]) -> None:
    parameters = small | {"epochs": 12, "seed": 5}
    store = open_store(small["store_uri"])
    before = set(run_ids(small["store_uri"]))
    line = subprocess.Popen(
        command(**parameters), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    finished = 0
    deadline = time.monotonic() + 300
    while finished < 3:
        assert line.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
        for run_id in set(run_ids(small["store_uri"])) - before:
            record = read_run(store, run_id).get("train_detector")
            finished = record.progress.epoch if record and record.progress else 0
    started = psutil.Process(line.pid).children(recursive=True)
    assert len(started) > 2  # kfp, the step, its trainer
    line.send_signal(signal.SIGKILL)
    line.wait()
    _, alive = psutil.wait_procs(started, timeout=10)
    assert not alive

    resumed = run_line(**parameters)
    assert resumed.exit_code == 0, resumed.output
    training = resumed.records["train_detector"]
    assert 3 <= training.facts["resumed_from_epoch"] < 12
    assert [e["epoch"] for e in training.facts["curves"]] == list(range(1, 13))
    assert any("Went on after epoch" in note for note in training.notes)


def test_a_damaged_result_is_made_again(small: dict[str, Any], first: Line) -> None:
    """What does not verify is not there."""
    key = first.records["export_detector"].key
    onnx = Path(small["store_uri"]) / "results" / "export_detector" / key / "model.onnx"
    content = bytearray(onnx.read_bytes())
    content[len(content) // 2] ^= 1
    onnx.write_bytes(content)
    parameters = small | {"source_uri": str(_restored(Path(small["source_uri"])))}
    again = run_line(**parameters)
    assert again.exit_code == 0, again.output
    assert again.states("train_detector") == REUSED
    assert again.states("export_detector") == MADE
    assert again.version == first.version


def _restored(source: Path) -> Path:
    for path in source.rglob("*-added.*"):
        path.unlink()
    return source


def test_faults_are_told_together_and_nothing_is_made(
    small: dict[str, Any], tmp_path: Path
) -> None:
    refused = run_line(
        **small
        | {
            "store_uri": str(tmp_path / "store"),
            "epochs": 0,
            "image_size": 100,
            "architecture": "yolo11q",
            "val_fraction": 0.6,
            "test_fraction": 0.5,
        }
    )
    assert refused.exit_code == 1
    for words in ("epochs=0", "image_size=100", "'yolo11q'", "did you mean", "nothing to train on"):
        assert words in refused.output
    assert "Traceback" not in refused.output
    assert set(refused.records) == {"preflight", "report_run"}
    assert "image_size=100" in refused.report


def test_yaml_runs_under_plain_kfp_local(
    first: Line, small: dict[str, Any], tmp_path: Path
) -> None:
    """As from a notebook: no command of ours around it, and so no environment of ours."""
    program = textwrap.dedent(
        f"""
        import warnings
        from kfp import components, local
        warnings.simplefilter("ignore")
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root={str(tmp_path)!r})
        line = components.load_component_from_file({pipeline_package("training")!r})
        line(**{small!r})
        """
    )
    before = set(run_ids(small["store_uri"]))
    clean = {k: v for k, v in os.environ.items() if not k.startswith("YOLOLINE_RUN")}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=clean
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (run_id,) = set(run_ids(small["store_uri"])) - before
    records = read_run(open_store(small["store_uri"]), run_id)
    assert set(records) == RUN_STEPS
    assert records["register_model"].state is StepState.REUSED
    assert records["register_model"].facts["version"] == first.version
    pages = {path.parent.name: path for path in tmp_path.rglob("report")}
    assert set(pages) == {step.replace("_", "-") for step in RUN_STEPS}
    assert all(page.read_text().lstrip().startswith("<!doctype html>") for page in pages.values())


@pytest.mark.server
def test_line_on_minio_is_the_line_on_a_folder(
    first: Line, small: dict[str, Any], minio_server: MinioServer, tmp_path: Path
) -> None:
    bucket = minio_server.make_bucket()
    raw = minio_server.upload(Path(source_of(tmp_path / "source")), bucket, "raw")
    environ = minio_server.environ
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        uris = {"source_uri": raw, "store_uri": f"s3://{bucket}/line"}
        there = run_line(cwd=tmp_path, **small | uris)
        assert there.exit_code == 0, there.output
        assert there.states(*KEPT, *LEARNT) == MADE
        assert "steel-sheet" in there.report
    assert there.records["resolve_source"].digest == first.records["resolve_source"].digest
    assert there.version == first.version
    secrets = (minio_server.access_key, minio_server.secret_key)
    assert not any(secret in there.output for secret in secrets)
