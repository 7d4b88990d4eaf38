from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from yololine.errors import Faults, UsageError
from yololine.runs.package import Parameter, ParameterType
from yololine.runs.parameters import local_defaults, merge, option_name, with_absolute_paths

INTEGER, NUMBER, STRING, BOOLEAN, LIST, STRUCT = (
    ParameterType.INTEGER,
    ParameterType.NUMBER,
    ParameterType.STRING,
    ParameterType.BOOLEAN,
    ParameterType.LIST,
    ParameterType.STRUCT,
)


def _parameter(kind: ParameterType, default: Any = None, name: str = "it") -> Parameter:
    return Parameter(name=name, type=kind, description="", default=default)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (INTEGER, "3", 3),
        (INTEGER, "-3", -3),
        (INTEGER, "010", 10),
        (INTEGER, "3.0", 3),
        (INTEGER, "1e2", 100),
        (NUMBER, "3", 3.0),
        (NUMBER, "1e-3", 0.001),
        (STRING, "3", "3"),
        (STRING, "", ""),
        (STRING, "{a: b", "{a: b"),
        (BOOLEAN, "true", True),
        (BOOLEAN, "No", False),
        (LIST, "[1, two]", [1, "two"]),
        (LIST, "[]", []),
        (STRUCT, '{"a": 1e-3}', {"a": 0.001}),
        (STRUCT, "{a: {b: [1]}}", {"a": {"b": [1]}}),
    ],
)
def test_an_option_is_read_in_its_parameters_type(
    kind: ParameterType, text: str, value: Any
) -> None:
    merged = merge([_parameter(kind)], options={"it": text})["it"]
    assert merged == value
    assert type(merged) is type(value)


@pytest.mark.parametrize(
    ("kind", "text", "is_wanted"),
    [
        (INTEGER, "three", "a whole number is wanted, this is text"),
        (INTEGER, "3.5", "a whole number is wanted, this is a number"),
        (INTEGER, "inf", "a whole number is wanted, finite and at most 9007199254740992"),
        (INTEGER, "1e300", "a whole number is wanted, finite and at most"),
        (INTEGER, "9" * 5000, "a whole number is wanted"),
        (INTEGER, "", "a whole number is wanted"),
        (NUMBER, "nan", "a number is wanted, finite and at most 9007199254740992"),
        (NUMBER, "-inf", "a number is wanted, finite"),
        (BOOLEAN, "1", "true or false is wanted, this is text"),
        (LIST, "a", "a list is wanted, this is text"),
        (LIST, "[a", "a list is wanted, this is text"),
        (LIST, "{a: 1}", "a list is wanted, this is a mapping"),
        (STRUCT, "[1]", "a mapping is wanted, this is a list"),
        (STRUCT, "{1: a}", "a mapping is wanted, this is a mapping of more than KFP can carry"),
        (STRUCT, '{"a": null}', "this is a mapping of more than KFP can carry"),
        (LIST, "[~]", "this is a list of more than KFP can carry"),
        (STRUCT, '{"a": NaN}', "this is a mapping of more than KFP can carry"),
        (STRUCT, '{"a": 1e400}', "this is a mapping of more than KFP can carry"),
        (STRUCT, f'{{"a": 1{"0" * 400}}}', "this is a mapping of more than KFP can carry"),
        (STRUCT, '{"a": 1, "a": 2}', "a mapping is wanted, this is text"),
        (STRUCT, "{a: 1, a: 2}", "a mapping is wanted, this is text"),
        (LIST, "[" * 500 + "]" * 500, "this is a list of more than KFP can carry"),
        (LIST, "[" * 100_000, "a list is wanted, this is text"),
        (LIST, "[2026-01-01]", "a list is wanted, this is a list of more than KFP can carry"),
    ],
)
def test_an_option_of_another_type_is_refused(
    kind: ParameterType, text: str, is_wanted: str
) -> None:
    with pytest.raises(Faults) as refused:
        merge([_parameter(kind, default="")], options={"it": text})
    assert f"--it {text}".rstrip()[:300] in str(refused.value)
    assert is_wanted in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "line", "value"),
    [
        (INTEGER, "it: 3", 3),
        (NUMBER, "it: 1e-3", 0.001),
        (NUMBER, "it: 2", 2.0),
        (STRING, 'it: "1.10"', "1.10"),
        (BOOLEAN, "it: yes", True),
        (LIST, "it:\n- a\n- 1", ["a", 1]),
        (STRUCT, "it:\n  a: 0.5", {"a": 0.5}),
        (STRING, "it:", "default"),
        (STRING, "", "default"),
        (STRING, "# nothing", "default"),
    ],
)
def test_a_file_gives_values(tmp_path: Path, kind: ParameterType, line: str, value: Any) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(line)
    assert merge([_parameter(kind, default="default")], file=file) == {"it": value}


