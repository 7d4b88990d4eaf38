"""Training across the ends of its worker: real processes, really killed."""

from __future__ import annotations

import json
import os
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from tests.detector.tiny import untrained
from yololine import resources
from yololine.detector.config import TrainingConfig, training_config
from yololine.detector.training import Training, train
from yololine.detector.ultralytics import load_weights_safely
from yololine.errors import NotFinite, OutOfMemory, TrainerDied
from yololine.storage import sha256_file
from yololine.storage.local import LocalStore
from yololine.telemetry.records import EpochProgress

KEY = "c0ffee"
CONFIG = training_config(
    epochs=3,
    image_size=64,
    batch_size=4,
    seed=7,
    options={"optimizer": "AdamW", "lr0": 0.002, "nbs": 4, "warmup_epochs": 0},
)

# Read by every Python that starts, before anything else: notes what a worker asks of the network
# and which files it opens to write; and sends it a signal as it opens one for the n-th time.
WATCH = """
import os, signal, sys

log = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
number, name, times = os.environ["SIGNAL_AT"].split()
opened = 0

def watch(event, args):
    global opened
    if event in ("socket.connect", "socket.getaddrinfo"):
        line = f"{event} {args[1:]}"
    elif event == "open" and isinstance(args[0], str) and args[2] & (os.O_WRONLY | os.O_RDWR):
        line = f"write {os.path.abspath(args[0])}"
        opened += line.endswith(name)
        if opened == int(times):
            opened += 1
            os.kill(os.getpid(), getattr(signal, number))
    else:
        return
    os.write(log, (line.replace("\\n", " ") + "\\n").encode())

sys.addaudithook(watch)
"""


# A worker that only says an error, in the words of worker.py, and ends.
SAYS = """
import json, pathlib, sys
{before}
job = json.loads(pathlib.Path(sys.orig_argv[-1]).read_text())
said = dict(event="error", kind="{kind}", value="trainer", rule="{rule}", remedy="")
with open(job["events"], "a") as file:
    print(json.dumps(said), file=file)
sys.exit(1)
"""


@dataclass
class Step:
    """A step that trains, and what it was told."""

    folder: Path
    data_yaml: Path
    curves: list[EpochProgress] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def store(self) -> LocalStore:
        return LocalStore(self.folder / "store")

    @property
    def weights(self) -> Path:
        return self.folder / "weights.pt"

    @property
    def kept(self) -> list[str]:
        return [path.rsplit("/", 1)[-1] for path in self.store.paths(f"checkpoints/{KEY}")]

    def train(
        self,
        *,
        config: TrainingConfig = CONFIG,
        start_state: Path | None = None,
        gpu_count: int = 0,
        retries: int = 0,
        on_epoch: Callable[[EpochProgress], None] = lambda _: None,
    ) -> Training:
        self.curves.clear()
        self.notes.clear()

        def epoch(progress: EpochProgress) -> None:
            self.curves.append(progress)
            on_epoch(progress)

        return train(
            store=self.store,
            training_key=KEY,
            architecture="yolo11n",
            data_yaml=self.data_yaml,
            config=config,
            start_state=start_state,
            gpu_count=gpu_count,
            weights_out=self.weights,
            retries=retries,
            retry_wait_seconds=0.01,
            on_epoch=epoch,
            on_note=self.notes.append,
        )


