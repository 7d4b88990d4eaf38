"""What was put live, and where.

models/<name>/deployments/<namespace>/<service>.json   as the last deployment left it

It is not asked of the cluster: who changes the service by other means is not seen here.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime

from pydantic import ValidationError

from yololine.errors import NotFound
from yololine.frozen import Frozen
from yololine.storage import Store


class Deployed(Frozen):
    """What is known of one service of a model."""

    name: str
    """Of the model."""
    namespace: str
    service: str
    version: str = ""
    """What the last deployment or rollback that succeeded put live; empty where none did."""
    url: str = ""
    cluster: str = ""
    """Address of the API server."""
    previous_version: str = ""
    """What was live before; empty where there was nothing."""
    golden_checked: int = 0
    """Golden images that were answered as the evaluation answered them."""
    run_id: str = ""
    """The run that did it; empty where a command did."""
    at: datetime | None = None
    trouble: str = ""
    """What became of a later attempt that failed, in its own words: what answers now is in them."""
    trouble_at: datetime | None = None


def keep_deployed(store: Store, deployed: Deployed) -> None:
    """Create or replace what is known of a service."""
    path = _path(deployed.name, deployed.namespace, deployed.service)
    store.write_bytes(path, deployed.model_dump_json(indent=1).encode())


def find_deployed(store: Store, name: str, namespace: str, service: str) -> Deployed | None:
    """What is known of a service; None where nothing is."""
    return _read(store, _path(name, namespace, service))


def deployments_of(store: Store, name: str) -> tuple[Deployed, ...]:
    """What is known of a model's services, by namespace and name."""
    found = (_read(store, path) for path in store.paths(f"models/{name}/deployments"))
    known = [one for one in found if one]
    return tuple(sorted(known, key=lambda one: (one.namespace, one.service)))


def _read(store: Store, path: str) -> Deployed | None:
    with suppress(NotFound, ValidationError):
        return Deployed.model_validate_json(store.read_bytes(path))
    return None


def _path(name: str, namespace: str, service: str) -> str:
    return f"models/{name}/deployments/{namespace}/{service}.json"
