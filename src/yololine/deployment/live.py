"""Making a specification live: applied, rolled out, answering; or what was before, restored."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from yololine.cluster import Cluster, FieldConflict
from yololine.cluster.resources import INFERENCE_SERVICES
from yololine.deployment.endpoint import (
    Endpoint,
    check_golden,
    check_version,
    find_endpoint,
    settle,
)
from yololine.deployment.ledger import Entry, Ledger
from yololine.deployment.preflight import conflict
from yololine.deployment.rollout import Displaced, Rollout
from yololine.deployment.specification import digest_of, version_of
from yololine.errors import ClusterError, DeploymentError, YololineError
from yololine.evaluation.golden import Golden

_GONE_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Live:
    """A specification that is live and checked."""

    service: dict[str, Any]
    endpoint: Endpoint
    golden_checked: int


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where something is made live, and under whose eyes.

    Attributes:
        check: Raises where the work must not go on, such as when the lock was lost.
        timeout_seconds: For the pods to come up.
    """

    cluster: Cluster
    progress: Callable[[str], None]
    check: Callable[[], None]
    timeout_seconds: float

    def bring_up(self, body: dict[str, Any]) -> dict[str, Any]:
        """Apply a specification, unless it is there already, and follow it until it runs.

        Raises:
            DeploymentError: Fields are somebody else's, or it does not come up.
            ClusterError: The API server says no, or nothing.
        """
        name = body["metadata"]["name"]
        standing = self.cluster.get(INFERENCE_SERVICES, name)
        if standing and _same(standing, body):
            # Applying it again would give the pods this run's annotations, and so start them again.
            self.progress(f"{name} has this specification already")
            applied = standing
        else:
            self.progress(f"applying {_told(body)} to {name}")
            try:
                applied = self.cluster.apply(INFERENCE_SERVICES, body)
            except FieldConflict as error:
                raise conflict(name, error) from error
        rollout = Rollout(
            cluster=self.cluster,
            applied=applied,
            before=(standing or {}).get("status") or {},
            progress=self.progress,
            check=self.check,
        )
        return rollout.follow(timeout_seconds=self.timeout_seconds)

    def make_live(self, body: dict[str, Any], golden: Golden | None) -> Live:
        """Bring a specification up, and have its endpoint answer as evaluation did.

        Without golden images it must at least say that it serves this version.
        """
        service = self.bring_up(body)
        endpoint: Endpoint = settle(lambda: self._endpoint(service), check=self.check)
        version = version_of(body)
        if golden is None:
            check_version(endpoint, version=version, images=(), check=self.check)
            return Live(service=service, endpoint=endpoint, golden_checked=0)
        self.progress(f"sending {len(golden.images)} golden images to {endpoint.url}")
        checked = check_golden(endpoint, golden, version=version, check=self.check)
        return Live(service=service, endpoint=endpoint, golden_checked=checked)

    def remove(self, name: str) -> None:
        """Delete a service, and return once it is gone.

        Raises:
            DeploymentError: It stays.
        """
        self.cluster.delete(INFERENCE_SERVICES, name)
        ends = time.monotonic() + _GONE_SECONDS
        while found := self.cluster.get(INFERENCE_SERVICES, name):
            if time.monotonic() > ends:
                raise DeploymentError(
                    f"InferenceService {name}",
                    rule=f"is not gone {_GONE_SECONDS:.0f} s after it was deleted",
                    remedy="see its finalizers, and KServe's log",
                )
            self.cluster.wait_for_change(
                INFERENCE_SERVICES,
                name,
                since=found["metadata"]["resourceVersion"],
                seconds=1,
            )

    def _endpoint(self, service: dict[str, Any]) -> Endpoint:
        # Read again: the address comes a moment after the pods.
        name = service["metadata"]["name"]
        return find_endpoint(self.cluster.get(INFERENCE_SERVICES, name) or service)


