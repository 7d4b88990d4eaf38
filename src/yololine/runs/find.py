"""Which run or version a person means: by id, by the start of it, by name, or the newest."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime

from yololine.errors import UsageError
from yololine.registry.versions import champion, read_version, versions_by_model
from yololine.storage import Store
from yololine.telemetry.journal import read_run, read_run_record, run_ids
from yololine.telemetry.records import now
from yololine.telemetry.runs import state_of

LATEST = "latest"
_NEWEST = 5
_READERS = 16
"""A store in a bucket answers in tens of milliseconds, and may hold a thousand runs."""
_OWN_ID = re.compile(r".+-(\d{8}-\d{6})-[0-9a-f]{4}")


@dataclass(frozen=True, kw_only=True)
class Meant:
    """A run, or a version of a model; where a model's name was given, without its version.

    `version` is empty where the model has no version that could be shown by itself.
    """

    run_id: str = ""
    model: str = ""
    version: str = ""
    named: bool = False
    """Whether the version was named, not only its model."""


def find(store: Store, what: str) -> Meant:
    """The run or version that a person means.

    Args:
        store: Where to look.
        what: A run's id or the start of it, `latest`, `model@version`, `model/version`, `model`.

    Raises:
        UsageError: There is no such thing, or there are several.
    """
    runs = run_ids(store)
    if what == LATEST:
        if newest := newest_runs(store, runs, 1):
            return Meant(run_id=newest[0])
    elif what in runs:
        return Meant(run_id=what)
    models = versions_by_model(store)
    model, at, version = what.partition("@" if "@" in what else "/")
    if model in models:
        if not at:
            return Meant(model=model, version=_foremost(store, model, models[model]))
        return Meant(model=model, version=_the_one(store, what, version, models[model]), named=True)
    if len(what) > 2 and (begun := [run_id for run_id in runs if run_id.startswith(what)]):
        return Meant(run_id=_the_one(store, what, what, begun))
    raise _unknown(store, what, runs, models)


def newest_runs(store: Store, runs: Iterable[str], count: int) -> list[str]:
    """The ids of the runs that began last, newest first."""
    runs = list(runs)
    with ThreadPoolExecutor(_READERS) as readers:
        begun = dict(
            zip(runs, readers.map(lambda run_id: _began(store, run_id), runs), strict=True)
        )
    return sorted(runs, key=lambda run_id: begun[run_id], reverse=True)[:count]


def _began(store: Store, run_id: str) -> datetime:
    # The ids that `yololine run` gives say it themselves.
    if own := _OWN_ID.fullmatch(run_id):
        return datetime.strptime(own[1], "%Y%m%d-%H%M%S").replace(tzinfo=UTC)
    records = read_run(store, run_id).values()
    return min((record.started_at for record in records), default=datetime.min.replace(tzinfo=UTC))


def _foremost(store: Store, model: str, versions: list[str]) -> str:
    """The champion, or the version that was registered last."""
    if reigning := champion(store, model):
        return reigning.version
    read = [found for name in versions if (found := read_version(store, model, name))]
    return max(read, key=lambda found: found.registered_at).version if read else ""


def _the_one(store: Store, what: str, start: str, among: list[str]) -> str:
    if start in among:
        return start
    begun = [name for name in among if start and name.startswith(start)]
    if len(begun) == 1:
        return begun[0]
    if begun:
        shown = ", ".join(sorted(begun)[:_NEWEST]) + (", ..." if len(begun) > _NEWEST else "")
        raise UsageError(
            what, rule=f"is the start of {len(begun)}: {shown}", remedy="write more of it"
        )
    near = difflib.get_close_matches(start, among, n=1)
    raise UsageError(
        what,
        rule=f"is not in {store.uri}",
        remedy=f"did you mean {near[0]}?" if near else f"there are: {', '.join(sorted(among))}",
    )


def _unknown(store: Store, what: str, runs: list[str], models: dict[str, list[str]]) -> UsageError:
    if not runs and not models:
        return UsageError(
            what,
            rule=f"is not there: {store.uri} holds no run and no model",
            remedy="name the store with --store-uri, or start a run with: yololine run training",
        )
    near = difflib.get_close_matches(what, [*runs, *models], n=3, cutoff=0.5)
    remedy = f"did you mean {' or '.join(near)}?" if near else "choose one of these"
    newest = newest_runs(store, runs, _NEWEST)
    lines = [f"\n  {run_id}  {_state(store, run_id)}" for run_id in newest]
    if lines:
        remedy += f"\nnewest runs:{''.join(lines)}"
    if models:
        remedy += f"\nmodels:\n  {', '.join(sorted(models))}"
    return UsageError(what, rule=f"is no run and no model in {store.uri}", remedy=remedy)


def _state(store: Store, run_id: str) -> str:
    return state_of(read_run(store, run_id), read_run_record(store, run_id), at=now())
