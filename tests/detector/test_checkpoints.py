from __future__ import annotations

import re
from pathlib import Path

import pytest

from yololine.detector.checkpoints import Checkpoint, fetch_best, fetch_newest, push_checkpoint
from yololine.errors import IntegrityError, NotFound
from yololine.storage.local import LocalStore
from yololine.telemetry.records import EpochProgress

KEY = "0123abc"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def _push(store: LocalStore, tmp_path: Path, fitnesses: list[float]) -> Checkpoint:
    """A checkpoint for each epoch, as the worker pushes them."""
    newest: Checkpoint | None = None
    curves: tuple[EpochProgress, ...] = ()
    for epoch, fitness in enumerate(fitnesses, 1):
        file = tmp_path / "last.pt"
        file.write_bytes(f"weights of epoch {epoch}".encode() * 100)
        curves = (*curves, EpochProgress(epoch=epoch, epochs=len(fitnesses), map50=fitness))
        best = newest if newest and newest.best_fitness > fitness else None
        newest = push_checkpoint(
            store,
            KEY,
            file,
            fitness=fitness,
            best_epoch=best.best_epoch if best else epoch,
            best_fitness=best.best_fitness if best else fitness,
            last=epoch == len(fitnesses),
            transferred_tensors=7,
            curves=curves,
        )
    assert newest
    return newest


def _kept(store: LocalStore) -> list[str]:
    return [path.removeprefix(f"checkpoints/{KEY}/epoch-00") for path in store.paths()]


@pytest.mark.parametrize(
    ("fitnesses", "kept"),
    [
        ([0.1], [1]),
        ([0.1, 0.2], [1, 2]),
        ([0.1, 0.2, 0.3, 0.4], [3, 4]),
        ([0.1, 0.9, 0.3, 0.4, 0.5], [2, 4, 5]),
        ([0.9, 0.1, 0.1, 0.1], [1, 3, 4]),
        # Epoch 5 is the best now; should it be damaged, epoch 4 needs its own best, epoch 2.
        ([0.1, 0.5, 0.2, 0.3, 0.9], [2, 4, 5]),
        ([0.1, 0.5, 0.2, 0.3, 0.9, 0.1], [5, 6]),
        # Nothing found yet: the later of equals is the better trained.
        ([0.0, 0.0, 0.0], [2, 3]),
    ],
)
def test_the_two_newest_and_their_best_are_kept(
    fitnesses: list[float], kept: list[int], store: LocalStore, tmp_path: Path
) -> None:
    _push(store, tmp_path, fitnesses)
    assert _kept(store) == [f"{n:02d}.{suffix}" for n in kept for suffix in ("json", "pt")]


def test_the_newest_comes_back(store: LocalStore, tmp_path: Path) -> None:
    assert fetch_newest(store, KEY, tmp_path / "none.pt") == (None, [])
    pushed = _push(store, tmp_path, [0.1, 0.9, 0.3, 0.4])
    file = tmp_path / "resume.pt"
    assert fetch_newest(store, KEY, file) == (pushed, [])
    assert file.read_bytes() == b"weights of epoch 4" * 100
    assert [epoch.map50 for epoch in pushed.curves] == [0.1, 0.9, 0.3, 0.4]
    assert (pushed.best_epoch, pushed.best_fitness, pushed.last) == (2, 0.9, True)
    assert fetch_best(store, KEY, pushed, file)[0].epoch == 2
    assert file.read_bytes() == b"weights of epoch 2" * 100


DAMAGES = {
    "cut short": lambda pt, _: pt.write_bytes(pt.read_bytes()[:100]),
    "another content of the same size": lambda pt, _: pt.write_bytes(bytes(pt.stat().st_size)),
    "no file": lambda pt, _: pt.unlink(),
    "no manifest": lambda _, json: json.unlink(),
    "half a manifest": lambda _, json: json.write_bytes(json.read_bytes()[:40]),
    "a manifest of nothing": lambda _, json: json.write_text("{}"),
}


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (
            "cut short",
            r"^Checkpoint of epoch 5 was passed over: .*: 100 bytes, published with 1800$",
        ),
        (
            "another content of the same size",
            "epoch 5 was passed over: .*: sha256 .*, published as",
        ),
        ("no file", "epoch 5 was passed over: .*epoch-0005.pt: there is no such file"),
        ("no manifest", ""),
        ("half a manifest", "passed over: checkpoint of epoch 5: its manifest is damaged"),
        ("a manifest of nothing", "passed over: checkpoint of epoch 5: its manifest is damaged"),
    ],
)
def test_the_one_before_is_used_where_the_newest_is_damaged(
    damage: str, words: str, store: LocalStore, tmp_path: Path
) -> None:
    _push(store, tmp_path, [0.1, 0.5, 0.2, 0.3, 0.9])
    folder = store.root / "checkpoints" / KEY
    DAMAGES[damage](folder / "epoch-0005.pt", folder / "epoch-0005.json")

    file = tmp_path / "resume.pt"
    found, notes = fetch_newest(store, KEY, file)
    assert found
    assert (found.epoch, len(found.curves), found.last) == (4, 4, False)
    assert file.read_bytes() == b"weights of epoch 4" * 100
    assert len(notes) == bool(words)
    assert re.search(words, "".join(notes)), notes
    # And what was the best by then is still there.
    best, fallen_back = fetch_best(store, KEY, found, file)
    assert (best.epoch, fallen_back) == (2, [])


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_best_gives_way_to_the_newest(
    damage: str, store: LocalStore, tmp_path: Path
) -> None:
    newest = _push(store, tmp_path, [0.9, 0.2, 0.3])
    folder = store.root / "checkpoints" / KEY
    DAMAGES[damage](folder / "epoch-0001.pt", folder / "epoch-0001.json")
    file = tmp_path / "best.pt"
    best, (note,) = fetch_best(store, KEY, newest, file)
    assert best == newest
    assert note.startswith("The weights are of epoch 3: those of the best, epoch 1, are damaged (")
    assert file.read_bytes() == b"weights of epoch 3" * 100


def test_where_all_are_damaged_training_begins_anew(store: LocalStore, tmp_path: Path) -> None:
    newest = _push(store, tmp_path, [0.1, 0.2])
    for file in (store.root / "checkpoints" / KEY).glob("*.pt"):
        file.write_bytes(b"")
    found, notes = fetch_newest(store, KEY, tmp_path / "resume.pt")
    assert found is None
    assert [note.split(" was")[0] for note in notes] == [
        "Checkpoint of epoch 2",
        "Checkpoint of epoch 1",
    ]
    with pytest.raises((IntegrityError, NotFound)):
        fetch_best(store, KEY, newest, tmp_path / "best.pt")
