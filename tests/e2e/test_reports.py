"""The report is right whatever step failed, and however the run goes on.

One line runs whole. Each test then runs one of its real steps again, in a run of its own as
Kubeflow does it, with a real fault in what the step is given or finds in the store.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.line import Line, run_line, source_of
from yololine import steps
from yololine.errors import DatasetError
from yololine.storage import open_store
from yololine.telemetry.journal import RUN_ID_VARIABLE, read_record
from yololine.telemetry.records import STEPS, StepState

pytestmark = pytest.mark.e2e

RUN = "7c1e4b52-9a53-4f0e-b1f7-5a2f0c9d1e77"
PARAMETERS = {
    "model_name": "steel-sheet",
    "image_size": 64,
    "epochs": 1,
    "batch_size": 8,
    "augmentation_copies": 1,
    "max_dropped_fraction": 0.5,
    "min_map50": 0.0,
    "gpu_count": "0",
}


class Metrics:
    """KFP's metric artifacts, unread."""

    def log_metric(self, metric: str, value: float) -> None:
        """Drop it."""

    def log_confusion_matrix(self, categories: list[str], matrix: list[list[int]]) -> None:
        """Drop it."""


class Cluster:
    """The line's steps as KFP's pods call them, on what a finished run handed on."""

    def __init__(self, line: Line, store: Path, folder: Path) -> None:
        """Steps read what `line` made, and write into `store` and `folder`."""
        self.store = open_store(str(store))
        self.root = store
        self.folder = folder
        self._line = line
        (self._made,) = Path(line.store_uri, "runs", line.run_id, "artifacts").iterdir()

    def given(self, step: str, name: str) -> str:
        """What the step of the finished run handed on: a copy, to be spoilt at will."""
        copy = self.folder / "given" / name
        if not copy.exists():
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(self._made / step.replace("_", "-") / name, copy)
        return str(copy)

    def result(self, step: str) -> Path:
        """The folder of the step's result in this store."""
        return self.root / "results" / step / self._line.records[step].key

    def forget(self, step: str) -> None:
        """Have the step make its result anew."""
        shutil.rmtree(self.result(step))

    def shard(self) -> Path:
        """The dataset's one shard."""
        digest = self._line.records["clean_dataset"].digest
        (shard,) = (self.root / "datasets" / digest).glob("*.parquet")
        return shard

    def run(self, step: str, **changed: Any) -> None:
        """Run a step, with some of its parameters changed."""
        uri, out = self.store.uri, {n: str(self.folder / step / n) for n in ("made", "page", "pt")}
        asked = self._line.records["preflight"].parameters | {"store_uri": uri} | changed
        given = self.given
        match step:
            case "preflight":
                steps.preflight(out["page"], parameters=asked)
            case "resolve_source":
                steps.resolve_source(asked["source_uri"], uri, out["page"])
            case "clean_dataset":
                steps.clean_dataset(
                    asked["source_uri"],
                    changed.get("source_digest", self._line.records["resolve_source"].digest),
                    uri,
                    out["made"],
                    out["page"],
                    max_dropped_fraction=asked["max_dropped_fraction"],
                )
            case "split_dataset":
                steps.split_dataset(
                    given("clean_dataset", "dataset"),
                    uri,
                    out["made"],
                    out["page"],
                    **{n: asked[n] for n in ("val_fraction", "test_fraction", "seed")},
                )
            case "augment_dataset":
                steps.augment_dataset(
                    given("split_dataset", "split"),
                    uri,
                    out["made"],
                    out["page"],
                    policy_sha256="",
                    **{n: asked[n] for n in ("augmentation_policy", "augmentation_copies", "seed")},
                )
            case "prepare_weights":
                steps.prepare_weights(
                    uri,
                    out["made"],
                    out["page"],
                    **{n: asked[n] for n in ("architecture", "weights_uri", "weights_sha256")},
                )
            case "build_test_set":
                steps.build_test_set(given("split_dataset", "split"), uri, out["made"], out["page"])
            case "train_detector":
                steps.train_detector(
                    given("split_dataset", "split"),
                    given("augment_dataset", "augmented"),
                    given("prepare_weights", "weights"),
                    uri,
                    out["made"],
                    out["pt"],
                    out["page"],
                    metrics=Metrics(),
                    train_retries=0,
                    train_retry_wait_seconds=0,
                    resources=["nvidia.com/gpu", "0", "4", "16Gi"],
                    **{
                        n: asked[n]
                        for n in ("epochs", "image_size", "batch_size", "seed", "train_options")
                    },
                )
            case "export_detector":
                steps.export_detector(
                    given("split_dataset", "split"),
                    given("train_detector", "trained"),
                    uri,
                    out["made"],
                    out["pt"],
                    out["page"],
                )
            case "evaluate_detector":
                steps.evaluate_detector(
                    given("export_detector", "exported"),
                    given("build_test_set", "test_set"),
                    uri,
                    out["made"],
                    out["page"],
                    metrics=Metrics(),
                    confusion_out=Metrics(),
                )
            case "decide_promotion":
                steps.decide_promotion(
                    given("evaluate_detector", "evaluation"),
                    uri,
                    out["made"],
                    out["page"],
                    **{n: asked[n] for n in ("min_map50", "promotion_rules")},
                )
            case "register_model":
                steps.register_model(
                    given("export_detector", "exported"),
                    given("evaluate_detector", "evaluation"),
                    given("decide_promotion", "decision"),
                    uri,
                    out["made"],
                    out["page"],
                    model_name=asked["model_name"],
                )

    def handler(self, state: str) -> None:
        """The exit handler: KFP's Retry does not run it again."""
        steps.report_run(
            str(self.folder / "report"),
            store_uri=self.store.uri,
            model_name="steel-sheet",
            state=state,
        )

    @property
    def said(self) -> str:
        """What the report says that a person opens now."""
        return _said(self.store.read_bytes(f"runs/{RUN}/report.html").decode())


