from __future__ import annotations

import pytest

from yololine.detector.architectures import ARCHITECTURES, check_architecture
from yololine.errors import WeightsError


@pytest.mark.parametrize(
    "name", ["yolov8n", "yolov9t", "yolov10b", "yolo11x", "yolo12s", "yolo26m"]
)
def test_known_names_pass(name: str) -> None:
    assert check_architecture(name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("yolov11n", r"'yolov11n': is not a known architecture; did you mean 'yolo11n'\?"),
        ("YOLO11n", "did you mean 'yolo11n'"),
        ("yolo11n.pt", "did you mean 'yolo11n'"),
        ("yolo11", r"did you mean 'yolo11.'\?.*Known: yolov8\{n,s,m,l,x\}"),
        ("yolov9n", "did you mean 'yolov9"),
        ("yolo11n-seg", "did you mean 'yolo11"),
        ("resnet50", r"known architecture; Known: .*yolo26\{n,s,m,l,x\}$"),
        ("", r"architecture '': is not a known architecture; Known:"),
    ],
)
def test_other_names_are_refused_with_the_nearest(name: str, words: str) -> None:
    with pytest.raises(WeightsError, match=words):
        check_architecture(name)


def test_this_ultralytics_has_every_architecture() -> None:
    from yololine.detector import ultralytics as _  # noqa: F401

    from ultralytics.nn.tasks import yaml_model_load  # isort: skip

    for name in ARCHITECTURES:
        layout = yaml_model_load(f"{name}.yaml")
        assert layout["nc"] == 80, name
        assert name[-1] in layout.get("scales", name[-1]), name
