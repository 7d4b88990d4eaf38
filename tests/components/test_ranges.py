"""What docstrings say of ranges is what the code checks: at each end, and beyond."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
from kfp import dsl

import components
import yololine
from components.catalogue import SAID, Input, inputs
from yololine import images, pipeline_package
from yololine.runs.package import Parameter, read_package
from yololine.sample import generate_sample
from yololine.steps.judge import EvaluationManifest
from yololine.storage import FileRef, open_store
from yololine.telemetry.journal import read_record
from yololine.telemetry.records import StepState

RUN = "run-1"
RANGE = re.compile(
    r"(?:a Kubernetes quantity, )?(?P<above>above )?(?P<least>\d+(?:\.\d+)?)(?P<unit>m|Gi)?"
    r"(?: to (?P<most>\d+)| or more)?(?: and below (?P<below>\d+))?"
    r"(?:, a multiple of (?P<step>\d+))?(?:, .*)?"
)


class Range(NamedTuple):
    """Values at the ends of a range, and the nearest ones beyond them."""

    inside: list[Any]
    outside: list[Any]


def range_of(told: Input) -> Range | None:
    """What an input's range says; None where it is no range of numbers."""
    found = RANGE.fullmatch(told.range)
    if not found:
        return None
    value: Callable[[float], Any] = {
        "integer": int,
        "number": float,
        "object": lambda number: {"ap50_95": number},
        "text": lambda number: f"{int(number)}{found['unit'] or ''}",
    }[told.type]
    near = int(found["step"] or 1) if told.type in ("integer", "text") else 0.001
    least = float(found["least"])
    inside, outside = [least], [least - near]
    if found["above"]:
        inside, outside = [least + near], [least]
    if found["most"]:
        inside.append(float(found["most"]))
        outside.append(float(found["most"]) + near)
    if found["below"]:
        inside.append(float(found["below"]) - near)
        outside.append(float(found["below"]))
    if not found["most"] and not found["below"]:
        inside.append(1e9)  # there is no end, unless the docstring says so
    if found["step"]:
        outside.append(least + 1)
    return Range([value(number) for number in inside], [value(number) for number in outside])


def ranges(name: str) -> dict[str, Range]:
    found = {told.name: range_of(told) for told in inputs(components.load(name))}
    return {one: values for one, values in found.items() if values}


def test_every_number_has_a_range() -> None:
    for name in components.COMPONENTS:
        numbers = {i.name for i in inputs(components.load(name)) if i.type in ("integer", "number")}
        free = {i.name for i in inputs(components.load(name)) if i.range == "any whole number"}
        assert numbers <= ranges(name).keys() | free, name


@pytest.fixture(scope="module")
def line() -> dict[str, Parameter]:
    package = read_package(Path(pipeline_package("training")))
    return {parameter.name: parameter for parameter in package.parameters}


def test_the_line_says_the_same_of_its_parameters(line: dict[str, Parameter]) -> None:
    for told in inputs(components.load("preflight")):
        said = SAID.fullmatch(line[told.name].description) if told.name in line else None
        if said and range_of(told):
            assert (said["unit"] or "", said["range"]) == (told.unit, told.range)


def test_a_component_has_the_lines_defaults(line: dict[str, Parameter]) -> None:
    for name in components.COMPONENTS:
        for parameter, spec in (components.load(name).component_spec.inputs or {}).items():
            if spec.optional and parameter in line:
                assert spec.default == line[parameter].default, f"{name}: {parameter}"


PREFLIGHT = ranges("preflight")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("source") / "photos"
    generate_sample(folder, images=24, image_size_wh=(96, 96), seed=3)
    return str(folder)


@pytest.fixture
def good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: str, line: dict[str, Parameter]
) -> dict[str, Any]:
    """Parameters that pass."""
    monkeypatch.setenv("YOLOLINE_RUN_ID", RUN)
    defaults = {name: parameter.default for name, parameter in line.items()}
    # Small, so that the other one may be nearly 1.
    defaults |= {"val_fraction": 0.0001, "test_fraction": 0.0001}
    store_uri = str(tmp_path / "store")
    return defaults | {"source_uri": photos, "model_name": "x", "store_uri": store_uri}


def preflight(tmp_path: Path, parameters: dict[str, Any]) -> str:
    """What preflight has against them."""
    from yololine import steps

    try:
        steps.preflight(str(tmp_path / "page"), parameters=parameters)
    except SystemExit:
        record = read_record(open_store(parameters["store_uri"]), RUN, "preflight")
        assert record
        assert record.error
        return record.error.message
    return ""


@pytest.mark.parametrize(
    ("name", "value"), [(n, value) for n, told in PREFLIGHT.items() for value in told.inside]
)
def test_preflight_takes_what_is_in_the_range(
    tmp_path: Path, good: dict[str, Any], name: str, value: Any
) -> None:
    dealt_out = {"batch_size": max(1, int(value))} if name == "gpu_count" else {}
    assert preflight(tmp_path, good | dealt_out | {name: value}) == ""


@pytest.mark.parametrize(
    ("name", "value"), [(n, value) for n, told in PREFLIGHT.items() for value in told.outside]
)
def test_preflight_refuses_what_is_not(
    tmp_path: Path, good: dict[str, Any], name: str, value: Any
) -> None:
    assert re.search(rf"\b{name}\b", preflight(tmp_path, good | {name: value}))


