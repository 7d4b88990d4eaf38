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
from yololine.deployment.ledger import HURRY_SECONDS, Entry, Ledger
from yololine.deployment.preflight import conflict
from yololine.deployment.rollout import Displaced, Rollout, refuse_displacement
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
        standing = self.standing(name)
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
        checked = 0
        if golden is None:
            check_version(endpoint, version=version, images=(), check=self.check)
        else:
            self.progress(f"sending {len(golden.images)} golden images to {endpoint.url}")
            checked = check_golden(endpoint, golden, version=version, check=self.check)
        # What answered must be what stays.
        name = body["metadata"]["name"]
        now = refuse_displacement(service, self.cluster.get(INFERENCE_SERVICES, name))
        return Live(service=now, endpoint=endpoint, golden_checked=checked)

    def standing(self, name: str) -> dict[str, Any] | None:
        """A service as it is; None for one that is deleted, once it is gone.

        What is applied to one on its way out goes with it.

        Raises:
            DeploymentError: It does not go.
        """
        found = self.cluster.get(INFERENCE_SERVICES, name)
        if found and is_going(found):
            self.progress(f"waiting for {name} to be gone, which somebody deleted")
            self.remove(name)
            return None
        return found

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

    It may be that of `body` itself, where that was live and good already: a check that fails, or
    one more pod that does not come up, takes nothing away. What is live now may be an attempt that
    was cut off before it was checked: that is never gone back to, but the last one that was.
    """
    if standing is None:
        return None
    live = digest_of(standing)
    entries = {entry.digest: entry for entry in ledger.history if entry.digest}
    if live not in entries:
        # An attempt is noted before it is applied: so this is none.
        return _as_applied(standing)
    if entries[live].verified:
        return entries[live].body
    earlier = target(ledger.history, digest_of(body), None)
    return earlier.body if earlier else None


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
        return _both(error, "nothing was restored, so that nobody's change is undone")
    try:
        if previous is None or digest_of(previous) != digest_of(failed):
            ledger.forget(digest_of(failed))
        standing = stage.standing(name)
        if previous is None:
            if standing is None:
                return _both(error, f"{name} had no version before, and has none now")
            stage.progress(f"removing {name}, which never answered as it should")
            stage.remove(name)
            return _both(error, f"{name} had no version before, and was removed again")
        untouched = standing is not None and _same(standing, previous)
        stage.progress(f"{'checking' if untouched else 'restoring'} {_told(previous)}")
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
    return _both(
        error, f"{_told(previous)} {'stayed' if untouched else 'was restored'}, and answers"
    )


def put_back(stage: Stage, *, failed: dict[str, Any], previous: dict[str, Any] | None) -> str:
    """Undo what was interrupted with one request; nothing is waited for, and nothing is checked.

    A process that is told to stop has half a minute, which no pod needs to start. But nothing that
    was not checked is left on its way to being live.

    Returns:
        What becomes of the service, in words.
    """
    name = failed["metadata"]["name"]
    cluster = stage.cluster.with_patience(HURRY_SECONDS)
    try:
        stage.check()
        standing = cluster.get(INFERENCE_SERVICES, name)
        if standing is None or is_going(standing):
            return f"{name} is not there"
        if previous is None:
            cluster.delete(INFERENCE_SERVICES, name)
            return f"{name} had no version before, and is being removed again"
        if _same(standing, previous):
            return f"{name} has the specification of {_told(previous)}, as before"
        cluster.apply(INFERENCE_SERVICES, previous)
        return f"{_told(previous)} was put back, and is not checked yet"
    except (DeploymentError, ClusterError) as error:
        return (
            f"{name} may be on its way to {_told(failed)}, unchecked, as it could NOT be put back "
            f"({error.value}: {error.rule})"
        )


def is_going(service: dict[str, Any]) -> bool:
    """Whether somebody deleted it, and it is only waited for its finalizers."""
    return bool(service["metadata"].get("deletionTimestamp"))


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
