"""Following a rollout by what truly runs, to its end or to the reason why it has none."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from yololine.cluster.api import FIELD_MANAGER, Cluster
from yololine.cluster.refusals import Claim, whose
from yololine.cluster.resources import (
    DEPLOYMENTS,
    EVENTS,
    INFERENCE_SERVICES,
    PODS,
    REPLICA_SETS,
)
from yololine.deployment.causes import (
    Cause,
    creation_cause,
    model_status_cause,
    most_telling,
    pod_cause,
)
from yololine.deployment.specification import (
    DRAIN_SECONDS,
    SPEC_DIGEST,
    STORAGE_URI,
    digest_of,
    is_scaled,
    least_pods,
    storage_uri_of,
)
from yololine.errors import DeploymentError

LOOK_SECONDS = 2.0
"""Pods and events are looked at this often, even where the Deployment does not change."""
STALE_SECONDS = 20.0
"""KServe's own model status may be that of the rollout before: it must stay as long."""
REFUSED_SECONDS = 5.0
"""A pod that is refused is tried again at once; a reason that stays this long will stay."""
QUOTA_SECONDS = DRAIN_SECONDS + 30.0
"""The old pod holds its share of a quota until it is gone."""
SERVICE_LABEL = "serving.kserve.io/inferenceservice"
_KNATIVE = {"Knative", "Serverless"}


class Displaced(DeploymentError):
    """Somebody else changed what is being rolled out; it is theirs now, and is left alone."""


