"""The trainer in this process: what the worker does, without the seconds of its start."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch

from tests.detector.tiny import CLASSES, untrained
from yololine.detector import ultralytics
from yololine.detector.config import TrainingConfig, training_config
from yololine.detector.weights import from_file
from yololine.errors import NotFinite, OutOfMemory
from yololine.storage import sha256_file
from yololine.telemetry.records import EpochProgress

OPTIONS = {"optimizer": "AdamW", "lr0": 0.002, "nbs": 4, "warmup_epochs": 0}


def _config(epochs: int = 2, **options: Any) -> TrainingConfig:
    return training_config(
        epochs=epochs, image_size=64, batch_size=4, seed=7, options=OPTIONS | options
    )


class Run:
    """One training: what it reported, and copies of its checkpoints."""

    def __init__(self, data_yaml: Path, folder: Path) -> None:
        self.data_yaml, self.folder = data_yaml, folder
        self.curves: list[EpochProgress] = []
        self.fitness: list[float] = []
        self.checkpoints: list[Path] = []
        self.last: list[bool] = []

    def train(
        self,
        config: TrainingConfig,
        *,
        start_state: Path | None = None,
        resume_from: Path | None = None,
        on_epoch: Callable[[EpochProgress], None] = lambda _: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> Run:
        def epoch(progress: EpochProgress) -> None:
            self.curves.append(progress)
            on_epoch(progress)

        def checkpoint(file: Path, fitness: float, last: bool) -> None:
            copy = self.folder / f"epoch-{len(self.curves)}.pt"
            copy.write_bytes(file.read_bytes())
            self.checkpoints.append(copy)
            self.fitness.append(fitness)
            self.last.append(last)

        self.folder.mkdir(exist_ok=True)
        ultralytics.train(
            architecture="yolo11n",
            data_yaml=self.data_yaml,
            config=config,
            start_state=start_state,
            resume_from=resume_from,
            folder=self.folder / "trainer",
            device="cpu",
            workers=1,
            on_epoch=epoch,
            on_checkpoint=checkpoint,
            stopping=stopping,
        )
        return self


@pytest.fixture
def new_run(data_yaml: Path, tmp_path: Path) -> Callable[[str], Run]:
    return lambda name: Run(data_yaml, tmp_path / name)


@pytest.fixture(scope="module")
def trained(data_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two epochs from random weights."""
    return Run(data_yaml, tmp_path_factory.mktemp("trained")).train(_config())


def _timeless(curves: list[EpochProgress]) -> list[EpochProgress]:
    return [epoch.model_copy(update={"seconds": 0}) for epoch in curves]


def test_each_epoch_is_reported_whole(trained: Run) -> None:
    assert [epoch.epoch for epoch in trained.curves] == [1, 2]
    for epoch in trained.curves:
        assert epoch.epochs == 2
        assert None not in epoch.model_dump().values()
        assert (epoch.box_loss or 0) > 0
        assert epoch.seconds > 0
    assert trained.curves[0].learning_rate == 0.002
    assert trained.last == [False, True]


def test_the_same_seed_makes_the_same_detector(trained: Run, new_run: Callable[[str], Run]) -> None:
    again = new_run("again").train(_config())
    assert _timeless(again.curves) == _timeless(trained.curves)
    digests = []
    for run in (trained, again):
        weights = run.folder / "weights.pt"
        ultralytics.finish_checkpoint(run.checkpoints[-1], weights)
        digests.append(sha256_file(weights))
    assert digests[0] == digests[1]


def test_the_final_weights_tell_of_the_detector_alone(trained: Run, tmp_path: Path) -> None:
    weights = tmp_path / "weights.pt"
    ultralytics.finish_checkpoint(trained.checkpoints[-1], weights)
    assert weights.stat().st_size < trained.checkpoints[-1].stat().st_size / 2
    for telling in (trained.folder, trained.data_yaml.parent, "github.com/", ".git"):
        assert str(telling).encode() not in weights.read_bytes()

    loaded = ultralytics.load_weights_safely(weights)
    assert loaded.architecture == "yolo11n"
    assert all(bool(tensor.isfinite().all()) for tensor in loaded.state.values())

    from ultralytics import YOLO

    opened = YOLO(weights)
    assert tuple(opened.names.values()) == CLASSES
    assert opened.model.args["imgsz"] == 64


def test_a_training_goes_on_after_its_checkpoint(new_run: Callable[[str], Run]) -> None:
    whole = new_run("whole").train(_config(3))
    resumed = new_run("resumed")
    resumed.train(_config(3), resume_from=whole.checkpoints[0])
    assert [epoch.epoch for epoch in resumed.curves] == [2, 3]
    assert resumed.last == [False, True]
    rates = [epoch.learning_rate for epoch in whole.curves]
    assert [epoch.learning_rate for epoch in resumed.curves] == rates[1:]