def _said(page: str) -> str:
    """A page's words, with one plain space for every gap."""
    body = page.split("<body>")[1].split("<script>")[0]
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", body)).split())


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Line:
    """A run that succeeded."""
    folder = tmp_path_factory.mktemp("line")
    done = run_line(
        source_uri=source_of(folder / "source"), store_uri=str(folder / "store"), **PARAMETERS
    )
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture
def cluster(line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """The finished line's store in another place, and no step run in it yet."""
    monkeypatch.setenv(RUN_ID_VARIABLE, RUN)
    store = tmp_path / "store"
    shutil.copytree(line.store_uri, store, ignore=shutil.ignore_patterns("runs", "checkpoints"))
    return Cluster(line, store, tmp_path)


def _flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def _another_sources_digest(_: Cluster) -> dict[str, Any]:
    return {"source_digest": "0" * 64}


def _a_deleted_shard(cluster: Cluster) -> dict[str, Any]:
    cluster.shard().unlink()
    return {"seed": 99}


def _a_broken_policy(cluster: Cluster) -> dict[str, Any]:
    policy = cluster.folder / "policy.yaml"
    policy.write_text("transform: [\n")
    return {"augmentation_policy": str(policy)}


def _weights_that_are_none(cluster: Cluster) -> dict[str, Any]:
    weights = cluster.folder / "weights.pt"
    weights.write_text("no weights")
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    return {"weights_uri": str(weights), "weights_sha256": sha256}


def _a_shard_with_a_flipped_bit(cluster: Cluster) -> dict[str, Any]:
    cluster.forget("build_test_set")
    _flip(cluster.shard())
    return {}


def _copies_of_another_split(cluster: Cluster) -> dict[str, Any]:
    augmented = Path(cluster.given("augment_dataset", "augmented"))
    told = json.loads(augmented.read_text())
    augmented.write_text(json.dumps(told | {"split_digest": "0" * 64}))
    return {}


def _trained_weights_that_are_gone(cluster: Cluster) -> dict[str, Any]:
    cluster.forget("export_detector")
    (cluster.result("train_detector") / "weights.pt").unlink()
    return {}


def _a_model_with_a_flipped_bit(cluster: Cluster) -> dict[str, Any]:
    cluster.forget("evaluate_detector")
    _flip(cluster.result("export_detector") / "model.onnx")
    return {}


def _a_version_that_is_taken(cluster: Cluster) -> dict[str, Any]:
    (manifest,) = (cluster.root / "models" / "steel-sheet").glob("*/manifest.json")
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"key": "0" * 64}))
    return {}


FAULTS: dict[str, tuple[Callable[[Cluster], dict[str, Any]], str]] = {
    "preflight": (lambda _: {"epochs": 0}, "epochs=0"),
    "resolve_source": (lambda c: {"source_uri": str(c.folder / "gone")}, "gone"),
    "clean_dataset": (_another_sources_digest, "has changed since"),
    "split_dataset": (_a_deleted_shard, ".parquet"),
    "augment_dataset": (_a_broken_policy, "policy.yaml"),
    "prepare_weights": (_weights_that_are_none, "weights.pt"),
    "build_test_set": (_a_shard_with_a_flipped_bit, "published as"),
    "train_detector": (_copies_of_another_split, "augmented images of split"),
    "export_detector": (_trained_weights_that_are_gone, "weights.pt"),
    "evaluate_detector": (_a_model_with_a_flipped_bit, "published as"),
    "decide_promotion": (
        lambda _: {"promotion_rules": {"per_class.nonesuch.recall": 0.5}},
        "nonesuch",
    ),
    "register_model": (_a_version_that_is_taken, "is taken by another key"),
}