@dataclass
class Rollout:
    """One specification on its way to being what runs.

    Attributes:
        applied: The InferenceService as the API server answered the apply.
        before: Its status then: what KServe said of the specification before.
    """

    cluster: Cluster
    applied: dict[str, Any]
    before: dict[str, Any]
    progress: Callable[[str], None]
    check: Callable[[], None]
    """Called at each look: raises where the rollout must not go on."""
    _first_seen: dict[str, float] = field(default_factory=dict)
    _said: str = ""

    def follow(self, *, timeout_seconds: float) -> dict[str, Any]:
        """Wait until every pod runs this specification and is available.

        Returns:
            The InferenceService at that moment.

        Raises:
            Displaced: Somebody else changed the specification meanwhile.
            DeploymentError: It cannot come up, or did not within the time; the reason in words.
        """
        name = self.applied["metadata"]["name"]
        ends = time.monotonic() + timeout_seconds
        while True:
            self.check()
            service = refuse_displacement(self.applied, self.cluster.get(INFERENCE_SERVICES, name))
            deployment = self.cluster.get(DEPLOYMENTS, f"{name}-predictor")
            if (
                deployment
                and self._runs(deployment)
                and self._settled(deployment)
                and not _mode_cause(service.get("status") or {})
            ):
                return service
            cause = self._cause(service, deployment)
            left = ends - time.monotonic()
            if cause and cause.final:
                raise self._failure(cause)
            if left <= 0:
                raise self._failure(cause or self._silence(service, deployment), timeout_seconds)
            self._say(cause.words if cause else self._counts(deployment))
            self.cluster.wait_for_change(
                DEPLOYMENTS,
                f"{name}-predictor",
                since=(deployment or {}).get("metadata", {}).get("resourceVersion", ""),
                seconds=max(0.1, min(LOOK_SECONDS, left)),
            )

    def _runs(self, deployment: dict[str, Any]) -> bool:
        """Whether this specification is what the Deployment makes pods of."""
        annotations = deployment["spec"]["template"]["metadata"].get("annotations") or {}
        uri = storage_uri_of(self.applied)
        digest = digest_of(self.applied)
        return annotations.get(STORAGE_URI, uri) == uri and annotations.get(SPEC_DIGEST) == (
            digest or None
        )

    def _settled(self, deployment: dict[str, Any]) -> bool:
        """Whether every pod is a new one, and as many as were asked for are available.

        Those that an autoscaler adds are its own matter: it may not get them, and changes its mind.
        """
        status = deployment.get("status") or {}
        least, updated = least_pods(self.applied), status.get("updatedReplicas") or 0
        return bool(
            status.get("observedGeneration") == deployment["metadata"]["generation"]
            and status.get("replicas") == updated
            and (status.get("availableReplicas") or 0) >= least
            # Without an autoscaler a Deployment of another size is one that KServe has yet to
            # change.
            and (is_scaled(self.applied) or deployment["spec"].get("replicas", 1) == least)
        )

    def _counts(self, deployment: dict[str, Any] | None) -> str:
        if deployment is None:
            return "waiting for KServe to make the Deployment"
        if not self._runs(deployment):
            return "waiting for KServe to change the Deployment"
        status = deployment.get("status") or {}
        wanted = deployment["spec"].get("replicas", 1)
        if is_scaled(self.applied):
            wanted = max(wanted, least_pods(self.applied))
        return (
            f"{status.get('updatedReplicas') or 0} of {wanted} pods are new, "
            f"{status.get('availableReplicas') or 0} available"
        )

    def _cause(self, service: dict[str, Any], deployment: dict[str, Any] | None) -> Cause | None:
        status = service.get("status") or {}
        if cause := _mode_cause(status):
            return cause
        if deployment is None or not self._runs(deployment):
            if said := self._lasting(model_status_cause(status), status, STALE_SECONDS):
                return said
            return self._lasting(_reconcile_cause(status), status, STALE_SECONDS)
        pods, refused = self._pods(deployment)
        causes = [cause for pod in pods if (cause := pod_cause(pod, log=self.cluster.last_words))]
        if refused:
            seconds = QUOTA_SECONDS if "exceeded quota" in refused.words else REFUSED_SECONDS
            causes.extend(filter(None, [self._lasting(refused, {}, seconds)]))
        if found := most_telling(causes):
            return found
        return self._lasting(model_status_cause(status), status, STALE_SECONDS)

    def _pods(self, deployment: dict[str, Any]) -> tuple[list[dict[str, Any]], Cause | None]:
        """Pods of this specification that are not going, and why another one is refused."""
        labels = f"{SERVICE_LABEL}={self.applied['metadata']['name']}"
        sets = {
            found["metadata"]["uid"]
            for found in self.cluster.find(REPLICA_SETS, labels=labels)
            if self._runs(found) and _owned(found, {deployment["metadata"]["uid"]})
        }
        pods = [
            pod
            for pod in self.cluster.find(PODS, labels=labels)
            if _owned(pod, sets) and not pod["metadata"].get("deletionTimestamp")
        ]
        for condition in (deployment.get("status") or {}).get("conditions") or ():
            refused = condition["type"] == "ReplicaFailure" and condition["status"] == "True"
            if refused or condition.get("reason") == "ReplicaSetCreateError":
                return pods, creation_cause(
                    condition.get("message", ""), kind=condition.get("reason", "FailedCreate")
                )
        return pods, None

    def _lasting(self, cause: Cause | None, status: dict[str, Any], seconds: float) -> Cause | None:
        """The cause, not final before it has stayed; at once where KServe finds a new fault.

        A load that failed once is tried again; the pods tell sooner and better whether that helps.
        """
        if cause is None:
            return None
        fresh = cause.kind == "InvalidSpec" and (
            status.get("modelStatus") != self.before.get("modelStatus")
        )
        since = self._first_seen.setdefault(cause.words, time.monotonic())
        if not cause.final or fresh or time.monotonic() - since >= seconds:
            return cause
        return Cause(kind=cause.kind, words=cause.words, remedy=cause.remedy, final=False)

    def _silence(self, service: dict[str, Any], deployment: dict[str, Any] | None) -> Cause:
        """What to say at the deadline where nothing else explains it."""
        if deployment is None or not self._runs(deployment):
            return Cause(
                kind="NotReconciled",
                words="KServe has not taken up the specification",
                remedy="see that KServe's controller runs, and its log",
                final=True,
            )
        name = service["metadata"]["name"]
        size, least = deployment["spec"].get("replicas", 1), least_pods(self.applied)
        if size < least:
            scaler = is_scaled(self.applied)
            return Cause(
                kind="NotScaled",
                words=f"the Deployment {name}-predictor has {size} pods, not {least}, and "
                + ("its HorizontalPodAutoscaler" if scaler else "KServe")
                + " has not changed that",
                remedy="see what kubectl describe hpa says of it" if scaler else "see KServe's log",
                final=True,
            )
        words = self._counts(deployment)
        for event in reversed(self.cluster.find(EVENTS, fields="reason=Unhealthy")):
            if event.get("involvedObject", {}).get("name", "").startswith(f"{name}-predictor-"):
                words += f"; last probe: {event.get('message', '')[:300]}"
                break
        return Cause(
            kind="NotAvailable",
            words=words,
            remedy="see the pods' log, or allow more time",
            final=True,
        )

    def _failure(self, cause: Cause, timeout_seconds: float | None = None) -> DeploymentError:
        late = f" after {timeout_seconds:.0f} s" if timeout_seconds is not None else ""
        return DeploymentError(
            f"InferenceService {self.applied['metadata']['name']}",
            rule=f"does not come up{late}: {cause.words} ({cause.kind})",
            remedy=cause.remedy,
        )

    def _say(self, words: str) -> None:
        if words != self._said:
            self._said = words
            self.progress(words)