def test_start_weights_give_the_tensors_that_fit(
    new_run: Callable[[str], Run], tmp_path: Path
) -> None:
    """All but those that follow the number of classes, 5 there and 2 here."""
    given = untrained("yolo11n", tmp_path / "given.pt", class_count=5)
    state = tmp_path / "state.pt"
    from_file(given, sha256=sha256_file(given), architecture="yolo11n", out=state)
    run = new_run("transferred").train(_config(1, lr0=0), start_state=state)
    tensors = torch.load(state, weights_only=True)
    assert ultralytics.transferred_tensors() == len(tensors) - 6
    # A learning rate of nothing leaves them as they came.
    after = ultralytics.load_weights_safely(run.checkpoints[0]).state
    assert torch.equal(after["model.0.conv.weight"], tensors["model.0.conv.weight"])
    assert after["model.23.cv3.0.2.weight"].shape[0] == 2
    # And random weights came from nowhere.
    new_run("random").train(_config(1))
    assert ultralytics.transferred_tensors() == 0


def _poison(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = ultralytics._Trainer.preprocess_batch

    def spoil(self: Any, batch: dict[str, Any]) -> Any:
        batch = whole(self, batch)
        batch["img"] = batch["img"] * float("nan")
        return batch

    monkeypatch.setattr(ultralytics._Trainer, "preprocess_batch", spoil)


def test_a_loss_that_is_no_number_ends_the_training(
    new_run: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also from the second epoch on, where ultralytics would repeat it from the first."""
    run = new_run("poisoned")
    with pytest.raises(NotFinite, match=r"loss \{.*nan.*\} in epoch 2: .*; .*lower lr0"):
        run.train(_config(3), on_epoch=lambda _: _poison(monkeypatch))
    assert len(run.checkpoints) == 1
    kept = ultralytics.load_weights_safely(run.checkpoints[0]).state
    assert all(bool(tensor.isfinite().all()) for tensor in kept.values())


def test_weights_that_are_no_numbers_end_the_training(
    new_run: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Spoilt by the last step of an epoch, no loss shows it."""
    step = ultralytics._Trainer.optimizer_step
    steps = 0

    def spoil(self: Any) -> None:
        nonlocal steps
        step(self)
        steps += 1
        if steps == 4:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("inf"))

    monkeypatch.setattr(ultralytics._Trainer, "optimizer_step", spoil)
    run = new_run("spoilt")
    with pytest.raises(NotFinite, match="weights in epoch 2"):
        run.train(_config(3))
    assert len(run.checkpoints) == 1


def test_an_accelerator_without_memory_is_said(
    new_run: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first epoch ultralytics would go on with half the batch, and make something else."""

    def full(*_: Any) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    run = new_run("full")
    with monkeypatch.context() as at_once:
        at_once.setattr(ultralytics._Trainer, "preprocess_batch", full)
        with pytest.raises(OutOfMemory, match=r"batch_size=4: does not fit .*lower batch_size"):
            run.train(_config(2))
    assert run.checkpoints == []

    later = new_run("later")
    with pytest.raises(OutOfMemory, match="batch_size=4"):
        later.train(
            _config(3),
            on_epoch=lambda _: monkeypatch.setattr(ultralytics._Trainer, "preprocess_batch", full),
        )
    assert len(later.checkpoints) == 1


def test_patience_ends_the_training_early(
    new_run: Callable[[str], Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.1, 0.4, 0.3, 0.2, 0.1, 0.1])
    whole = ultralytics._Trainer.validate

    def validate(self: Any) -> Any:
        metrics, _ = whole(self)
        return metrics, next(scores)

    monkeypatch.setattr(ultralytics._Trainer, "validate", validate)
    run = new_run("patient").train(_config(6, patience=2))
    assert run.fitness == [0.1, 0.4, 0.3, 0.2]
    assert run.last == [False, False, False, True]


def test_a_training_stops_when_it_is_told(new_run: Callable[[str], Run]) -> None:
    run = new_run("stopped")
    with pytest.raises(SystemExit) as raised:
        run.train(_config(3), stopping=lambda: len(run.curves) == 1)
    assert raised.value.code == 143
    assert len(run.checkpoints) == 1


def test_nothing_is_asked_of_the_network_and_nothing_lies_about(
    new_run: Callable[[str], Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ultralytics' own exceptions for tests switched off."""
    from ultralytics.utils import ONLINE, SETTINGS, SETTINGS_FILE
    from ultralytics.utils.events import events

    assert not ONLINE
    assert not any(switch is True for switch in SETTINGS.values())
    assert not events.enabled
    assert SETTINGS_FILE.parent.parent.name.startswith("yololine-ultralytics-")

    asked: list[Any] = []

    def refuse(*where: Any, **_: Any) -> NoReturn:
        asked.append(where)
        raise OSError("no network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("ULTRALYTICS_API_KEY", "a-key")
    monkeypatch.chdir(tmp_path)
    run = new_run("quiet").train(_config(1))
    assert asked == []
    assert {file.name for file in tmp_path.iterdir()} == {"quiet"}
    assert {file.name for file in run.folder.iterdir()} == {"trainer", "epoch-1.pt"}