class Alone:
    """Components called by hand, each with what the ones before it made."""

    def __init__(self, folder: Path) -> None:
        """In a folder."""
        self.folder = folder
        self.source_inputs: dict[str, str] = {}
        self.store = str(folder / "store")

    def call(self, name: str, **given: Any) -> Any:
        """Run the component's own body; what it returns.

        Raises:
            SystemExit: It refuses; the words are on stdout and in its record.
        """
        component = components.load(name)
        spec = component.component_spec
        outputs = {
            output: dsl.Metrics(uri=self.path(output))
            for output in (spec.outputs or {})
            if output != "Output"
        }
        artifacts = {
            told.name: SimpleNamespace(path=self.path(told.name))
            for told in inputs(component)
            if told.type in ("Artifact", "Dataset", "Model")
        }
        return component.python_func(store_uri=self.store, **artifacts, **outputs, **given)

    def path(self, artifact: str) -> str:
        """Where an artifact lies; the run's id is in it, as in KFP's paths."""
        return str(self.folder / RUN / "step" / artifact)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, photos: str) -> Alone:
    made = Alone(tmp_path_factory.mktemp("alone"))
    digest = made.call("resolve_source", source_uri=photos)
    made.source_inputs = {"source_uri": photos, "source_digest": digest}
    made.call("clean_dataset", **made.source_inputs, max_dropped_fraction=0.5)
    made.call("split_dataset")
    made.call("augment_dataset", augmentation_policy="none")
    made.call("prepare_weights")
    scored = EvaluationManifest(
        key="0" * 64,
        export_key="1" * 64,
        test_set_digest="2" * 64,
        metrics={"ap50": 0.7, "ap50_95": 0.4, "per_class": {}},
        precision="f32",
        golden=FileRef(path="golden.parquet", sha256="3" * 64, size_bytes=1),
        tool_version=yololine.__version__,
    )
    Path(made.path("evaluation")).write_text(scored.model_dump_json())
    return made


ON_PROCESSOR = {"resources": ["nvidia.com/gpu", "0", "1", "2Gi"]}
CASTINGS = {"model": "castings", "predictor_image": images.PREDICTOR}
CHECKED: dict[str, dict[str, Any]] = {
    "clean_dataset": {},
    "split_dataset": {},
    "augment_dataset": {},
    "build_test_set": {},
    "train_detector": ON_PROCESSOR,
    "decide_promotion": {},
    "deploy_model": CASTINGS,
}
"""Components with ranges -> what else they need."""
OUTSIDE = [
    (name, rest | {parameter: value})
    for name, rest in CHECKED.items()
    for parameter, told in ranges(name).items()
    for value in told.outside
]
WRONG = [
    ("clean_dataset", {"source_format": "coco"}),
    ("clean_dataset", {"source_digest": "a digest of yesterday"}),
    ("split_dataset", {"val_fraction": 0.5, "test_fraction": 0.5}),
    ("augment_dataset", {"augmentation_policy": "stanard"}),
    ("augment_dataset", {"policy_sha256": "a policy of yesterday"}),
    ("prepare_weights", {"architecture": "yolo11q"}),
    ("prepare_weights", {"weights_sha256": "0" * 64}),
    ("prepare_weights", {"weights_uri": "/no/such.pt"}),
    ("prepare_weights", {"weights_uri": "/no/such.pt", "weights_sha256": "0" * 64}),
    ("train_detector", ON_PROCESSOR | {"train_options": {"mosiac": 1}}),
    ("train_detector", {"resources": ["nvidia.com/gpu"]}),
    ("train_detector", {"resources": ["nvidia.com/gpu", 1.0, "1", "2Gi"]}),
    ("decide_promotion", {"promotion_rules": {"map": 0.5}}),
    ("deploy_model", CASTINGS),
    ("deploy_model", CASTINGS | {"model": "Castings"}),
    ("deploy_model", CASTINGS | {"deploy_strategy": "canary"}),
    ("deploy_model", CASTINGS | {"deploy_requests_uri": "s3://camera/line-1"}),
    ("deploy_model", CASTINGS | {"deploy_replicas": 3, "deploy_max_replicas": 2}),
    ("deploy_model", CASTINGS | {"deploy_node_selector": {"a b": "c"}}),
]


def test_every_component_with_a_range_is_tried() -> None:
    assert {name for name in components.COMPONENTS if ranges(name)} == {"preflight", *CHECKED}


@pytest.mark.parametrize(("name", "given"), OUTSIDE + WRONG)
def test_a_component_alone_refuses_what_is_wrong(
    alone: Alone, capsys: pytest.CaptureFixture[str], name: str, given: dict[str, Any]
) -> None:
    """In words, in log and journal alike, whether or not there was a preflight."""
    rest = alone.source_inputs if name == "clean_dataset" else {}
    with pytest.raises(SystemExit):
        alone.call(name, **rest | given)
    record = read_record(open_store(alone.store), RUN, name)
    assert record
    assert record.state is StepState.FAILED
    assert record.error
    assert record.error.remedy in record.error.message
    assert f"error: {name}: {record.error.message}" in capsys.readouterr().out