def refuse_displacement(applied: dict[str, Any], now: dict[str, Any] | None) -> dict[str, Any]:
    """The InferenceService as it is now, if it still is what was applied.

    Raises:
        Displaced: Somebody else changed the specification, or deleted it.
    """
    name = f"InferenceService {applied['metadata']['name']}"
    # With finalizers it stays for a while; what is applied to it then is lost.
    if now is None or now["metadata"].get("deletionTimestamp"):
        raise Displaced(
            name,
            rule="was deleted by somebody else while it was rolled out",
            remedy="see who did, and deploy again",
        )
    if now["metadata"]["generation"] != applied["metadata"]["generation"]:
        claims = displaced_fields(applied, now)
        if claims or digest_of(now) != digest_of(applied):
            who = whose(claims) or "somebody else"
            raise Displaced(
                name,
                rule=f"was changed while it was rolled out, by {who}",
                remedy="agree with whoever did; deploy again once these fields may be yololine's",
            )
    return now


def displaced_fields(ours: dict[str, Any], now: dict[str, Any]) -> tuple[Claim, ...]:
    """Fields of the specification that were ours, and who manages them now."""
    lost = _managed(ours, FIELD_MANAGER) - _managed(now, FIELD_MANAGER)
    return tuple(
        Claim(manager=manager, field=path)
        for manager in sorted(_managers(now) - {FIELD_MANAGER})
        for path in sorted(lost & _managed(now, manager))
    )


def _managers(service: dict[str, Any]) -> set[str]:
    return {entry["manager"] for entry in service["metadata"].get("managedFields") or ()}


def _managed(service: dict[str, Any], manager: str) -> set[str]:
    """Leaf paths below .spec that a manager has, such as `.spec.predictor.model.storageUri`."""
    paths: set[str] = set()
    for entry in service["metadata"].get("managedFields") or ():
        if entry["manager"] == manager and not entry.get("subresource"):
            paths.update(_leaves(entry.get("fieldsV1") or {}, ""))
    return {path for path in paths if path.startswith(".spec")}


def _leaves(fields: dict[str, Any], path: str) -> list[str]:
    below = [
        leaf
        for key, inner in fields.items()
        if key != "."
        for leaf in _leaves(inner, f"{path}.{key.partition(':')[2]}")
    ]
    return below or [path]


def _mode_cause(status: dict[str, Any]) -> Cause | None:
    """A mode of KServe's that makes no Deployment to follow, whatever the annotation says."""
    if (mode := status.get("deploymentMode")) not in _KNATIVE:
        return None
    return Cause(
        kind="DeploymentMode",
        words=f"KServe deploys it in mode {mode}, not Standard",
        remedy="use KServe 0.16 or newer, or delete the service that was made in that mode",
        final=True,
    )


def _reconcile_cause(status: dict[str, Any]) -> Cause | None:
    """What KServe's controller says where it cannot act on the specification at all."""
    for condition in status.get("conditions") or ():
        if (
            condition.get("type") == "PredictorReady"
            and condition.get("reason") == "ReconcileFailed"
        ):
            return Cause(
                kind="ReconcileFailed",
                words=f"KServe cannot act on it: {condition.get('message', '')}",
                remedy="mend what the message names",
                final=True,
            )
    return None


def _owned(thing: dict[str, Any], owners: set[str]) -> bool:
    references = thing["metadata"].get("ownerReferences") or ()
    return any(reference.get("uid") in owners for reference in references)
