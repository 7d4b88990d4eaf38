"""The worker's own words; how it trains and ends is in test_training.py."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from yololine.detector import worker
from yololine.detector.checkpoints import Checkpoint, fetch_newest
from yololine.detector.config import training_config
from yololine.detector.training import _error
from yololine.detector.worker import Job
from yololine.errors import NotFinite, TrainerDied, WeightsError
from yololine.storage.local import LocalStore


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def job(data_yaml: Path, tmp_path: Path) -> Job:
    return Job(
        store_uri=str(tmp_path / "store"),
        training_key="c0ffee",
        architecture="yolo11n",
        config=training_config(
            epochs=3, image_size=64, batch_size=4, seed=0, options={"freeze": [0.0]}
        ),
        data_yaml=data_yaml,
        start_state=None,
        resume_from=None,
        resumed=None,
        folder=tmp_path / "trainer",
        device="cpu",
        workers=1,
        events=tmp_path / "events.jsonl",
    )


def _work(job: Job, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What it says; it ends with an exception of its own where it does not finish."""
    file = job.events.with_name("job.json")
    file.write_text(job.model_dump_json())
    monkeypatch.setattr("sys.argv", ["worker", str(file)])
    try:
        worker.main()
    finally:
        said = [json.loads(line) for line in job.events.read_text().splitlines()]
    return said


def _newest(job: Job, tmp_path: Path) -> tuple[Checkpoint, Path]:
    file = tmp_path / "resume.pt"
    newest, notes = fetch_newest(LocalStore(Path(job.store_uri)), job.training_key, file)
    assert newest
    assert notes == []
    return newest, file


def test_a_job_survives_its_file(job: Job) -> None:
    assert Job.model_validate_json(job.model_dump_json()) == job


def test_a_worker_that_is_told_to_stop_leaves_its_checkpoint(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what comes after goes on from there, and knows the best epoch of before."""
    say = worker.say

    def say_and_be_told(events: Path, **event: Any) -> None:
        say(events, **event)
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(worker, "say", say_and_be_told)
    with pytest.raises(SystemExit) as raised:
        _work(job, monkeypatch)
    monkeypatch.setattr(worker, "say", say)
    assert raised.value.code == 143
    newest, file = _newest(job, tmp_path)
    assert (newest.epoch, newest.last) == (1, False)

    better = newest.model_copy(update={"best_fitness": 0.9, "fitness": 0.9})
    again = job.model_copy(update={"resume_from": file, "resumed": better})
    again.events.unlink()
    said = _work(again, monkeypatch)
    assert [event["progress"]["epoch"] for event in said] == [2, 3]
    last, _ = _newest(job, tmp_path)
    assert (last.epoch, last.last, last.best_epoch, last.best_fitness) == (3, True, 1, 0.9)
    assert [epoch.epoch for epoch in last.curves] == [1, 2, 3]

    # From there, with weights that are no numbers.
    content = torch.load(file, weights_only=False)
    content["epoch"] = 1
    content["ema"].model[0].conv.weight.data.fill_(float("nan"))
    torch.save(content, file)
    again.events.unlink()
    with pytest.raises(SystemExit) as raised:
        _work(again, monkeypatch)
    assert raised.value.code == NotFinite.exit_code
    error = _error(json.loads(again.events.read_text()))
    assert type(error) is NotFinite
    assert error.value.startswith("loss {")
    assert "in epoch 3" in error.value
    assert _newest(job, tmp_path)[0] == last


def test_any_error_of_the_trainer_reaches_the_step(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = job.model_copy(update={"data_yaml": tmp_path / "nowhere.yaml"})
    with pytest.raises(RuntimeError, match=r"nowhere\.yaml"):
        _work(nowhere, monkeypatch)
    error = _error(json.loads(job.events.read_text()))
    assert type(error) is TrainerDied
    assert str(error).startswith("trainer: RuntimeError: Dataset '")
    assert "nowhere.yaml" in str(error)


def test_an_error_arrives_as_what_it_was(job: Job) -> None:
    said = WeightsError("a.pt", rule="is torn", remedy="fetch it again")
    worker.say_error(job.events, said)
    error = _error(json.loads(job.events.read_text()))
    assert type(error) is WeightsError
    assert str(error) == str(said)