@pytest.fixture
def startup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Sets what every Python that is started runs first."""
    folder = tmp_path / "startup"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))

    def do(code: str) -> None:
        (folder / "sitecustomize.py").write_text(textwrap.dedent(code))

    return do


@pytest.fixture
def step(data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Step:
    # One thread in the worker too; see tiny.py.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return Step(tmp_path, data_yaml)


@dataclass(frozen=True)
class Interrupted:
    """A training whose worker was killed in its second epoch, and what it left."""

    step: Step
    done: Training
    curves: list[EpochProgress]
    watched: list[str]
    left_in_tmp: set[str]
    cwd: Path


@pytest.fixture(scope="module")
def interrupted(data_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    folder = tmp_path_factory.mktemp("interrupted")
    step, log, cwd = Step(folder, data_yaml), folder / "watched", folder / "cwd"
    given, state = untrained("yolo11n", folder / "given.pt", class_count=5), folder / "state.pt"
    torch.save(load_weights_safely(given).state, state)
    for name in ("cwd", "tmp", "home", "startup"):
        (folder / name).mkdir()
    (folder / "startup" / "sitecustomize.py").write_text(WATCH)
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "OMP_NUM_THREADS": "1",
            "WATCH_LOG": str(log),
            "PYTHONPATH": str(folder / "startup"),
            "TMPDIR": str(folder / "tmp"),
            "HOME": str(folder / "home"),
            "ULTRALYTICS_API_KEY": "a-key",
        }.items():
            environment.setenv(name, value)
        # ultralytics is quieter where it sees a test.
        environment.delenv("PYTEST_CURRENT_TEST", raising=False)
        environment.setattr("tempfile.tempdir", None)
        environment.chdir(cwd)
        # As it writes its second checkpoint.
        environment.setenv("SIGNAL_AT", "SIGKILL last.pt 2")
        # The second worker trains two epochs too: it must not reach its second checkpoint.
        done = step.train(
            start_state=state,
            retries=1,
            on_epoch=lambda _: environment.setenv("SIGNAL_AT", "SIGKILL last.pt 9"),
        )
    return Interrupted(
        step=step,
        done=done,
        curves=list(step.curves),
        watched=log.read_text().splitlines(),
        left_in_tmp={file.name for file in (folder / "tmp").iterdir()},
        cwd=cwd,
    )


def test_a_killed_worker_is_started_again_after_the_last_epoch(interrupted: Interrupted) -> None:
    done = interrupted.done
    assert (done.starts, done.resumed_from_epoch, done.device) == (2, 0, "cpu")
    assert [epoch.epoch for epoch in interrupted.curves] == [1, 2, 3]
    assert [epoch.epoch for epoch in done.curves] == [1, 2, 3]
    died, went_on = done.notes
    assert died == (
        "trainer killed by SIGKILL: it must finish its epochs: started again in 0.01 s "
        "(1 of 1 repeats)"
    )
    assert went_on == "Went on after epoch 1 of 3"
    assert interrupted.step.kept == [
        "epoch-0002.json",
        "epoch-0002.pt",
        "epoch-0003.json",
        "epoch-0003.pt",
    ]


def test_the_curves_are_those_of_one_training(interrupted: Interrupted) -> None:
    curves = interrupted.done.curves
    assert [epoch.learning_rate for epoch in curves] == [0.002, 0.00134, 0.00068]
    for epoch in curves:
        assert None not in epoch.model_dump().values()


def test_start_weights_are_told_of_however_often_it_started(interrupted: Interrupted) -> None:
    assert interrupted.done.transferred_tensors == 493


def test_the_best_epoch_survives(interrupted: Interrupted) -> None:
    best = interrupted.done.best_epoch
    found = [epoch.map50_95 or 0 for epoch in interrupted.done.curves]
    assert best == max(range(3), key=lambda i: (found[i], i)) + 1
    loaded = load_weights_safely(interrupted.step.weights)
    assert loaded.architecture == "yolo11n"


def test_a_worker_keeps_to_its_folders_and_off_the_network(interrupted: Interrupted) -> None:
    folder = interrupted.step.folder
    assert [line for line in interrupted.watched if not line.startswith("write ")] == []
    written = {line.removeprefix("write ") for line in interrupted.watched}
    assert any(file.startswith(f"{folder}/store/") for file in written)
    places = (
        f"{folder}/store/",
        f"{folder}/tmp/",
        # The labels' cache, beside the labels.
        f"{interrupted.step.data_yaml.parent}/labels",
        # Fonts found by matplotlib, which all its users share.
        f"{folder}/home/.cache/matplotlib",
        f"{folder}/home/.config/matplotlib",
        os.environ.get("PYTHONPYCACHEPREFIX", "/dev/"),
        "/dev/",
        "/proc/self/",
    )
    assert {f for f in written if not f.startswith(places) and "__pycache__" not in f} == set()
    assert list(interrupted.cwd.iterdir()) == []
    # torch may make an empty folder, and the worker that was killed could not tidy up its settings.
    kinds = [name for name in interrupted.left_in_tmp if not name.startswith("torchinductor_")]
    assert [name.rsplit("-", 1)[0] for name in kinds] == ["yololine-ultralytics"]


def test_nothing_is_trained_where_all_epochs_are_there(interrupted: Interrupted) -> None:
    step = interrupted.step
    before = sha256_file(step.weights)
    step.weights.unlink()
    done = step.train()
    assert (done.starts, done.resumed_from_epoch, step.curves) == (0, 3, [])
    assert done.curves == interrupted.done.curves
    assert done.best_epoch == interrupted.done.best_epoch
    assert done.transferred_tensors == 493
    assert sha256_file(step.weights) == before


def test_a_training_that_ran_out_of_patience_is_done(interrupted: Interrupted) -> None:
    """And not taken up again, an epoch at a time."""
    step = interrupted.step
    manifest = step.store.root / "checkpoints" / KEY / "epoch-0003.json"
    longer = CONFIG.model_copy(update={"epochs": 9})
    assert json.loads(manifest.read_text())["last"] is True
    done = step.train(config=longer)
    assert done.starts == 0
    assert done.notes == ("Ended after epoch 3 of 9: patience ran out",)


def test_a_damaged_newest_checkpoint_is_trained_again(
    interrupted: Interrupted, step: Step, startup: Callable[[str], None]
) -> None:
    """Without a worker that could: the notes say what would be done."""
    store = interrupted.step.store
    for path in store.paths():
        step.store.write_bytes(path, store.read_bytes(path))
    newest = step.store.root / "checkpoints" / KEY / "epoch-0003.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    startup("raise SystemExit(3)")
    with pytest.raises(TrainerDied, match="trainer ended with exit code"):
        step.train()
    assert step.notes[0].startswith("Checkpoint of epoch 3 was passed over: ")
    assert step.notes[1:] == ["Went on after epoch 2 of 3"]


def test_a_loss_that_is_no_number_is_not_repeated(
    step: Step, startup: Callable[[str], None]
) -> None:
    startup(SAYS.format(kind="NotFinite", rule="no longer finite numbers", before=""))
    with pytest.raises(NotFinite, match="trainer: no longer finite numbers"):
        step.train(retries=2)
    assert step.notes == []


def test_a_worker_that_always_dies_is_given_up(step: Step, startup: Callable[[str], None]) -> None:
    startup("import os; os.kill(os.getpid(), 11)")
    with pytest.raises(TrainerDied, match=r"trainer killed by SIGSEGV: .*; read the trainer's"):
        step.train(retries=2)
    assert [note.split(" (")[-1] for note in step.notes] == ["1 of 2 repeats)", "2 of 2 repeats)"]
    assert not step.weights.exists()


def test_a_kill_for_memory_is_told_from_others_and_not_repeated(
    step: Step, startup: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    events = step.folder / "memory.events"
    events.write_text("oom_kill 3\n")
    monkeypatch.setattr(resources, "CGROUP", step.folder)
    startup(
        f"""
        import os, pathlib
        pathlib.Path({str(events)!r}).write_text("oom_kill 4\\n")
        os.kill(os.getpid(), 9)
        """
    )
    with pytest.raises(OutOfMemory, match=r"trainer killed by SIGKILL: .* memory limit; raise"):
        step.train(retries=2)
    assert step.notes == []


def test_a_loader_that_was_killed_for_memory_is_told_too(
    step: Step, startup: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trainer itself lives on and says that a loader is gone."""
    events = step.folder / "memory.events"
    monkeypatch.setattr(resources, "CGROUP", step.folder)
    startup(
        SAYS.format(
            kind="TrainerDied",
            rule="RuntimeError: DataLoader worker (pid 7) is killed by signal: Killed",
            before=f"pathlib.Path({str(events)!r}).write_text('oom_kill 1')",
        )
    )
    with pytest.raises(OutOfMemory, match="trainer ended with exit code 1"):
        step.train(retries=2)


def test_accelerators_that_are_not_there_are_told(
    step: Step, startup: Callable[[str], None]
) -> None:
    if torch.cuda.is_available():
        pytest.skip("an accelerator is visible")
    startup("import os; os.kill(os.getpid(), 9)")
    with pytest.raises(TrainerDied):
        step.train(gpu_count=2)
    assert step.notes == ["2 accelerator(s) asked for, none visible: trained on the processor"]


def test_an_interrupted_step_takes_its_worker_along(
    step: Step, startup: Callable[[str], None]
) -> None:
    marker = step.folder / "told"
    startup(
        f"""
        import json, pathlib, signal, sys

        def told(*_):
            pathlib.Path({str(marker)!r}).touch()
            sys.exit(143)

        signal.signal(signal.SIGTERM, told)
        job = json.loads(pathlib.Path(sys.orig_argv[-1]).read_text())
        with open(job["events"], "a") as file:
            print('{{"event": "epoch", "progress": {{"epoch": 1, "epochs": 3}}}}', file=file)
        signal.pause()
        """
    )

    def interrupt(_: EpochProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        step.train(on_epoch=interrupt)
    assert marker.exists()
