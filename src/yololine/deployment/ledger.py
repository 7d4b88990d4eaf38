"""One deployment of a service at a time, and what was deployed before: both in one Lease.

Not in annotations of the InferenceService: KServe copies those to the pods, and each note would
start them again. And in one object, so that nobody writes the history who has lost the lock.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from pydantic import TypeAdapter, ValidationError

from yololine.cluster.api import Cluster
from yololine.cluster.refusals import Conflict
from yololine.cluster.resources import LEASES
from yololine.deployment.specification import digest_of, version_of
from yololine.errors import ClusterError, DeploymentError
from yololine.frozen import Frozen

LEASE_SECONDS = 60
"""After this long without a sign of life, a deployment has died."""
RENEW_SECONDS = 15
HURRY_SECONDS = 5
"""For what is tried again soon, or lapses by itself: a process that is told to stop has half a
minute in all."""
KEPT = 5
HISTORY = "yololine/history"
_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"


class Entry(Frozen):
    """A specification that was applied.

    Attributes:
        body: The InferenceService as it was applied.
        verified: Whether it was live and answered as it should.
    """

    body: dict[str, Any]
    applied_at: datetime
    verified: bool

    @property
    def digest(self) -> str:
        """Of the specification."""
        return digest_of(self.body)

    @property
    def version(self) -> str:
        """Of the model; empty for a service that was not made by this code."""
        return version_of(self.body)


_HISTORY = TypeAdapter(tuple[Entry, ...])


def lease_name(service_name: str) -> str:
    """Of a service's Lease."""
    return f"yololine-{service_name}"


def read_history(cluster: Cluster, service_name: str) -> tuple[Entry, ...]:
    """What was deployed, oldest first; nothing where it was never written, or is damaged."""
    return _history(cluster.get(LEASES, lease_name(service_name)) or {})


class Ledger:
    """The lock of a service, held, and its history."""

    def __init__(self, cluster: Cluster, lease: dict[str, Any], *, holder: str) -> None:
        self._cluster = cluster
        self._lease = lease
        self._holder = holder
        self._writing = threading.Lock()
        self._lost: ClusterError | None = None

    @property
    def history(self) -> tuple[Entry, ...]:
        """What was deployed, oldest first."""
        return _history(self._lease)

    def note(self, body: dict[str, Any], *, verified: bool) -> None:
        """Note a specification as the newest one.

        Raises:
            DeploymentError: The lock was lost.
        """
        self.check()
        entry = Entry(body=body, applied_at=datetime.now(UTC), verified=verified)
        if not verified and any(e.verified and e.digest == entry.digest for e in self.history):
            return  # good before, and not known to be bad now
        # Attempts that were not good are of no use to anybody, the newest one apart.
        good = [e for e in self.history if e.verified and e.digest != entry.digest]
        self._write(history=(*good, entry)[-KEPT:])

    def forget(self, digest: str) -> None:
        """Take a specification out of the history."""
        self._write(history=tuple(e for e in self.history if e.digest != digest))

    def check(self) -> None:
        """Raise DeploymentError where the lock was lost."""
        if self._lost:
            raise DeploymentError(
                f"Lease {self._lease['metadata']['name']}",
                rule=f"is no longer held by this deployment ({self._lost.rule})",
                remedy="see who deploys this service now, and run again once that is done",
            ) from self._lost

    def renew(self) -> None:
        """Give a sign of life."""
        try:
            self._write(history=None, patience_seconds=HURRY_SECONDS)
        except ClusterError as error:
            if isinstance(error, Conflict):
                self._lost = error

    def release(self) -> None:
        """Let others deploy. A server that does not answer is no error: the lease runs out."""
        try:
            self._write(history=None, holder="", patience_seconds=HURRY_SECONDS)
        except ClusterError:
            return

    def _write(
        self,
        *,
        history: tuple[Entry, ...] | None,
        holder: str | None = None,
        patience_seconds: float | None = None,
    ) -> None:
        cluster = self._cluster
        if patience_seconds is not None:
            cluster = cluster.with_patience(patience_seconds)
        with self._writing:
            lease = {**self._lease, "metadata": dict(self._lease["metadata"])}
            lease["spec"] = {
                **lease["spec"],
                "holderIdentity": self._holder if holder is None else holder,
                "renewTime": datetime.now(UTC).strftime(_TIME),
            }
            if history is not None:
                lease["metadata"]["annotations"] = {
                    **(lease["metadata"].get("annotations") or {}),
                    HISTORY: _HISTORY.dump_json(history).decode(),
                }
            try:
                self._lease = cluster.replace(LEASES, lease)
            except Conflict:
                # Perhaps our own write, whose answer was lost.
                now = cluster.get(LEASES, lease["metadata"]["name"]) or {}
                if (now.get("spec") or {}).get("holderIdentity") != self._holder:
                    raise
                lease["metadata"]["resourceVersion"] = now["metadata"]["resourceVersion"]
                self._lease = cluster.replace(LEASES, lease)


