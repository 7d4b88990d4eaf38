from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.detector.tiny import save_model, untrained
from yololine.detector.ultralytics import count_parameters, load_weights_safely
from yololine.detector.weights import from_file, from_scratch
from yololine.errors import WeightsError
from yololine.storage import sha256_file


def test_parameters_are_counted() -> None:
    assert from_scratch("yolo11n", 80) == 2_624_080  # as ultralytics publishes it
    assert from_scratch("yolo11n", 2) < from_scratch("yolo11n", 80)
    with pytest.raises(WeightsError, match="'yolo11': is not a known architecture"):
        from_scratch("yolo11", 80)


@pytest.mark.parametrize("architecture", ["yolo11n", "yolov8n", "yolov9t", "yolov10n", "yolo26n"])
def test_a_detector_becomes_plain_tensors(architecture: str, tmp_path: Path) -> None:
    given, out = untrained(architecture, tmp_path / "given.pt"), tmp_path / "tensors.pt"
    count = from_file(given, sha256=sha256_file(given).upper(), architecture=architecture, out=out)
    assert count == count_parameters(architecture, 2)
    tensors = torch.load(out, weights_only=True)
    model = torch.load(given, weights_only=False)["model"]
    assert set(tensors) == set(model.state_dict())
    assert all(tensor.dtype == torch.float32 for tensor in tensors.values())
    name = "model.0.conv.weight"
    assert torch.equal(tensors[name], model.state_dict()[name].float())


def test_averaged_weights_come_before_the_last_ones(tmp_path: Path) -> None:
    """A checkpoint of a running training holds both."""
    content = torch.load(untrained("yolo11n", tmp_path / "a.pt"), weights_only=False)
    averaged = torch.load(untrained("yolo11n", tmp_path / "b.pt", seed=1), weights_only=False)
    torch.save({**content, "ema": averaged["model"]}, tmp_path / "both.pt")
    found = load_weights_safely(tmp_path / "both.pt").state["model.0.conv.weight"]
    assert torch.equal(found, averaged["model"].state_dict()["model.0.conv.weight"].float())


def test_another_sha256_is_refused(yolo11n: Path, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"sha256 [0-9a-f]{64}: weights_sha256 says 00"
    ) as raised:
        from_file(yolo11n, sha256="00" * 32, architecture="yolo11n", out=tmp_path / "out.pt")
    assert sha256_file(yolo11n) in str(raised.value)
    assert not (tmp_path / "out.pt").exists()


def test_another_architecture_is_refused(yolo11n: Path, tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError,
        match="weights of yolo11n: architecture says yolov8n; set architecture to yolo11n",
    ):
        from_file(
            yolo11n,
            sha256=sha256_file(yolo11n),
            architecture="yolov8n",
            out=tmp_path / "out.pt",
        )


def _segmenter(file: Path) -> None:
    from ultralytics.nn.tasks import SegmentationModel

    save_model(SegmentationModel("yolo11n-seg.yaml", nc=2, verbose=False), file)


def _nameless(file: Path) -> None:
    content = torch.load(untrained("yolo11n", file), weights_only=False)
    del content["model"].yaml["yaml_file"]
    torch.save(content, file)


def _without_layout(file: Path) -> None:
    content = torch.load(untrained("yolo11n", file), weights_only=False)
    del content["model"].yaml
    torch.save(content, file)


def _cut_short(file: Path) -> None:
    file.write_bytes(untrained("yolo11n", file).read_bytes()[:100_000])


