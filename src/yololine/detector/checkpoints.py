"""Checkpoints in the store: one per finished epoch, so that any pod can go on from them.

    checkpoints/<training key>/epoch-0007.pt     the trainer's own file
    checkpoints/<training key>/epoch-0007.json   what it must hold, written last

The two newest and the best are kept.
"""

from __future__ import annotations

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
    file: FileRef
    curves: tuple[EpochProgress, ...]


def push_checkpoint(
    store: Store,
    training_key: str,
    file: Path,
    *,
    fitness: float,
    best_epoch: int,
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
        epoch=epoch, fitness=fitness, best_epoch=best_epoch, file=ref, curves=curves
    )
    store.write_bytes(f"{stem}.json", checkpoint.model_dump_json().encode())
    epochs = _epochs(store, training_key)
    for old in epochs[:-KEPT_NEWEST]:
        if old != best_epoch:
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
            checkpoint = read_checkpoint(store, training_key, epoch)
            fetch_files(store, [(checkpoint.file, destination)])
        except (IntegrityError, NotFound, ValidationError) as error:
            words = str(error) if isinstance(error, IntegrityError) else "it is damaged"
            notes.append(f"Checkpoint of epoch {epoch} was passed over: {words}")
        else:
            return checkpoint, notes
    return None, notes


def read_checkpoint(store: Store, training_key: str, epoch: int) -> Checkpoint:
    """The manifest of one epoch's checkpoint.

    Raises:
        NotFound: There is none.
    """
    data = store.read_bytes(f"checkpoints/{training_key}/epoch-{epoch:04d}.json")
    return Checkpoint.model_validate_json(data)


def _epochs(store: Store, training_key: str) -> list[int]:
    """Epochs with a manifest, oldest first."""
    names = (path.rsplit("/", 1)[-1] for path in store.paths(f"checkpoints/{training_key}"))
    return sorted(int(n[6:-5]) for n in names if n.startswith("epoch-") and n.endswith(".json"))