@pytest.mark.parametrize(
    ("kind", "line", "told"),
    [
        (STRING, "it: 1.10", "it: 1.1: text is wanted, this is a number; put it in quotes"),
        (STRING, "it: yes", "it: True: text is wanted, this is true or false; put it in quotes"),
        (INTEGER, "it: yes", "a whole number is wanted, this is true or false"),
        (BOOLEAN, "it: 1", "true or false is wanted, this is a number"),
        (INTEGER, "itt: 1", "itt: is no parameter of this pipeline; did you mean it?"),
        (INTEGER, "7: 1", "7: is no parameter of this pipeline; remove it"),
        (INTEGER, "- it", "is a list, not a mapping of parameters"),
        (INTEGER, "it: 1\n b: [", "parameters.yaml line 2: is no YAML"),
        (INTEGER, "it: 1\nit: 2", "parameters.yaml line 2: it: is given twice"),
        (STRING, "it: 2026-01-01", "text is wanted, this is a date; put it in quotes"),
        (STRING, "it: 2026-13-45", "is no YAML (month must be in 1..12)"),
        (STRING, 'it: "a\\0b"', "it: a\\x00b: holds a control character"),
    ],
)
def test_a_files_faults_are_told(tmp_path: Path, kind: ParameterType, line: str, told: str) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text(line)
    with pytest.raises(UsageError, match=r"parameters\.yaml") as refused:
        merge([_parameter(kind, default="")], file=file)
    assert told in str(refused.value)


SECRET = "holds a user, password or signature, which would reach logs and reports"


@pytest.mark.parametrize(
    ("kind", "text", "told"),
    [
        (STRING, "s3://AKIA:hunter2@bucket/x", f"--it s3://***@bucket/x: {SECRET}"),
        (STRING, "https://host/x?X-Amz-Signature=hunter2", f"--it https://host/x?***: {SECRET}"),
        (STRUCT, '{"a": ["s3://AKIA:hunter2@bucket"]}', f'["s3://***@bucket"]}}: {SECRET}'),
        (STRING, "a\nb", r"--it a\nb: holds a control character, or is not UTF-8"),
        (STRING, "\udcff", r"--it \udcff: holds a control character, or is not UTF-8"),
        (STRUCT, '{"a\\u0000": 1}', "holds a control character"),
        (STRING, "{{$.pipeline_job_name}}", "holds {{, with which Kubeflow Pipelines begins"),
        (LIST, '["{{workflow.name}}"]', "holds {{, with which Kubeflow Pipelines begins"),
    ],
)
def test_text_that_must_not_travel_is_refused(kind: ParameterType, text: str, told: str) -> None:
    with pytest.raises(Faults) as refused:
        merge([_parameter(kind)], options={"it": text})
    assert told in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_a_source_that_takes_in_the_store_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    known = [_parameter(STRING, None, name) for name in ("source_uri", "store_uri")]
    with pytest.raises(UsageError, match="source_uri='\\.': takes in the store yololine-store"):
        merge(known, options={"source_uri": "."}, defaults={"store_uri": "yololine-store"})
    assert not list(tmp_path.iterdir())
    merge(known, options={"source_uri": "raw", "store_uri": "store"})


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        merge([], file=tmp_path / "none.yaml")


def test_options_go_before_the_file_and_that_before_defaults(tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text("b: 20\nc: 30")
    known = [_parameter(INTEGER, default, name) for name, default in (("a", 1), ("b", 2), ("c", 3))]
    merged = merge(known, file=file, options={"c": "300"}, defaults={"a": 10, "b": 10, "z": 10})
    assert merged == {"a": 10, "b": 20, "c": 300}


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "parameters.yaml"
    file.write_text("epoch: 3\nlr0: fast")
    known = [
        _parameter(INTEGER, 1, "epochs"),
        _parameter(NUMBER, 0.1, "lr0"),
        _parameter(STRING, None, "source_uri"),
        _parameter(BOOLEAN, True, "shuffle"),
    ]
    with pytest.raises(Faults) as refused:
        merge(known, file=file, options={"shuffle": "maybe"})
    assert refused.value.exit_code == 2
    assert [fault.value for fault in refused.value.faults] == [
        f"{file}: epoch",
        f"{file}: lr0: fast",
        "--shuffle maybe",
        "--source-uri",
    ]
    assert "did you mean epochs?" in str(refused.value)


def test_a_name_on_the_command_line_has_dashes() -> None:
    assert option_name("source_uri") == "--source-uri"


def test_the_store_is_here_unless_the_environment_names_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("YOLOLINE_STORE", raising=False)
    assert local_defaults() == {"store_uri": "yololine-store"}
    monkeypatch.setenv("YOLOLINE_STORE", "s3://bucket")
    assert local_defaults() == {"store_uri": "s3://bucket"}


def test_paths_are_made_to_mean_the_same_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/worker")
    (tmp_path / "policy.yaml").touch()
    assert with_absolute_paths(
        {
            "source_uri": " raw ",
            "store_uri": "~/store",
            "augmentation_policy": "policy.yaml",
            "deploy_requests_uri": ".",
        }
    ) == {
        "source_uri": f"{tmp_path}/raw",
        "store_uri": "/home/worker/store",
        "augmentation_policy": f"{tmp_path}/policy.yaml",
        "deploy_requests_uri": str(tmp_path),
    }
    unchanged = {
        "source_uri": " s3://bucket/raw",
        "store_uri": "file:///store",
        "augmentation_policy": "standard",
        "weights_uri": "",
        "epochs": 3,
    }
    assert with_absolute_paths(unchanged) == unchanged
