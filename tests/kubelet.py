"""What kwok says of nodes and pods in a kubelet's place, and when."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

FATE = "tests.yololine/fate"
"""A pod's annotation: one of `FATES`, or `by-hand`, where a test writes the pod's status itself.
Without it the pod is ready as soon as it has a node. Deleting one ends it at once."""
LAST_WORDS = "RegistryError: model.onnx: does not have the sha256 that manifest.json says\n"
"""The log of every pod's container, and of the one before it."""


def _pod(*, phase: str, initialized: bool = True, ready: bool = False) -> str:
    return f"""
{{{{ $now := Now }}}}
{{{{ $node := .spec.nodeName }}}}
phase: {phase}
startTime: {{{{ $now | Quote }}}}
hostIP: {{{{ NodeIPWith $node | Quote }}}}
{{{{ with .metadata }}}}
podIP: {{{{ PodIPWith $node false .uid .name .namespace | Quote }}}}
{{{{ end }}}}
conditions:
- {{type: Initialized, status: "{initialized}", lastTransitionTime: {{{{ $now | Quote }}}}}}
- {{type: ContainersReady, status: "{ready}", lastTransitionTime: {{{{ $now | Quote }}}}}}
- {{type: Ready, status: "{ready}", lastTransitionTime: {{{{ $now | Quote }}}}}}
"""


def _containers(
    field: str, state: str, *, ready: bool = False, restarts: int = 0, last: str = "{}"
) -> str:
    """The state of each container in a field of the pod: `containers` or `initContainers`."""
    return f"""
{field.removesuffix("s")}Statuses:
{{{{ range .spec.{field} }}}}
- name: {{{{ .name | Quote }}}}
  image: {{{{ .image | Quote }}}}
  imageID: ""
  ready: {str(ready).lower()}
  restartCount: {restarts}
  state: {state}
  lastState: {last}
{{{{ end }}}}
"""


def _waits(reason: str, message: str) -> str:
    return f"{{waiting: {{reason: {reason}, message: {json.dumps(message)}}}}}"


def _ended(exit_code: int, reason: str) -> str:
    times = "startedAt: {{ $now | Quote }}, finishedAt: {{ $now | Quote }}"
    return f"{{terminated: {{exitCode: {exit_code}, reason: {reason}, {times}}}}}"


_RUNS = "{running: {startedAt: {{ $now | Quote }}}}"
_FAILS_AGAIN = _waits("CrashLoopBackOff", "back-off 40s restarting failed container")
_INITIALIZED = _pod(phase="Running") + _containers(
    "initContainers", _ended(0, "Completed"), ready=True
)

FATES = {
    "crashes": (
        _INITIALIZED + _containers("containers", _FAILS_AGAIN, restarts=3, last=_ended(1, "Error")),
        {"reason": "BackOff", "message": "Back-off restarting failed container"},
    ),
    "out-of-memory": (
        _INITIALIZED
        + _containers("containers", _FAILS_AGAIN, restarts=3, last=_ended(137, "OOMKilled")),
        {"reason": "BackOff", "message": "Back-off restarting failed container"},
    ),
    "no-image": (
        _INITIALIZED.replace("Running", "Pending")
        + _containers(
            "containers",
            _waits("ImagePullBackOff", "Back-off pulling image: ErrImagePull: not found"),
        ),
        {"reason": "Failed", "message": "Error: ImagePullBackOff"},
    ),
    # Its init container fails, which fetches the model.
    "no-model": (
        _pod(phase="Pending", initialized=False)
        + _containers("initContainers", _FAILS_AGAIN, restarts=3, last=_ended(1, "Error"))
        + _containers("containers", _waits("PodInitializing", "")),
        {"reason": "BackOff", "message": "Back-off restarting failed container"},
    ),
}
"""Each one's status, and the event that tells it."""

_READY = (
    _pod(phase="Running", ready=True)
    + _containers("initContainers", _ended(0, "Completed"), ready=True)
    + _containers("containers", _RUNS, ready=True)
)
_NODE = """
{{ $now := Now }}
addresses:
- {type: InternalIP, address: {{ NodeIP | Quote }}}
- {type: Hostname, address: {{ NodeName | Quote }}}
daemonEndpoints: {kubeletEndpoint: {Port: {{ NodePort }}}}
conditions:
- type: Ready
  status: "True"
  reason: KubeletReady
  message: kubelet is posting ready status
  lastHeartbeatTime: {{ $now | Quote }}
  lastTransitionTime: {{ $now | Quote }}
"""
_FATE = f'.metadata.annotations["{FATE}"]'
_DELETED = ".metadata.deletionTimestamp"
_NEW_POD = [
    {"key": _DELETED, "operator": "DoesNotExist"},
    {"key": ".status.startTime", "operator": "DoesNotExist"},
]


def write_log(file: Path) -> None:
    """Write `LAST_WORDS` as container runtimes keep logs."""
    file.write_text(f"2026-01-01T00:00:00.000000000Z stderr F {LAST_WORDS}", encoding="utf-8")


def configuration(log: Path) -> str:
    """Return the configuration of kwok.

    Args:
        log: The file that holds every container's log.
    """
    new_node = [{"key": ".status.addresses", "operator": "DoesNotExist"}]
    no_fate = {"key": _FATE, "operator": "DoesNotExist"}
    deleted = [{"key": _DELETED, "operator": "Exists"}]
    documents = [
        _stage("Node", "node-ready", new_node, {"statusTemplate": _NODE}),
        _stage("Pod", "pod-ready", [*_NEW_POD, no_fate], {"statusTemplate": _READY}),
        _stage("Pod", "pod-deleted", deleted, {"delete": True}),
    ]
    for fate, (status, event) in FATES.items():
        rule = {"key": _FATE, "operator": "In", "values": [fate]}
        step = {"statusTemplate": status, "event": {"type": "Warning", **event}}
        documents.append(_stage("Pod", f"pod-{fate}", [*_NEW_POD, rule], step))
    source = {"logsFile": str(log), "previousLogsFile": str(log), "follow": False}
    logs = {"kind": "ClusterLogs", "metadata": {"name": "logs"}, "spec": {"logs": [source]}}
    return yaml.safe_dump_all(
        [{"apiVersion": "kwok.x-k8s.io/v1alpha1", **document} for document in (logs, *documents)]
    )


def _stage(
    kind: str, name: str, rules: list[dict[str, Any]], step: dict[str, Any]
) -> dict[str, Any]:
    """A step that an object takes where every rule holds."""
    return {
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": rules},
            "next": step,
        },
    }
