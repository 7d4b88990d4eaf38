from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.inference.models import constant_model
from yololine import resources
from yololine.errors import EvaluationError, UsageError
from yololine.inference.engine import Engine, load_engine

ENGINES = ("openvino", "onnxruntime")
each_engine = pytest.mark.parametrize("name", ENGINES)


def _load(model: Path, name: str, *, image_size: int = 64, class_count: int = 2) -> Engine:
    return load_engine(model, image_size=image_size, class_count=class_count, engine=name)


def _pictures(count: int, *sides: int) -> np.ndarray:
    return np.random.default_rng(0).random((count, 3, *sides), np.float32)


@each_engine
@pytest.mark.parametrize("shape", [(1, 6, 84), (1, 300, 6)])
def test_a_batch_gives_an_output_for_each_picture(
    shape: tuple[int, ...], name: str, tmp_path: Path
) -> None:
    output = np.random.default_rng(0).random(shape, np.float32)
    engine = _load(constant_model(output, tmp_path / "model.onnx"), name)
    assert engine.layout == ("end2end" if shape[2] == 6 else "raw")
    for count in (1, 2, 5):
        given = engine.run(_pictures(count, 64, 64))
        assert np.array_equal(given, np.repeat(output, count, axis=0))


@each_engine
def test_an_engine_says_what_it_is(name: str, tmp_path: Path) -> None:
    from importlib.metadata import version

    engine = _load(constant_model(np.zeros((1, 6, 84)), tmp_path / "model.onnx"), name)
    assert (engine.name, engine.device) == (name, "CPU")
    assert engine.version == version(name)
    assert (engine.image_size, engine.any_shape) == (64, True)
    assert (engine.streams, engine.max_batch) == (resources.cores(), 1)


@each_engine
def test_engines_find_the_same_in_every_shape(name: str, real_model: Path) -> None:
    """With 16 bits, which processors that have them take by default, boxes move by whole pixels."""
    from yololine.detector.ultralytics import torch_outputs

    engine = _load(real_model, name, image_size=128)
    for sides in ((128, 128), (32, 128), (128, 96)):
        picture = _pictures(1, *sides)
        expected = torch_outputs(real_model.with_name("weights.pt"), picture)
        given = engine.run(picture)
        assert given.dtype == np.float32
        assert np.allclose(given[:, :4], expected[:, :4], atol=0.01)
        assert np.allclose(given[:, 4:], expected[:, 4:], atol=1e-4)


@each_engine
def test_what_a_picture_gives_does_not_depend_on_its_batch(name: str, real_model: Path) -> None:
    engine = _load(real_model, name, image_size=128)
    pictures = _pictures(3, 96, 128)
    alone = [engine.run(pictures[i : i + 1])[0] for i in range(3)]
    together = engine.run(pictures)
    assert np.array_equal(together, np.stack(alone))
    # As devices take them: one run for all.
    engine.max_batch = 3
    if name == "onnxruntime":
        assert np.allclose(engine.run(pictures), together, atol=1e-3)
        assert np.allclose(engine.run(pictures[::-1])[::-1], together, atol=1e-3)


@each_engine
def test_any_number_of_threads_run_at_once(name: str, real_model: Path) -> None:
    """Each gets what its own picture gives, though there are more threads than streams."""
    engine = _load(real_model, name, image_size=128)
    pictures = _pictures(8, 64, 128)
    expected = [engine.run(pictures[i : i + 1]) for i in range(8)]
    together = threading.Barrier(8)

    def run(index: int) -> bool:
        together.wait()
        return all(
            np.array_equal(engine.run(pictures[index : index + 1]), expected[index])
            for _ in range(10)
        )

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(run, range(8)))


@each_engine
def test_an_output_stays_when_the_next_picture_runs(name: str, real_model: Path) -> None:
    engine = _load(real_model, name, image_size=128)
    first = engine.run(_pictures(1, 128, 128))
    before = first.copy()
    for _ in range(engine.streams + 1):
        engine.run(np.zeros((1, 3, 128, 128), np.float32))
    assert np.array_equal(first, before)


@each_engine
def test_a_batch_that_is_no_batch_harms_no_later_one(name: str, tmp_path: Path) -> None:
    output = np.random.default_rng(0).random((1, 6, 84), np.float32)
    model = constant_model(output, tmp_path / "model.onnx", input_shape=(1, 3, 64, 64))
    engine = _load(model, name)
    for _ in range(engine.streams + 1):
        with pytest.raises(Exception, match=r"."):
            engine.run(_pictures(1, 32, 32))
    assert np.array_equal(engine.run(_pictures(1, 64, 64)), output)


@each_engine
@pytest.mark.parametrize("fixed", [(1, 3, 64, 64), ("n", 3, 64, 64), (1, 3, "h", "w")])
def test_what_a_graph_fixes_stays_fixed(
    fixed: tuple[int | str, ...], name: str, tmp_path: Path
) -> None:
    output = np.random.default_rng(0).random((1, 6, 84), np.float32)
    engine = _load(constant_model(output, tmp_path / "model.onnx", input_shape=fixed), name)
    assert engine.any_shape == (fixed[2] == "h")
    assert engine.max_batch == 1
    assert np.array_equal(engine.run(_pictures(3, 64, 64)), np.repeat(output, 3, axis=0))