def before(
    ledger: Ledger, standing: dict[str, Any] | None, body: dict[str, Any]
) -> dict[str, Any] | None:
    """The specification to go back to; None where nothing good was ever live.

    What is live now may be an attempt that was cut off before it was checked: that is never gone
    back to, but the last one that was.
    """
    if standing is None:
        return None
    wanted, live = digest_of(body), digest_of(standing)
    entries = {entry.digest: entry for entry in ledger.history if entry.digest}
    if live != wanted and (live not in entries or entries[live].verified):
        return entries[live].body if live in entries else _as_applied(standing)
    good = [e for e in ledger.history if e.verified and e.digest != wanted]
    return good[-1].body if good else None


def give_back(
    stage: Stage,
    ledger: Ledger,
    *,
    failed: dict[str, Any],
    previous: dict[str, Any] | None,
    golden: Golden | None,
    error: YololineError,
) -> DeploymentError:
    """Undo a deployment that failed, and verify that what was before answers again.

    Returns:
        The error to raise, with both facts: why it failed, and what answers now.
    """
    name = failed["metadata"]["name"]
    if isinstance(error, Displaced):
        return _both(
            error, f"nothing was restored, so that nobody's change is undone: {name} stays"
        )
    try:
        ledger.forget(digest_of(failed))
        if previous is None:
            stage.progress(f"removing {name}, which never answered as it should")
            stage.remove(name)
            return _both(error, f"{name} had no version before, and was removed again")
        stage.progress(f"restoring {_told(previous)}")
        service = stage.bring_up(previous)
        endpoint: Endpoint = settle(lambda: find_endpoint(service), check=stage.check)
        images = [image.image_bytes for image in golden.images[:1]] if golden else []
        check_version(endpoint, version=version_of(previous), images=images, check=stage.check)
    except (DeploymentError, ClusterError) as second:
        return _both(
            error,
            f"{_told(previous) if previous else name} could NOT be restored: {second.value}: "
            f"{second.rule}; {second.remedy}",
        )
    return _both(error, f"{_told(previous)} was restored, and answers")


def cut_off(stage: Stage, body: dict[str, Any], previous: dict[str, Any] | None) -> None:
    """Say in which state an interruption leaves the service."""
    stage.progress(
        f"interrupted: {body['metadata']['name']} is on its way to {_told(body)}, not yet checked; "
        + (f"{_told(previous)} was live before. " if previous else "nothing was live before. ")
        + "Run again to go on from here; rollback goes back"
    )


def target(history: tuple[Entry, ...], live: str, to_version: str | None) -> Entry | None:
    """The newest good specification that is not live, or that of a version."""
    good = [e for e in history if e.verified and (to_version or e.digest != live)]
    if to_version:
        good = [e for e in good if e.version == to_version]
    return good[-1] if good else None


def _same(standing: dict[str, Any], body: dict[str, Any]) -> bool:
    def size(service: dict[str, Any]) -> tuple[Any, Any]:
        predictor = service["spec"]["predictor"]
        return predictor.get("minReplicas"), predictor.get("maxReplicas")

    digest = digest_of(body)
    return bool(digest) and digest_of(standing) == digest and size(standing) == size(body)


def _as_applied(service: dict[str, Any]) -> dict[str, Any]:
    """An InferenceService of the API server as something to apply again."""
    metadata = service["metadata"]
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if not key.startswith("kubectl.kubernetes.io/")
    }
    return {
        "apiVersion": service["apiVersion"],
        "kind": service["kind"],
        "metadata": {
            "name": metadata["name"],
            "labels": metadata.get("labels") or {},
            "annotations": annotations,
        },
        "spec": service["spec"],
    }


def _told(body: dict[str, Any]) -> str:
    version = version_of(body)
    return f"version {version}" if version else "the previous specification"


def _both(error: YololineError, fact: str) -> DeploymentError:
    both = DeploymentError(error.value, rule=f"{error.rule}. {fact}", remedy=error.remedy)
    both.__cause__ = error
    return both
