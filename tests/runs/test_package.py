from __future__ import annotations

from pathlib import Path

import pytest

from yololine.errors import UsageError
from yololine.runs.package import Parameter, ParameterType, read_package


def test_a_compiled_pipeline_tells_its_parameters_and_steps(fake_package: Path) -> None:
    package = read_package(fake_package)
    assert package.name == "fake"
    assert package.description == "Learns nothing, in the training line's way."
    assert package.steps == {"resolve_source", "train_detector", "report_run"}
    told = {parameter.name: (parameter.type, parameter.default) for parameter in package.parameters}
    assert told == {
        "source_uri": (ParameterType.STRING, None),
        "store_uri": (ParameterType.STRING, "s3://mlpipeline/yololine"),
        "epochs": (ParameterType.INTEGER, 3),
        "epoch_seconds": (ParameterType.NUMBER, 0.1),
        "mishap": (ParameterType.STRING, ""),
        "shuffle": (ParameterType.BOOLEAN, True),
        "names": (ParameterType.LIST, ["scratch", "dent"]),
        "labels": (ParameterType.STRUCT, {"share": 0.5}),
    }
    assert isinstance(told["epochs"][1], int)
    assert (
        Parameter(
            name="source_uri",
            type=ParameterType.STRING,
            description="Raw images and labels.",
            default=None,
        )
        in package.parameters
    )


@pytest.mark.parametrize("text", ["", "a: [", "a: 1", "- 1", "root: {}"])
def test_any_other_file_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "other.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match="is no compiled pipeline"):
        read_package(file)
