from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from yololine import pipeline_package
from yololine.runs.package import read_package
from yololine.steps.checks import preflight
from yololine.storage import open_store
from yololine.telemetry.journal import read_record
from yololine.telemetry.records import StepState


@pytest.fixture
def good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Parameters that pass: the two that must be given, a store, and the pipeline's defaults."""
    monkeypatch.setenv("YOLOLINE_RUN_ID", "run-1")
    source = tmp_path / "source"
    source.mkdir()
    (source / "a.jpg").write_bytes(b"a picture, for all that preflight looks at")
    (source / "a.txt").touch()
    package = read_package(Path(pipeline_package("training")))
    return {parameter.name: parameter.default for parameter in package.parameters} | {
        "source_uri": str(source),
        "model_name": "steel-sheet",
        "store_uri": str(tmp_path / "store"),
    }


def _words(parameters: dict[str, Any], tmp_path: Path) -> str:
    with pytest.raises(SystemExit):
        preflight(str(tmp_path / "page"), parameters=parameters)
    record = read_record(open_store(parameters["store_uri"]), "run-1", "preflight")
    assert record
    assert record.state is StepState.FAILED
    assert record.error
    return record.error.message


def test_what_is_right_passes(good: dict[str, Any], tmp_path: Path) -> None:
    preflight(str(tmp_path / "page"), parameters=good)
    record = read_record(open_store(good["store_uri"]), "run-1", "preflight")
    assert record
    assert record.state is StepState.DONE
    assert record.parameters == good
    assert all(check["ok"] for check in record.facts["checks"])
    assert not list((tmp_path / "store" / "runs").glob(".probe*"))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"model_name": "Steel Sheet"}, "use 'steel-sheet'"),
        ({"source_format": "coco"}, "use one of: auto, yolo, voc"),
        ({"architecture": "yolo11q"}, "did you mean 'yolo11"),
        ({"epochs": 0}, "epochs=0: must be 1 to 100000"),
        ({"image_size": 650}, "use 640 or 672"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"seed": -1}, "seed=-1"),
        ({"train_options": {"mosiac": 1}}, "did you mean 'mosaic'"),
        ({"val_fraction": 0.0}, "val_fraction=0.0: must be above 0"),
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "leave nothing to train on"),
        ({"augmentation_copies": 21}, "must be 0 to 20"),
        ({"augmentation_policy": "stanard"}, "use none, standard, or the path"),
        ({"max_dropped_fraction": 25}, "max_dropped_fraction=25: must be 0 to 1"),
        ({"min_map50": 50}, "min_map50=50: must be 0 to 1"),
        ({"promotion_rules": {"map": 0.5}}, "is no metric"),
        ({"train_retries": -1}, "train_retries=-1"),
        ({"train_retry_wait_seconds": 10**18}, "must be 0 to 86400"),
        ({"gpu_count": "two"}, "gpu_count='two': must be a whole number, 0 or more, as text"),
        ({"gpu_count": "-1"}, "gpu_count='-1': must be a whole number"),
        ({"gpu_count": "\u00b2"}, "gpu_count='\u00b2': must be a whole number"),
        ({"gpu_type": "nvidia com/gpu"}, "is no Kubernetes resource"),
        ({"cpu": "four"}, "cpu='four': is no Kubernetes quantity"),
        ({"memory": "16 GB"}, "memory='16 GB'"),
        ({"node_selector": {"gpu-type": 100}}, "node_selector['gpu-type']=100"),
        ({"node_selector": {"gpu type": "a100"}}, "node_selector['gpu type']: is no label's name"),
        ({"node_selector": {"a/b/c": "x"}}, "node_selector['a/b/c']: is no label's name"),
        ({"tolerations": ["gpu"]}, "tolerations[0]='gpu': is no object"),
        ({"tolerations": [{"key": 3}]}, "tolerations[0].key=3: is no text; put it in quotes"),
        (
            {"tolerations": [{"key": "a", "operator": "Like"}]},
            "is no operator; use Exists or Equal",
        ),
        ({"tolerations": [{"operator": "Exists", "value": "x"}]}, "means nothing with operator"),
        ({"tolerations": [{"effect": "NoSchedule"}]}, "has no key, which only operator Exists"),
        ({"tolerations": [{"key": "a", "tolerationSeconds": "5"}]}, "is no number; use 300"),
        ({"tolerations": [{"efect": "NoSchedule"}]}, "use effect"),
        ({"tolerations": [{"effect": "Never"}]}, "is no taint effect"),
        ({"train_image": " "}, "train_image=' ': is no name of an image; write it as registry"),
        ({"data_image": ""}, "data_image='': is no name of an image"),
        ({"data_image": "registry/My Data"}, "data_image='registry/My Data': is no name of"),
        ({"data_image": "https://registry/data:1"}, "is no name of an image"),
        ({"predictor_image": " "}, "predictor_image=' ': is no name of an image"),
        ({"deploy_replicas": 0}, "deploy_replicas=0: must be 1 to 1000"),
        ({"deploy_max_replicas": -1}, "deploy_max_replicas=-1: must be 0 to 1000"),
        (
            {"deploy_replicas": 3, "deploy_max_replicas": 2},
            "deploy_max_replicas=2: is less than deploy_replicas=3",
        ),
        ({"deploy_strategy": "canary"}, "use one of: rolling, shadow"),
        ({"deploy_requests_uri": "/recorded"}, "deploy_requests_uri='/recorded': would be asked"),
        (
            {"deploy": True, "deploy_strategy": "shadow", "deploy_requests_uri": "/nowhere"},
            "deploy_requests_uri='/nowhere': is not there",
        ),
        ({"deploy_timeout_seconds": 29}, "deploy_timeout_seconds=29: must be 30 to 86400"),
        ({"deploy_cpu": "50m"}, "deploy_cpu='50m': is less"),
        ({"deploy_memory": "lots"}, "deploy_memory='lots': is no Kubernetes quantity"),
        ({"deploy_gpu_count": "-1"}, "deploy_gpu_count='-1': must be a whole number"),
        ({"deploy_gpu_count": "1", "gpu_type": "a b", "gpu_count": "0"}, "gpu_type='a b'"),
        ({"deploy_node_selector": {"a b": "c"}}, "deploy_node_selector['a b']"),
        ({"deploy_tolerations": [{"efect": "x"}]}, "deploy_tolerations[0].efect"),
        ({"deploy_namespace": "My Team"}, "deploy_namespace='My Team': is no name"),
        ({"serving_account": "A"}, "serving_account='A': is no name"),
        ({"deploy_service": "2nd"}, "deploy_service='2nd': must be 1 to 41"),
        ({"deploy": True}, "is no bucket, and the pods that serve a version read it from one"),
        ({"cpu": "250m"}, "cpu='250m': is less than the step asks for"),
        ({"memory": "512Mi"}, "memory='512Mi': is less"),
        ({"gpu_count": "3"}, "batch_size=16: cannot be dealt out evenly to gpu_count=3"),
        ({"weights_sha256": "00" * 32}, "is given without weights_uri"),
        ({"weights_uri": "/nowhere/best.pt"}, "weights_uri needs one"),
        ({"weights_uri": "/nowhere/best.pt", "weights_sha256": "00" * 32}, "is not there"),
        ({"weights_uri": "/etc", "weights_sha256": "00" * 32}, "weights_uri='/etc': is not there"),
        ({"weights_uri": "/etc/", "weights_sha256": "00" * 32}, "give the URI of the .pt file"),
        ({"weights_uri": "https://a/b.pt", "weights_sha256": "00" * 32}, "is no store"),
        ({"source_uri": "/nowhere"}, "/nowhere: is not there; check source_uri"),
        ({"source_uri": "/etc/passwd"}, "/etc/passwd: is a file, and a source is a folder"),
        ({"source_uri": "http://169.254.169.254/latest"}, "is no store: a bucket or a folder"),
    ],
)
def test_what_is_wrong_is_named(
    good: dict[str, Any], tmp_path: Path, wrong: dict[str, Any], words: str
) -> None:
    assert words in _words(good | wrong, tmp_path)


