"""Back to a version that was live before, or to any registered one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from yololine.cluster import Cluster
from yololine.cluster.resources import INFERENCE_SERVICES
from yololine.deployment.deploying import outcome, replace
from yololine.deployment.ledger import holding, read_history
from yololine.deployment.live import Stage, before, is_going, target
from yololine.deployment.request import DeployOutcome, check_service_name
from yololine.deployment.specification import (
    MODEL,
    VERSION,
    digest_of,
    sealed,
    storage_uri_of,
    version_of,
)
from yololine.errors import DeploymentError
from yololine.evaluation.golden import Golden


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a rollback goes back to.

    Attributes:
        model: The model's name in the registry.
        version: Of it.
        storage_uri: Where it lies.
        body: The InferenceService to apply.
    """

    model: str
    version: str
    storage_uri: str
    body: dict[str, Any]


def rollback_target(service_name: str, *, to_version: str | None, cluster: Cluster) -> Target:
    """Where `rollback` would go; nothing is changed.

    Args:
        service_name: Of the InferenceService.
        to_version: None for the last good one before the live one. One that was never deployed to
            this service gets the live one's specification, and the folder beside its own.
        cluster: And namespace.

    Raises:
        DeploymentError: There is no such service, or nothing to go back to.
    """
    check_service_name(service_name)
    standing = cluster.get(INFERENCE_SERVICES, service_name)
    if standing is None or is_going(standing):
        raise DeploymentError(
            f"InferenceService {service_name} in namespace {cluster.namespace}",
            rule="does not exist: nothing was deployed under this name",
            remedy="name a service that does, or deploy a version",
        )
    history = read_history(cluster, service_name)
    entry = target(history, digest_of(standing), to_version)
    if entry is None and not to_version:
        raise DeploymentError(
            f"InferenceService {service_name}",
            rule="has no version to go back to: no other than "
            f"{version_of(standing) or 'the live one'} was ever good",
            remedy="name a registered version",
        )
    body = entry.body if entry else _moved(history[-1].body if history else standing, to_version)
    return Target(
        model=str((body["metadata"].get("labels") or {}).get(MODEL, "")),
        version=version_of(body),
        storage_uri=storage_uri_of(body),
        body=body,
    )


def rollback(
    service_name: str,
    *,
    to_version: str | None,
    cluster: Cluster,
    golden: Golden | None,
    progress: Callable[[str], None],
    timeout_seconds: float = 600,
    who: str = "",
) -> DeployOutcome:
    """Make an earlier version live again, as carefully as a new one.

    Args:
        service_name: Of the InferenceService.
        to_version: As `rollback_target` has it.
        cluster: And namespace.
        golden: Of the version that `rollback_target` names.
        progress: Called with a sentence as things go on.
        timeout_seconds: For the pods to be up and answering; going back again has as long.
        who: For somebody who finds the service locked, such as the run's id.

    Raises:
        DeploymentError: It failed, or somebody else deploys this service now; the message says what
            answers now.
        ClusterError: The cluster does not answer.
    """
    started = time.monotonic()
    with holding(cluster, check_service_name(service_name), who=who) as ledger:
        found = rollback_target(service_name, to_version=to_version, cluster=cluster)
        stage = Stage(
            cluster=cluster,
            progress=progress,
            check=ledger.check,
            timeout_seconds=timeout_seconds,
        )
        previous = before(ledger, cluster.get(INFERENCE_SERVICES, service_name), found.body)
        live = replace(stage, ledger, body=found.body, previous=previous, golden=golden)
    return outcome(live, cluster, previous=previous, started=started)


def _moved(body: dict[str, Any], version: str | None) -> dict[str, Any]:
    """The same specification with another version of the same model."""
    uri, now = storage_uri_of(body), version_of(body)
    name = body["metadata"]["name"]
    if not version or not now or not uri.endswith(f"/{now}"):
        raise DeploymentError(
            f"InferenceService {name}",
            rule="was not deployed by yololine, so where its versions lie is not known",
            remedy="deploy the version",
        )
    predictor = body["spec"]["predictor"]
    model = {**predictor["model"], "storageUri": uri.removesuffix(now) + version}
    metadata = body["metadata"]
    labels = {**metadata["labels"], VERSION: version}
    return sealed(
        {
            "apiVersion": body["apiVersion"],
            "kind": body["kind"],
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": metadata.get("annotations") or {},
            },
            "spec": {"predictor": {**predictor, "model": model}},
        }
    )
