"""What would stop a deployment, found in seconds, before anything is changed."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from kubernetes.utils import parse_quantity

from yololine.cluster import Cluster, FieldConflict, Refusal, Resource, missing_permissions
from yololine.cluster.resources import (
    DEPLOYMENTS,
    EVENTS,
    INFERENCE_SERVICES,
    LEASES,
    NODES,
    PODS,
    QUOTAS,
    REPLICA_SETS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVING_RUNTIMES,
)
from yololine.deployment.request import SHADOW_SUFFIX, DeployRequest
from yololine.deployment.specification import MODEL_FORMAT, RUNTIME, named, specification
from yololine.errors import DeploymentError, YololineError

WANTED: tuple[tuple[Resource, tuple[str, ...]], ...] = (
    (INFERENCE_SERVICES, ("get", "create", "patch", "delete")),
    (SERVING_RUNTIMES, ("get",)),
    (DEPLOYMENTS, ("get", "watch")),
    (REPLICA_SETS, ("list",)),
    (PODS, ("list",)),
    (EVENTS, ("list",)),
    (LEASES, ("get", "create", "update")),
    (SERVICE_ACCOUNTS, ("get",)),
)
"""What a deployment asks of the API; manifests/serving grants it."""
_S3_ENDPOINT = "serving.kserve.io/s3-endpoint"
_S3_MARKS = (_S3_ENDPOINT, "serving.kserve.io/s3-region", "eks.amazonaws.com/role-arn")
"""Annotations of a service account or its secret: where the store is, or as whom to ask it."""


def check(
    request: DeployRequest, *, cluster: Cluster, progress: Callable[[str], None]
) -> list[YololineError]:
    """Everything that would stop this deployment; nothing is changed.

    What these credentials may not look at (nodes, quotas, secrets) is said to `progress` and not
    checked: the deployment itself does not need it.

    Raises:
        ClusterError: The cluster does not answer.
    """
    if not cluster.serves(INFERENCE_SERVICES) or not cluster.serves(SERVING_RUNTIMES):
        return [
            DeploymentError(
                cluster.server,
                rule="has no KServe: it does not know InferenceService and ServingRuntime",
                remedy="install KServe 0.16 or newer, or name another cluster",
            )
        ]
    if missing := missing_permissions(cluster, WANTED):
        return [
            DeploymentError(
                f"namespace {cluster.namespace}",
                rule=f"does not grant these credentials: {', '.join(missing)}",
                remedy="apply manifests/serving there, or name another namespace",
            )
        ]
    faults = [
        *_runtime_faults(cluster),
        *_account_faults(request, cluster, progress),
        *_gpu_faults(request, cluster, progress),
        *_quota_faults(request, cluster, progress),
    ]
    return faults or _dry_run_faults(request, cluster)


def _runtime_faults(cluster: Cluster) -> list[YololineError]:
    runtime = cluster.get(SERVING_RUNTIMES, RUNTIME)
    formats = {
        known.get("name")
        for known in (runtime or {}).get("spec", {}).get("supportedModelFormats", ())
    }
    if runtime and MODEL_FORMAT in formats and not runtime["spec"].get("disabled"):
        return []
    rule = "is not there, and KServe runs no predictor without it"
    if runtime:
        rule = f"does not serve the format {MODEL_FORMAT}, or is disabled"
    return [
        DeploymentError(
            f"ServingRuntime {RUNTIME} in namespace {cluster.namespace}",
            rule=rule,
            remedy="apply manifests/serving there, or name another namespace",
        )
    ]


def _account_faults(
    request: DeployRequest, cluster: Cluster, progress: Callable[[str], None]
) -> list[YololineError]:
    name = request.service_account
    where = f"ServiceAccount {name} in namespace {cluster.namespace}"
    account = cluster.get(SERVICE_ACCOUNTS, name)
    if account is None:
        return [
            DeploymentError(
                where,
                rule="is missing, and KServe would only log that",
                remedy="create it as manifests/serving does, or name another one",
            )
        ]
    if _marked(account):
        return []
    secrets = [secret["name"] for secret in account.get("secrets") or ()]
    missing = []
    for secret in secrets:
        try:
            # Its metadata alone: no key or value of it reaches this process.
            found = cluster.metadata(SECRETS, secret)
        except Refusal as error:
            if error.status != 403:
                raise
            progress(f"not checked: secret {secret}, which these credentials may not look at")
            return []
        if found is None:
            missing.append(secret)
        elif _marked(found):
            return []
    remedy = f"annotate the secret with {_S3_ENDPOINT}, as manifests/serving does"
    if missing:
        rule = f"names the secret {', '.join(missing)}, which does not exist"
        remedy = "create the secret as manifests/serving does"
    elif secrets:
        rule = (
            f"names no secret that says where the store is ({', '.join(secrets)} has no annotation)"
        )
    else:
        rule = "names no secret, so KServe would fetch the model without credentials"
        remedy = "list the store's secret under `secrets` of the account, as manifests/serving does"
    return [DeploymentError(where, rule=rule, remedy=remedy)]


def _marked(thing: dict[str, Any]) -> bool:
    annotations = thing["metadata"].get("annotations") or {}
    return any(annotations.get(mark) for mark in _S3_MARKS)


def _gpu_faults(
    request: DeployRequest, cluster: Cluster, progress: Callable[[str], None]
) -> list[YololineError]:
    if not request.gpus:
        return []
    try:
        nodes = cluster.find(NODES)
    except Refusal as error:
        if error.status != 403:
            raise
        progress(
            "not checked: whether a node has this GPU, as these credentials may not list nodes"
        )
        return []
    most: dict[str, int] = {}
    for node in nodes:
        for kind, count in ((node.get("status") or {}).get("allocatable") or {}).items():
            # Accelerators have a vendor's prefix; hugepages-2Mi and the like have none.
            if "/" in kind and count.isdigit() and int(count):
                most[kind] = max(most.get(kind, 0), int(count))
    if most.get(request.gpu_type, 0) >= request.gpus:
        return []
    known = ", ".join(f"{kind} (up to {count})" for kind, count in sorted(most.items())) or "none"
    return [
        DeploymentError(
            f"{request.gpu_count} {request.gpu_type}",
            rule=f"are more than any node of this cluster has; its nodes have: {known}",
            remedy='name one of these as gpu_type, ask for fewer, or serve with gpu_count="0"',
        )
    ]


def _quota_faults(
    request: DeployRequest, cluster: Cluster, progress: Callable[[str], None]
) -> list[YololineError]:
    try:
        quotas = cluster.find(QUOTAS)
    except Refusal as error:
        if error.status != 403:
            raise
        progress("not checked: quotas, which these credentials may not list")
        return []
    pods = _more_pods(request, cluster)
    each = {
        "pods": Decimal(1),
        "cpu": parse_quantity(request.cpu),
        "memory": parse_quantity(request.memory),
        request.gpu_type: Decimal(request.gpus),
    }
    faults: list[YololineError] = []
    for quota in quotas:
        status = quota.get("status") or {}
        for kind, hard in (status.get("hard") or {}).items():
            needed = pods * each.get(
                kind.removeprefix("requests.").removeprefix("limits."), Decimal(0)
            )
            used = parse_quantity((status.get("used") or {}).get(kind, "0"))
            if needed and used + needed > parse_quantity(hard):
                faults.append(
                    DeploymentError(
                        f"ResourceQuota {quota['metadata']['name']}",
                        rule=f"allows {hard} {kind}, of which {used.normalize():f} are used, and "
                        f"this deployment needs {needed.normalize():f} more",
                        remedy="free some, have the quota raised, or ask for less",
                    )
                )
    return faults


def _more_pods(request: DeployRequest, cluster: Cluster) -> int:
    """Pods beside those that run now, at the most at one moment of the rollout."""
    if request.strategy == "shadow":
        return 1
    live = cluster.get(DEPLOYMENTS, f"{request.service_name}-predictor")
    running = int((live or {}).get("status", {}).get("replicas") or 0)
    spare = 0 if request.gpus else 1
    return max(0, request.replicas_min - running) + (spare if running else 0)


def _dry_run_faults(request: DeployRequest, cluster: Cluster) -> list[YololineError]:
    """What the API server itself says: schema, admission, namespace, fields of somebody else's."""
    bodies = [specification(request)]
    if request.strategy == "shadow":
        bodies.append(named(bodies[0], request.service_name + SHADOW_SUFFIX))
    faults: list[YololineError] = []
    for body in bodies:
        try:
            cluster.apply(INFERENCE_SERVICES, body, dry_run=True)
        except FieldConflict as error:
            faults.append(conflict(body["metadata"]["name"], error))
        except Refusal as error:
            if not error.for_good and (error.status == 409 or error.status >= 500):
                raise
            faults.append(
                DeploymentError(
                    f"InferenceService {body['metadata']['name']}",
                    rule=f"is not accepted: {error.message}",
                    remedy="mend what the message names",
                )
            )
    return faults


class FieldsTaken(DeploymentError):
    """Fields of the InferenceService are managed by somebody else, who gave them other values."""


def conflict(service_name: str, error: FieldConflict) -> FieldsTaken:
    """Who manages what, in words."""
    return FieldsTaken(
        f"InferenceService {service_name}",
        rule=f"has fields that somebody else set to other values, and they are not taken by force: "
        f"{error.who}",
        remedy="agree with whoever manages them: they give a field up by removing it from what "
        "they apply; deleting the service frees all of them",
    )