def test_a_run_that_succeeded(line: Line) -> None:
    said = _said(line.report)
    assert "steel-sheet Succeeded Promoted" in said
    assert "What happened" not in said
    assert "Go on from here" not in said
    assert line.version in said


@pytest.mark.parametrize("step", FAULTS)
def test_a_failure_in_each_step(
    cluster: Cluster, capsys: pytest.CaptureFixture[str], step: str
) -> None:
    spoil, words = FAULTS[step]
    changed = spoil(cluster)
    with pytest.raises(SystemExit) as ended:
        cluster.run(step, **changed)
    assert ended.value.code
    record = read_record(cluster.store, RUN, step)
    assert record
    assert record.state is StepState.FAILED
    error = record.error
    assert error
    assert words in error.message
    logged = capsys.readouterr().out
    assert f"error: {step}: {error.message}\n" in logged
    assert "Traceback" not in logged
    place = list(STEPS).index(step) + 1
    for _ in range(2):
        panel = cluster.said.split("Steps Check")[0]
        assert f"Failed at step {place} of 12: {STEPS[step]}" in panel
        own_words = error.message.removesuffix(f"; {error.remedy}")
        assert " ".join(own_words.split()) in panel
        assert " ".join(error.remedy.split())[1:].rstrip(".") in panel
        assert f"/runs/{RUN}:retry" in panel
        cluster.handler("FAILED")


def test_a_failure_of_the_exit_handler_itself(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.write_text("a file where the store should be")
    page = tmp_path / "report"
    steps.report_run(str(page), store_uri=str(store), model_name="sheet", state="COMPLETE")
    assert str(store) in _said(page.read_text())


MANIFESTS = {
    "split_dataset": ("clean_dataset", "dataset"),
    "augment_dataset": ("split_dataset", "split"),
    "build_test_set": ("split_dataset", "split"),
    "train_detector": ("prepare_weights", "weights"),
    "export_detector": ("train_detector", "trained"),
    "evaluate_detector": ("build_test_set", "test_set"),
    "decide_promotion": ("evaluate_detector", "evaluation"),
    "register_model": ("decide_promotion", "decision"),
}


@pytest.mark.parametrize("step", MANIFESTS)
def test_what_a_step_cannot_read_is_its_own_failure(cluster: Cluster, step: str) -> None:
    Path(cluster.given(*MANIFESTS[step])).write_text('{"kind": "poison"}')
    with pytest.raises(SystemExit):
        cluster.run(step)
    assert f"of 12: {STEPS[step]}" in cluster.said
    assert DatasetError.__name__ in cluster.said
    assert "of this version of yololine" in cluster.said


def test_what_was_kept_is_told_though_this_run_did_not_make_it(cluster: Cluster) -> None:
    """KFP's cache skipped what came before: its results tell of it."""
    spoil, _ = FAULTS["evaluate_detector"]
    spoil(cluster)
    with pytest.raises(SystemExit):
        cluster.run("evaluate_detector")
    kept = cluster.said.split("What is kept")[1].split("Steps Check")[0]
    for heading in ("Cleaning", "Split", "Augmentation", "Training", "Export", "Test set"):
        assert heading in kept
    assert "Reused from run" in cluster.said


def test_a_retry_after_a_failure_ends_as_a_success_with_its_history(cluster: Cluster) -> None:
    spoil, words = FAULTS["evaluate_detector"]
    spoil(cluster)
    with pytest.raises(SystemExit):
        cluster.run("evaluate_detector")
    cluster.handler("FAILED")
    assert "Failed at step 10" in cluster.said
    _flip(cluster.result("export_detector") / "model.onnx")  # back

    cluster.run("evaluate_detector")
    assert "Running" in cluster.said
    cluster.run("decide_promotion")
    cluster.run("register_model")
    assert "steel-sheet Succeeded Promoted" in cluster.said
    assert "What happened" not in cluster.said
    history = cluster.said.split("Earlier attempts")[-1].split("Decision")[0]
    assert "Test results, attempt 1 Failed" in history
    assert words in history


def test_a_retry_that_fails_later_tells_the_newer_failure(cluster: Cluster) -> None:
    spoil, _ = FAULTS["evaluate_detector"]
    spoil(cluster)
    with pytest.raises(SystemExit):
        cluster.run("evaluate_detector")
    cluster.handler("FAILED")
    _flip(cluster.result("export_detector") / "model.onnx")  # back
    cluster.run("evaluate_detector")
    with pytest.raises(SystemExit):
        cluster.run("decide_promotion", promotion_rules={"per_class.nonesuch.recall": 0.5})
    assert "Failed at step 11 of 12: Hold the metrics against the rules" in cluster.said
    assert "nonesuch" in cluster.said.split("What is kept")[0]
    assert "Test results, attempt 1 Failed" in cluster.said
