from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import yololine

ROOT = Path(__file__).parents[1]


def _yololine(*argv: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "yololine", *argv],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "COLUMNS": "100"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "argv",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["sample", "-h"],
        ["show", "-h"],
        ["compile", "-h"],
        ["deploy", "-h"],
        ["rollback", "-h"],
        ["serve", "-h"],
    ],
)
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    program = f"""
import atexit, sys
heavy = {{"kfp", "numpy", "pydantic", "rich", "torch", "PIL", "minio", "yololine.steps"}}
atexit.register(lambda: print(sorted(heavy & set(sys.modules)), file=sys.stderr))
sys.argv[1:] = {argv!r}
from yololine.cli import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0
    assert done.stderr == "[]\n"


def test_the_version_is_the_packages() -> None:
    assert _yololine("--version").stdout == f"{yololine.__version__}\n"


def test_help_of_a_pipeline_is_its_yaml() -> None:
    from yololine.runs.package import read_package
    from yololine.runs.parameters import option_name

    done = _yololine("run", "training", "--help")
    assert done.returncode == 0
    # Whatever the lines' width.
    told = "".join(done.stdout.split())
    package = read_package(Path(yololine.pipeline_package("training")))
    for parameter in package.parameters:
        assert option_name(parameter.name) in told
        assert "".join(parameter.description.split()) in told
    assert "--parametersFILE.yaml" in told
    assert "--source-uriTEXT" in told
    assert "[required]" in told
    # Not the cluster's store: this is where a run on this machine writes.
    assert "[default:yololine-store]" in told


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["run", "trainin"], "No such command 'trainin'"),
        (["run", "training", "--epoch", "3"], "No such option '--epoch'"),
        (["run", "training", "--epochs", "three"], "--epochs three: a whole number is wanted"),
        (["run", "training"], "--source-uri: has no default and was not given"),
        (["run", "training", "--parameters", "none.yaml"], "none.yaml: cannot be read"),
    ],
)
def test_a_wrong_command_is_told_in_words_and_starts_nothing(
    tmp_path: Path, argv: list[str], told: str
) -> None:
    done = _yololine(*argv, cwd=tmp_path)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_to_deploy_is_asked_what_the_pipeline_is_asked() -> None:
    from yololine.runs.package import read_package

    told = "".join(_yololine("deploy", "--help").stdout.split())
    of_a_run = {"model", "rollback", "data_image", "store_secret", "store_config"}
    for parameter in read_package(Path(yololine.pipeline_package("deployment"))).parameters:
        if parameter.name not in of_a_run:
            option = parameter.name.removeprefix("deploy_").replace("_", "-")
            assert f"--{option}" in told
            assert "".join(parameter.description.split()) in told
    assert "[default:yololine-store]" in told
    back = _yololine("rollback", "--help").stdout
    for option in ("--to", "--namespace", "--golden", "--timeout-seconds", "--store-uri"):
        assert option in back
    # The version's own.
    assert "--cpu" not in back


@pytest.mark.parametrize(
    ("argv", "code", "told"),
    [
        (["deploy"], 2, "Missing argument 'NAME[@VERSION]'"),
        (["deploy", "sheet", "--replicas", "two"], 2, "--replicas two: a whole number is wanted"),
        (["deploy", "sheet", "--strategy", "canary"], 2, "use one of: rolling, shadow"),
        (["deploy", "sheet"], 2, "is no bucket, and the pods that serve a version read it"),
        (["deploy", "sheet", "--store-uri", "s3://"], 2, "s3://"),
        (["rollback", "sheet"], 1, "is no usable kubeconfig"),
        # By the words that were typed, not by those of the pipeline.
        (["deploy", "sheet"], 2, "error: --store-uri '"),
        (["deploy", "sheet", "--replicas", "0"], 2, "error: --replicas 0: must be 1 to 1000"),
        (
            ["deploy", "sheet", "--replicas", "3", "--max-replicas", "2", "--cpu", "none"],
            2,
            "- --max-replicas 2: is less than --replicas 3",
        ),
        (
            ["deploy", "sheet", "--requests-uri", "recorded"],
            2,
            "there is no shadow; use --strategy shadow, or leave --requests-uri empty",
        ),
        (["deploy", "sheet", "--gpu-count", "1", "--gpu-type", "a b"], 2, "--gpu-type 'a b': is"),
        (["rollback", "Sheet"], 2, "error: SERVICE 'Sheet': must be 1 to 41 lower-case"),
        (["rollback", "sheet", "--namespace", "A B"], 2, "error: --namespace 'A B': is no name"),
        (["serve", "sheet"], 2, "model 'sheet': has no version in"),
    ],
)
def test_going_live_is_refused_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, argv: list[str], code: int, told: str
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    done = _yololine(*argv, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("layout", ["yolo", "voc"])
def test_a_sample_is_made_and_told(tmp_path: Path, layout: str) -> None:
    done = _yololine("sample", "made", "--layout", layout, "--images", "20", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"20 images in layout {layout}" in done.stdout
    assert "planted: " in done.stdout
    assert any((tmp_path / "made").rglob("*.jpg"))


def test_a_sample_is_refused_in_words(tmp_path: Path) -> None:
    done = _yololine("sample", "made", "--images", "1", cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
