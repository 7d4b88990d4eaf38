"""A request as the InferenceService that KServe is given."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from yololine.cluster.resources import INFERENCE_SERVICES
from yololine.deployment.request import DeployRequest

RUNTIME = "yololine-predictor"
"""Our ServingRuntime: how the container is started, probed and drained."""
MODEL_FORMAT = "yololine"
DEPLOYMENT_MODE = "serving.kserve.io/deploymentMode"
AUTOSCALER = "serving.kserve.io/autoscalerClass"
STORAGE_URI = "internal.serving.kserve.io/storage-initializer-sourceuri"
"""KServe writes `storageUri` here on the pod template."""
SPEC_DIGEST = "yololine/spec"
"""An annotation of `spec.predictor`, which KServe copies to the pod template: by it alone a
Deployment is known to run exactly this specification. The InferenceService's own
status.observedGeneration is the Deployment's, and says nothing of itself (KServe 0.21)."""
MODEL = "yololine/model"
VERSION = "yololine/version"
LINEAGE_PREFIX = "yololine/"
USER_ID = 1000
DRAIN_SECONDS = 60
"""Of a pod that goes. The predictor answers 5 s more, until nobody sends any, and has 30 s for what
has come in: so no preStop hook."""


def specification(request: DeployRequest) -> dict[str, Any]:
    """The InferenceService of a request, as it is applied."""
    limits = {"cpu": request.cpu, "memory": request.memory}
    if request.gpus:
        limits[request.gpu_type] = request.gpu_count
    predictor: dict[str, Any] = {
        "minReplicas": request.replicas_min,
        "maxReplicas": request.replicas_max,
        "deploymentStrategy": _strategy(request),
        "serviceAccountName": request.service_account,
        # The predictor asks nothing of the cluster.
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": DRAIN_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "model": {
            "modelFormat": {"name": MODEL_FORMAT},
            "runtime": RUNTIME,
            "storageUri": request.storage_uri,
            "image": request.predictor_image,
            "resources": {"requests": limits, "limits": dict(limits)},
        },
    }
    if request.node_selector:
        predictor["nodeSelector"] = dict(request.node_selector)
    if request.tolerations:
        predictor["tolerations"] = [dict(toleration) for toleration in request.tolerations]
    scales = request.replicas_max > request.replicas_min
    return sealed(
        {
            "apiVersion": INFERENCE_SERVICES.api_version,
            "kind": INFERENCE_SERVICES.kind,
            "metadata": {
                "name": request.service_name,
                "labels": {
                    "app.kubernetes.io/part-of": "yololine",
                    MODEL: request.model.name,
                    VERSION: request.model.version,
                },
                "annotations": {
                    # KServe 0.16 and newer; RawDeployment is its old name.
                    DEPLOYMENT_MODE: "Standard",
                    # An autoscaler that may not scale would only bring its delays.
                    AUTOSCALER: "hpa" if scales else "none",
                    "serving.kserve.io/enable-prometheus-scraping": "true",
                    f"{LINEAGE_PREFIX}key": request.model.key,
                    **_lineage(request.lineage),
                },
            },
            "spec": {"predictor": predictor},
        }
    )


def sealed(body: dict[str, Any]) -> dict[str, Any]:
    """The InferenceService with the digest of what its pods are made of.

    The number of pods is left out: to change it, none is restarted.
    """
    predictor = dict(body["spec"]["predictor"])
    annotations = {
        key: value
        for key, value in (predictor.pop("annotations", None) or {}).items()
        if key != SPEC_DIGEST
    }
    made_of = {k: v for k, v in predictor.items() if k not in {"minReplicas", "maxReplicas"}}
    text = json.dumps([made_of, annotations], sort_keys=True, separators=(",", ":"))
    annotations[SPEC_DIGEST] = hashlib.sha256(text.encode()).hexdigest()[:16]
    return {**body, "spec": {"predictor": {**predictor, "annotations": annotations}}}


def named(body: dict[str, Any], name: str) -> dict[str, Any]:
    """The same under another name."""
    return {**body, "metadata": {**body["metadata"], "name": name}}


def with_one_replica(body: dict[str, Any]) -> dict[str, Any]:
    """The same with one pod and no autoscaler."""
    metadata = body["metadata"]
    annotations = {**metadata["annotations"], AUTOSCALER: "none"}
    predictor = {**body["spec"]["predictor"], "minReplicas": 1, "maxReplicas": 1}
    return {
        **body,
        "metadata": {**metadata, "annotations": annotations},
        "spec": {"predictor": predictor},
    }


def is_scaled(service: dict[str, Any]) -> bool:
    """Whether an autoscaler decides how many pods an InferenceService has; KServe's default."""
    return (service["metadata"].get("annotations") or {}).get(AUTOSCALER) != "none"


def least_pods(service: dict[str, Any]) -> int:
    """How many pods an InferenceService has at least; without an autoscaler just as many."""
    return max(1, int(service["spec"]["predictor"].get("minReplicas") or 1))


def digest_of(service: dict[str, Any]) -> str:
    """The digest in an InferenceService; empty where it was not made by this code."""
    annotations = (service.get("spec", {}).get("predictor") or {}).get("annotations") or {}
    return str(annotations.get(SPEC_DIGEST, ""))


def version_of(service: dict[str, Any]) -> str:
    """The version that an InferenceService says it serves; empty where it says none."""
    return str((service["metadata"].get("labels") or {}).get(VERSION, ""))


def storage_uri_of(service: dict[str, Any]) -> str:
    """Where an InferenceService's model lies; empty where it does not say."""
    model = (service.get("spec", {}).get("predictor") or {}).get("model") or {}
    return str(model.get("storageUri", ""))


def _strategy(request: DeployRequest) -> dict[str, Any]:
    # A rolling update with a spare pod waits for a GPU that no node has free until it gives up; so
    # the old pod goes first. Recreate would do as well, but older releases of KServe patch a
    # Deployment in a way that the API server refuses where the type changes.
    rolling = (
        {"maxSurge": 0, "maxUnavailable": 1}
        if request.gpus
        else {"maxSurge": 1, "maxUnavailable": 0}
    )
    return {"type": "RollingUpdate", "rollingUpdate": rolling}


def _lineage(lineage: dict[str, str]) -> dict[str, str]:
    return {
        LINEAGE_PREFIX + re.sub(r"[^A-Za-z0-9.-]+", "-", key).strip("-."): str(value)
        for key, value in lineage.items()
        if value
    }
