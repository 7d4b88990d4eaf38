from __future__ import annotations

from typing import Any

import pytest

from tests.deployment.site import request_of
from yololine.deployment.specification import (
    digest_of,
    named,
    specification,
    storage_uri_of,
    version_of,
    with_one_replica,
)


def predictor_of(**changes: Any) -> dict[str, Any]:
    predictor: dict[str, Any] = specification(request_of("v1", **changes))["spec"]["predictor"]
    return predictor


@pytest.mark.parametrize(
    ("gpus", "rolling"),
    [
        ("0", {"maxSurge": 1, "maxUnavailable": 0}),
        # No second GPU is waited for.
        ("1", {"maxSurge": 0, "maxUnavailable": 1}),
    ],
)
def test_a_full_gpu_cluster_cannot_stall_a_rollout(gpus: str, rolling: dict[str, int]) -> None:
    strategy = predictor_of(gpu_count=gpus)["deploymentStrategy"]
    assert strategy == {"type": "RollingUpdate", "rollingUpdate": rolling}


def test_requests_are_limits() -> None:
    resources = predictor_of(gpu_count="2", gpu_type="amd.com/gpu")["model"]["resources"]
    assert resources["limits"] == {"cpu": "500m", "memory": "1Gi", "amd.com/gpu": "2"}
    assert resources["requests"] == resources["limits"]
    assert "nvidia.com/gpu" not in predictor_of(gpu_count="0")["model"]["resources"]["limits"]


@pytest.mark.parametrize(("most", "scaler"), [(1, "none"), (3, "hpa")])
def test_an_autoscaler_comes_only_where_it_may_scale(most: int, scaler: str) -> None:
    body = specification(request_of("v1", replicas_max=most))
    assert body["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == scaler
    assert body["spec"]["predictor"]["maxReplicas"] == most
    shadow = with_one_replica(named(body, "castings-shadow"))
    assert shadow["metadata"]["annotations"]["serving.kserve.io/autoscalerClass"] == "none"
    assert shadow["spec"]["predictor"]["maxReplicas"] == 1
    assert body["spec"]["predictor"]["maxReplicas"] == most


def test_the_digest_tells_what_pods_are_made_of_and_nothing_else() -> None:
    def digest(version: str = "v1", **changes: Any) -> str:
        return digest_of(specification(request_of(version, **changes)))

    assert digest() == digest(replicas_max=4) == digest(lineage={"run_id": "another"})
    others = [
        digest("v2"),
        digest(cpu="1"),
        digest(predictor_image="yololine/predictor:0.2.0"),
        digest(node_selector={"pool": "gpu"}),
    ]
    assert len({digest(), *others}) == 5


def test_what_it_came_from_stands_on_it() -> None:
    lineage = {"run_id": "r1", "Dataset digest": "abc", "empty": ""}
    body = specification(request_of("v1", lineage=lineage))
    annotations = body["metadata"]["annotations"]
    assert annotations["yololine/run-id"] == "r1"
    assert annotations["yololine/Dataset-digest"] == "abc"
    assert "yololine/empty" not in annotations
    assert body["metadata"]["labels"]["yololine/model"] == "castings"
    assert version_of(body) == "v1"
    assert storage_uri_of(body) == "s3://bucket/line/models/castings/v1"
    assert digest_of({"spec": {}}) == ""
