"""Checkpoints in the store: one per finished epoch, so that any pod can go on from them.

    checkpoints/<training key>/epoch-0007.pt     the trainer's own file
    checkpoints/<training key>/epoch-0007.json   what it must hold, written last

The two newest are kept, and for each of them the best epoch that it knows: should the newest turn
out damaged, the one before still has its best.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from yololine.errors import IntegrityError, NotFound
from yololine.frozen import Frozen
from yololine.storage import FileRef, Store, fetch_files, publish_files
from yololine.telemetry.records import EpochProgress

KEPT_NEWEST = 2


class Checkpoint(Frozen):
    """The state after one finished epoch, and the history that led there."""

    epoch: int
    """1-based; the next start begins with epoch + 1."""
    fitness: float
    best_epoch: int
    """The epoch, up to this one, whose weights scored best on the validation split."""
    best_fitness: float
    last: bool
    """Whether training ended with this epoch: it was the last, or `patience` had run out."""
    transferred_tensors: int
    """How many tensors the first start took from its start weights."""
    file: FileRef
    curves: tuple[EpochProgress, ...]


def push_checkpoint(
    store: Store,
    training_key: str,
    file: Path,
    *,
    fitness: float,
    best_epoch: int,
    best_fitness: float,
    last: bool,
    transferred_tensors: int,
    curves: tuple[EpochProgress, ...],
) -> Checkpoint:
    """Publish the file as the checkpoint of the last epoch of `curves`; drop older ones.

    Raises:
        StoreError: The store cannot be written; the previous checkpoints stay.
    """
    epoch = curves[-1].epoch
    stem = f"checkpoints/{training_key}/epoch-{epoch:04d}"
    (ref,) = publish_files(store, [(file, f"{stem}.pt")])
    checkpoint = Checkpoint(
        epoch=epoch,
        fitness=fitness,
        best_epoch=best_epoch,
        best_fitness=best_fitness,
        last=last,
        transferred_tensors=transferred_tensors,
        file=ref,
        curves=curves,
    )
    store.write_bytes(f"{stem}.json", checkpoint.model_dump_json().encode())
    epochs = _epochs(store, training_key)
    kept = set(epochs[-KEPT_NEWEST:])
    for newest in tuple(kept):
        with suppress(NotFound, ValidationError):
            kept.add(read_checkpoint(store, training_key, newest).best_epoch)
    for old in epochs:
        if old not in kept:
            # The manifest goes first: what has none is not there.
            store.delete(f"checkpoints/{training_key}/epoch-{old:04d}.json")
            store.delete(f"checkpoints/{training_key}/epoch-{old:04d}.pt")
    return checkpoint


def fetch_newest(
    store: Store, training_key: str, destination: Path
) -> tuple[Checkpoint | None, list[str]]:
    """Bring the newest checkpoint that verifies; the one before where it does not.

    Returns:
        The checkpoint (None where there is none) and a sentence for each one passed over.
    """
    notes: list[str] = []
    for epoch in reversed(_epochs(store, training_key)):
        try:
            return fetch_checkpoint(store, training_key, epoch, destination), notes
        except (IntegrityError, NotFound) as error:
            notes.append(
                f"Checkpoint of epoch {epoch} was passed over: {error.value}: {error.rule}"
            )
    return None, notes


def fetch_best(
    store: Store, training_key: str, newest: Checkpoint, destination: Path
) -> tuple[Checkpoint, list[str]]:
    """Bring the best checkpoint that `newest` knows, or `newest` itself where that is damaged.

    Returns:
        The checkpoint, and a sentence where it is not the best one.

    Raises:
        NotFound: `newest` is not there any more either.
        IntegrityError: Nor does `newest` verify.
    """
    try:
        return fetch_checkpoint(store, training_key, newest.best_epoch, destination), []
    except (IntegrityError, NotFound) as error:
        fetch_files(store, [(newest.file, destination)])
        note = (
            f"The weights are of epoch {newest.epoch}: those of the best, epoch "
            f"{newest.best_epoch}, are damaged ({error.value}: {error.rule})"
        )
        return newest, [note]


def fetch_checkpoint(store: Store, training_key: str, epoch: int, destination: Path) -> Checkpoint:
    """Bring the checkpoint of one epoch.

    Raises:
        NotFound: There is none, or its manifest or file is missing.
        IntegrityError: Its manifest or its file is damaged.
    """
    try:
        checkpoint = read_checkpoint(store, training_key, epoch)
    except ValidationError as error:
        raise IntegrityError(
            f"checkpoint of epoch {epoch}",
            rule=f"its manifest is damaged ({error.error_count()} faults)",
            remedy="delete it",
        ) from error
    fetch_files(store, [(checkpoint.file, destination)])
    return checkpoint


def read_checkpoint(store: Store, training_key: str, epoch: int) -> Checkpoint:
    """The manifest of one epoch's checkpoint.

    Raises:
        NotFound: There is none.
        ValidationError: It is damaged.
    """
    data = store.read_bytes(f"checkpoints/{training_key}/epoch-{epoch:04d}.json")
    return Checkpoint.model_validate_json(data)


def _epochs(store: Store, training_key: str) -> list[int]:
    """Epochs with a manifest, oldest first."""
    names = (path.rsplit("/", 1)[-1] for path in store.paths(f"checkpoints/{training_key}"))
    return sorted(int(n[6:-5]) for n in names if n.startswith("epoch-") and n.endswith(".json"))