@each_engine
@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no model", bytes(1000), b"\x08\x08"])
def test_garbage_is_refused(content: bytes, name: str, tmp_path: Path) -> None:
    model = tmp_path / "model.onnx"
    model.write_bytes(content)
    with pytest.raises(EvaluationError, match=r"model\.onnx: is no model that .+ runs"):
        _load(model, name)


@each_engine
def test_a_model_that_is_cut_short_or_gone_is_refused(name: str, tmp_path: Path) -> None:
    model = constant_model(np.zeros((1, 6, 84)), tmp_path / "model.onnx")
    model.write_bytes(model.read_bytes()[:-50])
    with pytest.raises(EvaluationError, match="is no model"):
        _load(model, name)
    with pytest.raises(EvaluationError, match=r"gone\.onnx: is no model") as refused:
        _load(tmp_path / "gone.onnx", name)
    assert "Traceback" not in str(refused.value)


@each_engine
def test_another_input_is_refused(name: str, tmp_path: Path) -> None:
    model = constant_model(
        np.zeros((1, 6, 84)), tmp_path / "model.onnx", input_shape=("n", 3, 640, 640)
    )
    with pytest.raises(EvaluationError, match=r"runs on a \(1, 3, 64, 64\) batch \(.*640"):
        _load(model, name)
    assert _load(model, name, image_size=640).layout == "raw"


@each_engine
def test_another_output_is_refused(name: str, tmp_path: Path) -> None:
    model = constant_model(np.zeros((1, 6, 84)), tmp_path / "model.onnx")
    with pytest.raises(EvaluationError, match=r"output \(1, 6, 84\): is neither \(n, 7, anchors"):
        _load(model, name, class_count=3)


def test_without_a_device_openvino_is_the_choice(tmp_path: Path) -> None:
    model = constant_model(np.zeros((1, 6, 84)), tmp_path / "model.onnx")
    engine = load_engine(model, image_size=64, class_count=2)
    if engine.device == "CPU":
        assert engine.name == "openvino"
    assert load_engine(model, image_size=64, class_count=2, streams=3).streams == 3


def test_half_precision_is_taken_where_it_is_asked_for_and_there(tmp_path: Path) -> None:
    model = constant_model(np.zeros((1, 6, 84)), tmp_path / "model.onnx")
    there = "avx512_bf16" in Path("/proc/cpuinfo").read_text()
    wanted = {"f32": "f32", "auto": "bf16" if there else "f32", "bf16": "bf16" if there else "f32"}
    for precision, got in wanted.items():
        engine = load_engine(
            model, image_size=64, class_count=2, engine="openvino", precision=precision
        )
        assert engine.precision == got
        assert engine.run(np.zeros((1, 3, 64, 64), np.float32)).dtype == np.float32
    exact = load_engine(model, image_size=64, class_count=2, engine="onnxruntime", precision="bf16")
    assert exact.precision == "f32"


def test_a_signal_arrives_after_engines_came_and_went(tmp_path: Path) -> None:
    """In any order: OpenVINO gives the thread a stack for signals, and takes it away."""
    model = constant_model(np.zeros((1, 6, 84)), tmp_path / "model.onnx")
    program = """
import os, signal, sys
from pathlib import Path
from yololine.inference.engine import load_engine
load = lambda: load_engine(Path(sys.argv[1]), image_size=64, class_count=2, engine="openvino")
first = load()
second = load()
del first
third = load()
del second, third
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
os.kill(os.getpid(), signal.SIGTERM)
"""
    done = subprocess.run([sys.executable, "-c", program, str(model)], check=False)
    assert done.returncode == 7


def test_an_engine_that_is_not_there_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = constant_model(np.zeros((1, 6, 84)), tmp_path / "model.onnx")
    with pytest.raises(UsageError) as refused:
        _load(model, "tensorflow")
    assert str(refused.value) == (
        "engine 'tensorflow': is none of yololine's; use one of: auto, openvino, onnxruntime"
    )
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "openvino" else there(name)
    )
    assert _load(model, "auto").name == "onnxruntime"
    with pytest.raises(UsageError, match=r"'openvino': is not installed; .*auto, onnxruntime$"):
        _load(model, "openvino")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'yololine\[serve\]'"):
        _load(model, "auto")


_RUN = """
import json, sys
import numpy as np
from pathlib import Path
from yololine.inference.engine import load_engine
engine = load_engine(Path(sys.argv[1]), image_size=64, class_count=2, engine=sys.argv[2])
engine.run(np.zeros((1, 3, 64, 64), np.float32))
print(json.dumps(sorted(sys.modules)))
"""


@each_engine
def test_nothing_is_reported_or_written(name: str, tmp_path: Path) -> None:
    """OpenVINO tells its maker of each import, by a part of it that is not needed here."""
    model = constant_model(np.zeros((1, 6, 84)), tmp_path / "model.onnx")
    home, temporary, here = (tmp_path / part for part in ("home", "tmp", "here"))
    for folder in (home, temporary, here):
        folder.mkdir()
    hidden = {"HOME", "TMPDIR", "CI", "ORT_DISABLE_TELEMETRY"}
    said = subprocess.run(
        [sys.executable, "-B", "-c", _RUN, str(model), name],
        env={k: v for k, v in os.environ.items() if k not in hidden}
        | {"HOME": str(home), "TMPDIR": str(temporary)},
        cwd=here,
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stderr == ""
    modules = set(json.loads(said.stdout))
    assert name in modules
    assert not modules & {"openvino_telemetry", "openvino.tools.ovc", "torch"}
    assert [*home.rglob("*"), *temporary.rglob("*"), *here.rglob("*")] == []