def _torchscript(file: Path) -> None:
    torch.jit.save(torch.jit.trace(torch.nn.Conv2d(3, 3, 1), torch.zeros(1, 3, 8, 8)), file)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (_segmenter, "holds a SegmentationModel, not a detection model"),
        (_nameless, "weights of a layout without a name: architecture says yolo11n"),
        (_without_layout, "is not a readable detector"),
        (_cut_short, "is not a readable detector"),
        (_torchscript, "is not a readable detector.*TorchScript"),
        (lambda file: file.write_bytes(b""), "is not a readable detector"),
        (lambda file: file.write_bytes(b"\xff\xd8\xff" * 1000), "is not a readable detector"),
        (lambda file: torch.save([1, 2], file), "is not a readable detector"),
        (lambda file: torch.save({"epoch": 3}, file), "holds a NoneType, not a detection model"),
        (lambda file: torch.save({"model": {"a": 1}}, file), "holds a dict, not a detection"),
        (lambda file: torch.save({"model": torch.nn.Conv2d(1, 1, 1)}, file), "holds a Conv2d"),
    ],
)
@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_what_is_no_detector_is_refused(make: Any, words: str, tmp_path: Path) -> None:
    file = tmp_path / "given.pt"
    make(file)
    with pytest.raises(WeightsError, match=words):
        from_file(file, sha256=sha256_file(file), architecture="yolo11n", out=tmp_path / "out.pt")
    assert not (tmp_path / "out.pt").exists()


class _Touch:
    """Runs a command when it is unpickled, in one of the ways there are."""

    def __init__(self, marker: Path, way: str) -> None:
        self.marker, self.way = marker, way

    def __reduce__(self) -> tuple[Any, ...]:
        command = f"import pathlib; pathlib.Path({str(self.marker)!r}).touch()"
        ways: dict[str, tuple[Any, ...]] = {
            "os.system": (os.system, (f"touch {self.marker}",)),
            "exec": (exec, (command,)),
            "pathlib": (Path.touch, (self.marker,)),
            "torch.load": (torch.hub.load_state_dict_from_url, (self.marker.as_uri(),)),
        }
        return ways[self.way]


def _whole_file(file: Path, evil: Any) -> None:
    file.write_bytes(pickle.dumps(evil))


def _as_model(file: Path, evil: Any) -> None:
    torch.save({"epoch": -1, "model": evil, "train_args": {}}, file)


def _inside_the_model(file: Path, evil: Any) -> None:
    content = torch.load(untrained("yolo11n", file), weights_only=False)
    content["model"].names = {0: evil}
    torch.save(content, file)


def _beside_the_model(file: Path, evil: Any) -> None:
    content = torch.load(untrained("yolo11n", file), weights_only=False)
    torch.save({**content, "train_results": evil}, file)


def _in_the_old_format(file: Path, evil: Any) -> None:
    torch.save({"model": evil}, file, _use_new_zipfile_serialization=False)


def _in_the_archive(file: Path, evil: Any) -> None:
    """Only `data.pkl` is exchanged; the tensors are those of a real checkpoint."""
    good = untrained("yolo11n", file.with_name("good.pt"))
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(file, "w") as archive:
        for name in source.namelist():
            is_pickle = name.endswith("/data.pkl")
            archive.writestr(name, pickle.dumps(evil, 2) if is_pickle else source.read(name))


@pytest.mark.parametrize("way", ["os.system", "exec", "pathlib", "torch.load"])
@pytest.mark.parametrize(
    "hide",
    [
        _whole_file,
        _as_model,
        _inside_the_model,
        _beside_the_model,
        _in_the_old_format,
        _in_the_archive,
    ],
)
def test_a_hostile_file_is_refused_and_nothing_of_it_runs(
    hide: Any, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "hub"))
    marker, file = tmp_path / "marker", tmp_path / "given.pt"
    hide(file, _Touch(marker, way))
    before = set(tmp_path.iterdir())
    with pytest.raises(WeightsError, match=r"given\.pt: is not a readable detector"):
        from_file(file, sha256=sha256_file(file), architecture="yolo11n", out=tmp_path / "out.pt")
    assert set(tmp_path.iterdir()) == before


def test_the_hostile_file_would_run_elsewhere(tmp_path: Path) -> None:
    """Or the test above would prove nothing."""
    marker, file = tmp_path / "marker", tmp_path / "given.pt"
    _inside_the_model(file, _Touch(marker, "os.system"))
    torch.load(file, weights_only=False)
    assert marker.exists()
