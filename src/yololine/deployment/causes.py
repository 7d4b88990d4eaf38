"""Why pods do not come up, in words, from what Kubernetes says of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

_NEVER_STARTS = {
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
}
"""Waiting reasons that do not pass by themselves. ErrImagePull is the first attempt, and may."""
_LONGEST_WORDS = 600
STORAGE_INITIALIZER = "storage-initializer"
"""KServe's init container that fetches the model."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """One reason why a rollout does not go on.

    Attributes:
        kind: Kubernetes' own word, such as `ImagePullBackOff`.
        words: The whole of it, for a person.
        remedy: What to do about it.
        final: Whether waiting is of no use.
    """

    kind: str
    words: str
    remedy: str
    final: bool


def pod_cause(pod: dict[str, Any], *, log: Callable[[str, str], str]) -> Cause | None:
    """Why this pod is not up; None where nothing speaks against it.

    Args:
        pod: As the API has it.
        log: Gives the end of a log, by the pod's and the container's name.
    """
    status = pod.get("status") or {}
    name = pod["metadata"]["name"]
    containers = [
        *(status.get("initContainerStatuses") or ()),
        *(status.get("containerStatuses") or ()),
    ]
    for container in containers:
        if cause := _container_cause(name, container, log):
            return cause
    if status.get("phase") == "Failed":
        said = f"{status.get('reason', 'Failed')}: {status.get('message', '')}".rstrip(": ")
        # The Deployment makes another one in its place.
        return Cause(kind="PodFailed", words=f"pod {name}: {said}", remedy=_LOOK, final=False)
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Cause(
                kind=condition.get("reason", "Unschedulable"),
                words=f"pod {name} has no node: {condition.get('message', '')}",
                remedy="free what it asks for, or ask for less; check node selector, tolerations "
                "and gpu_type",
                final=False,
            )
    return None


def creation_cause(message: str, *, kind: str = "FailedCreate") -> Cause:
    """Why no pod is even made."""
    remedy = "mend what the message names"
    if "exceeded quota" in message:
        remedy = "free some of the quota, have it raised, or ask for less"
    elif "serviceaccount" in message.lower():
        remedy = "create the service account, as manifests/serving does"
    elif "PodSecurity" in message and STORAGE_INITIALIZER in message:
        remedy = (
            "KServe's own container is no restricted one: apply "
            "manifests/patches/storage-initializer-restricted.yaml"
        )
    elif "PodSecurity" in message:
        remedy = "use the ServingRuntime of manifests/serving: its pods are restricted ones"
    return Cause(kind=kind, words=f"no pod could be made: {message}", remedy=remedy, final=True)


def model_status_cause(status: dict[str, Any]) -> Cause | None:
    """What KServe itself says is wrong with the model or the specification."""
    said = status.get("modelStatus") or {}
    state = said.get("transitionStatus")
    if state not in {"InvalidSpec", "BlockedByFailedLoad"}:
        return None
    info = said.get("lastFailureInfo") or {}
    words = ": ".join(str(info[key]) for key in ("reason", "message") if info.get(key))
    remedy = "compare the ServingRuntime with manifests/serving"
    if state == "BlockedByFailedLoad":
        remedy = "see the pod's log"
    return Cause(
        kind=state,
        words=f"KServe says {state}" + (f" ({words[:_LONGEST_WORDS]})" if words else ""),
        remedy=remedy,
        final=True,
    )


def most_telling(causes: Iterable[Cause]) -> Cause | None:
    """Of several, a final one, else the first."""
    found = list(causes)
    return next((cause for cause in found if cause.final), found[0] if found else None)


_LOOK = "see the pod's events and log"


def _container_cause(
    pod: str, container: dict[str, Any], log: Callable[[str, str], str]
) -> Cause | None:
    state = container.get("state") or {}
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    last = (container.get("lastState") or {}).get("terminated") or {}
    name = container.get("name", "")
    where = f"container {name} of pod {pod}"
    if (reason := waiting.get("reason")) in _NEVER_STARTS:
        remedy = _LOOK
        if "Image" in reason:
            remedy = "check the image's name and that the cluster may pull it"
        return Cause(
            kind=reason,
            words=f"{where}: {reason}: {waiting.get('message', '')}".rstrip(": "),
            remedy=remedy,
            final=True,
        )
    for end in (ended, last):
        if end.get("reason") == "OOMKilled":
            return Cause(
                kind="OOMKilled",
                words=f"{where} was killed for memory",
                remedy="raise memory",
                final=True,
            )
    if reason == "CrashLoopBackOff" or (ended.get("exitCode") and container.get("restartCount")):
        end = ended or last
        words = f"{where} ends again and again with exit code {end.get('exitCode', '?')}"
        if said := _last_words(end.get("message") or log(pod, name)):
            words += f"; its last words: {said}"
        remedy = _LOOK
        if name == STORAGE_INITIALIZER:
            remedy = (
                "KServe could not fetch the model: check the service account's secret, its keys "
                "and its annotation serving.kserve.io/s3-endpoint"
            )
        return Cause(kind="CrashLoopBackOff", words=words, remedy=remedy, final=True)
    return None


def _last_words(message: str) -> str:
    """The end of a log, on one line: what a process says last is what ended it."""
    words = " | ".join(line.strip() for line in message.splitlines() if line.strip())
    return words if len(words) <= _LONGEST_WORDS else "..." + words[-_LONGEST_WORDS:]