@pytest.mark.parametrize(
    "image",
    [
        "train",
        "yololine/train:0.1.0",
        "registry.example.com:5000/ml/yololine/train:0.1.0-ultralytics8.2.0",
        f"ghcr.io/a_b/train@sha256:{'0' * 64}",
        f"localhost:5000/a/b/train:1@sha256:{'0' * 64}",
    ],
)
def test_images_have_many_names(good: dict[str, Any], tmp_path: Path, image: str) -> None:
    preflight(str(tmp_path / "page"), parameters=good | {"train_image": image})


def test_all_faults_are_named_at_once(good: dict[str, Any], tmp_path: Path) -> None:
    wrong = {"epochs": 0, "image_size": 650, "model_name": "A", "source_uri": "/nowhere"}
    words = _words(good | wrong, tmp_path)
    assert words.startswith("4 faults")
    for value in ("epochs=0", "image_size=650", "model_name='A'", "/nowhere"):
        assert value in words


def _with_a_layout(good: dict[str, Any], data_yaml: str) -> dict[str, Any]:
    Path(good["source_uri"], "data.yaml").write_text(data_yaml)
    return good


def test_a_source_without_a_layout_is_refused(good: dict[str, Any], tmp_path: Path) -> None:
    """Before any of its pictures is read."""
    words = _words(_with_a_layout(good, "names: [a, a]") | {"epochs": 0}, tmp_path)
    assert "data.yaml: a: named more than once" in words
    assert "epochs=0" in words