@contextmanager
def holding(cluster: Cluster, service_name: str, *, who: str = "") -> Iterator[Ledger]:
    """Hold a service's lock while the block lasts.

    Args:
        cluster: And namespace.
        service_name: Of the InferenceService.
        who: For the other one to read, such as the run's id.

    Raises:
        DeploymentError: Somebody else holds it.
    """
    holder = (
        f"{who or 'deployment'} on {socket.gethostname()}, process {os.getpid()}, {uuid4().hex[:6]}"
    )
    ledger = Ledger(cluster, _acquire(cluster, service_name, holder), holder=holder)
    done = threading.Event()

    def renewing() -> None:
        while not done.wait(RENEW_SECONDS):
            ledger.renew()

    thread = threading.Thread(target=renewing, name="yololine-lease", daemon=True)
    thread.start()
    try:
        yield ledger
    finally:
        done.set()
        thread.join()
        ledger.release()


def _acquire(cluster: Cluster, service_name: str, holder: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    spec = {
        "holderIdentity": holder,
        "leaseDurationSeconds": LEASE_SECONDS,
        "acquireTime": now.strftime(_TIME),
        "renewTime": now.strftime(_TIME),
    }
    name = lease_name(service_name)
    lease = cluster.get(LEASES, name)
    try:
        if lease is None:
            return cluster.create(
                LEASES,
                {
                    "apiVersion": LEASES.api_version,
                    "kind": LEASES.kind,
                    "metadata": {
                        "name": name,
                        "labels": {"app.kubernetes.io/part-of": "yololine"},
                    },
                    "spec": spec,
                },
            )
        if (other := _alive(lease, now)) and other != holder:
            raise _held(service_name, other, lease)
        return cluster.replace(LEASES, {**lease, "spec": spec})
    except Conflict as error:
        lease = cluster.get(LEASES, name) or {"spec": {}}
        other = str(lease["spec"].get("holderIdentity", ""))
        if other == holder:
            return lease
        raise _held(service_name, other or "somebody else", lease) from error


def _alive(lease: dict[str, Any], now: datetime) -> str:
    """Who holds the lease; empty where it is free or has run out."""
    spec = lease.get("spec") or {}
    holder = str(spec.get("holderIdentity") or "")
    renewed = _moment(spec.get("renewTime"))
    seconds = int(spec.get("leaseDurationSeconds") or LEASE_SECONDS)
    return holder if renewed and now < renewed + timedelta(seconds=seconds) else ""


def _held(service_name: str, other: str, lease: dict[str, Any]) -> DeploymentError:
    since = (lease.get("spec") or {}).get("acquireTime", "a moment ago")
    error = DeploymentError(
        f"service {service_name}",
        rule=f"is being deployed by {other}, since {since}; two at once would undo each other",
        remedy=f"wait for the other one; should it have died, run again {LEASE_SECONDS} s later",
    )
    error.retryable = True
    return error


def _moment(text: Any) -> datetime | None:
    try:
        return datetime.strptime(str(text), _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def _history(lease: dict[str, Any]) -> tuple[Entry, ...]:
    annotations = (lease.get("metadata") or {}).get("annotations") or {}
    try:
        return _HISTORY.validate_json(annotations.get(HISTORY, "[]"))
    except ValidationError:
        return ()