def test_what_the_layout_is_stands_in_the_record(good: dict[str, Any], tmp_path: Path) -> None:
    preflight(str(tmp_path / "page"), parameters=good)
    record = read_record(open_store(good["store_uri"]), "run-1", "preflight")
    assert record
    [told] = [row["detail"] for row in record.facts["checks"] if row["name"] == "source"]
    assert told == f"{good['source_uri']}, yolo: 1 pictures, 1 with a label file"


def test_a_rule_for_a_class_that_there_is_not_is_refused(
    good: dict[str, Any], tmp_path: Path
) -> None:
    """Where the source names its classes; else cleaning is the first to know them."""
    rules = {"promotion_rules": {"per_class.scratchs.ap50": 0.5, "ap50_95": 0.1}}
    preflight(str(tmp_path / "page"), parameters=good | rules)
    words = _words(_with_a_layout(good, "names: [scratch, dent]") | rules, tmp_path)
    assert "promotion_rules['per_class.scratchs.ap50']=0.5: names a class that the model" in words
    assert "did you mean 'scratch'? Known: scratch, dent" in words


def test_a_password_reaches_neither_record_nor_page(
    good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = _words(good | {"source_uri": "s3://AKIA:hunter2@bucket/x"}, tmp_path)
    assert "s3://***" in words
    written = [path.read_text() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any("hunter2" in text for text in (words, capsys.readouterr().out, *written))


def test_a_store_within_the_source_is_refused(good: dict[str, Any], tmp_path: Path) -> None:
    good["store_uri"] = f"{good['source_uri']}/store"
    assert "put the store beside the source" in _words(good, tmp_path)


def test_a_store_that_does_not_work_is_told_in_the_log(
    good: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("a file")
    with pytest.raises(SystemExit):
        preflight(
            str(tmp_path / "page"), parameters=good | {"store_uri": str(blocked), "epochs": 0}
        )
    said = capsys.readouterr().out
    assert str(blocked) in said
    assert "epochs=0" in said
