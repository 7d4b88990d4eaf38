"""What a rollout meets between the apply and its end, on a real API server."""

from __future__ import annotations

from typing import Any

import pytest
from kubernetes import client

from tests.deployment.site import Site, request_of
from tests.kserve_controller import wait_until
from tests.kubelet import FATE
from yololine.cluster.resources import DEPLOYMENTS, INFERENCE_SERVICES, PODS
from yololine.deployment import DeployOutcome
from yololine.errors import DeploymentError

pytestmark = pytest.mark.server

NAME = "castings-predictor"
FAILED_LOAD = {
    "modelStatus": {
        "transitionStatus": "BlockedByFailedLoad",
        "lastFailureInfo": {"reason": "ModelLoadFailed", "message": "exit code 1"},
    }
}


def scale(site: Site, pods: int) -> None:
    """Change the Deployment's size, as a HorizontalPodAutoscaler does."""
    with site.api.api_client() as api:
        client.AppsV1Api(api).patch_namespaced_deployment_scale(
            NAME, site.cluster.namespace, {"spec": {"replicas": pods}}
        )


def size(site: Site) -> int:
    deployment = site.cluster.get(DEPLOYMENTS, NAME)
    return int(deployment["spec"]["replicas"]) if deployment else 0


def versions(site: Site) -> list[str]:
    """Of the pods that are not going."""
    return sorted(
        pod["metadata"]["labels"]["yololine/version"]
        for pod in site.cluster.find(PODS)
        if not pod["metadata"].get("deletionTimestamp")
    )


def autoscalers(site: Site) -> list[Any]:
    with site.api.api_client() as api:
        scalers = client.AutoscalingV2Api(api)
        found = scalers.list_namespaced_horizontal_pod_autoscaler(site.cluster.namespace)
    return list(found.items)


def test_an_autoscaler_comes_where_pods_may_be_more_and_goes_where_not(site: Site) -> None:
    site.deploy(request_of("v1", replicas_max=3))
    (scaler,) = wait_until(lambda: autoscalers(site))
    spec = scaler.spec
    assert (spec.min_replicas, spec.max_replicas) == (1, 3)
    assert (spec.scale_target_ref.kind, spec.scale_target_ref.name) == ("Deployment", NAME)
    (metric,) = spec.metrics
    assert metric.resource.name == "cpu"
    assert metric.resource.target.average_utilization == 80
    # It is a share of what a pod asks for: so the pods must ask for cores.
    (pod,) = site.cluster.find(PODS)
    assert pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "500m"
    scale(site, 3)
    wait_until(lambda: versions(site) == ["v1"] * 3)
    site.deploy(request_of("v1", replicas_min=2, replicas_max=2))
    assert autoscalers(site) == []
    assert size(site) == 2


def test_a_rollout_is_followed_while_an_autoscaler_changes_its_mind(site: Site) -> None:
    site.deploy(request_of("v1", replicas_max=4))
    scale(site, 3)
    wait_until(lambda: versions(site) == ["v1"] * 3)
    site.kserve.asleep = True
    with site.deploying(request_of("v2", replicas_max=4)) as ended:
        wait_until(lambda: site.labelled() == "v2")
        scale(site, 4)
        site.kserve.asleep = False
        wait_until(lambda: "v2" in versions(site))
        scale(site, 2)
    (outcome,) = ended
    assert isinstance(outcome, DeployOutcome), outcome
    # KServe gave its size to nobody, and every pod is a new one.
    assert size(site) == 2
    assert versions(site) == ["v2"] * 2


def test_pods_that_only_an_autoscaler_wants_are_not_waited_for(site: Site) -> None:
    node = site.api.make_node()
    with site.api.api_client() as api:
        client.CoreV1Api(api).patch_node(node, {"metadata": {"labels": {"pool": node}}})
    # 64 cores has a node.
    wide = {"cpu": "40", "replicas_max": 4, "node_selector": {"pool": node}}
    site.deploy(request_of("v1", **wide))
    scale(site, 3)
    wait_until(lambda: len(versions(site)) == 3)
    again = site.deploy(request_of("v1", timeout_seconds=2, **wide))
    assert again.version == "v1"


def test_the_least_pods_are_waited_for_and_what_keeps_them_away_is_told(site: Site) -> None:
    site.deploy(request_of("v1"))
    site.kserve.asleep = True
    words = "the Deployment castings-predictor has 1 pods, not 2, and KServe has not changed that"
    with pytest.raises(DeploymentError, match=words) as raised:
        site.deploy(request_of("v1", replicas_min=2, replicas_max=2, timeout_seconds=1))
    assert "version v1 was restored, and answers" in str(raised.value)
    service = site.cluster.get(INFERENCE_SERVICES, "castings")
    assert service is not None
    assert service["spec"]["predictor"]["minReplicas"] == 1
    site.kserve.asleep = False
    # Nobody scales here: the controller of autoscalers is not there.
    words = "has 1 pods, not 2, and its HorizontalPodAutoscaler has not changed that"
    with pytest.raises(DeploymentError, match=words):
        site.deploy(request_of("v1", replicas_min=2, replicas_max=3, timeout_seconds=1))
    site.deploy(request_of("v1", replicas_min=2, replicas_max=2))
    assert versions(site) == ["v1", "v1"]


@pytest.mark.parametrize("held", [False, True], ids=["at once", "with a finalizer"])
def test_row_23_a_service_that_somebody_deletes_in_mid_rollout_is_not_made_again(
    site: Site, held: bool
) -> None:
    site.deploy(request_of("v1"))
    if held:
        site.edit("a-controller", {"metadata": {"finalizers": ["tests.yololine/held"]}})
    site.kserve.asleep = True
    with site.deploying(request_of("v2")) as ended:
        wait_until(lambda: site.labelled() == "v2")
        site.cluster.delete(INFERENCE_SERVICES, "castings")
    (error,) = ended
    assert "was deleted by somebody else while it was rolled out" in str(error)
    assert "nothing was restored" in str(error)
    site.kserve.asleep = False
    # What is applied to one on its way out would go with it.
    with site.deploying(request_of("v3")) as ended:
        if held:
            wait_until(
                lambda: "waiting for castings to be gone, which somebody deleted" in site.said
            )
            site.edit("a-controller", {"metadata": {"finalizers": None}})
    (outcome,) = ended
    assert isinstance(outcome, DeployOutcome), outcome
    assert (outcome.version, outcome.previous_version) == ("v3", None)


def test_what_kserve_said_of_the_version_before_is_not_believed(site: Site) -> None:
    site.kserve.says = FAILED_LOAD
    site.kserve.asleep = True
    with site.deploying(request_of("v1")) as ended:
        wait_until(lambda: site.labelled() == "v1")
        # Of a Deployment that is not there yet KServe speaks first of all.
        site.edit("kserve", {"metadata": {"annotations": {"a": "b"}}})
        say(site, FAILED_LOAD)
        wait_until(lambda: any("KServe says BlockedByFailedLoad" in words for words in site.said))
        site.kserve.asleep = False
    assert [outcome.version for outcome in ended if isinstance(outcome, DeployOutcome)] == ["v1"]


def test_what_kserve_goes_on_saying_is(site: Site) -> None:
    site.kserve.asleep = True
    with site.deploying(request_of("v1")) as ended:
        wait_until(lambda: site.labelled() == "v1")
        say(site, FAILED_LOAD)
    (error,) = ended
    assert "KServe says BlockedByFailedLoad (ModelLoadFailed: exit code 1)" in str(error)


def test_a_specification_that_kserve_cannot_act_on_is_told_in_its_words(site: Site) -> None:
    site.kserve.asleep = True
    failed = {"type": "PredictorReady", "status": "False", "reason": "ReconcileFailed"}
    with site.deploying(request_of("v1")) as ended:
        wait_until(lambda: site.labelled() == "v1")
        say(site, {"conditions": [{**failed, "message": "fails to create HTTPRoute"}]})
    (error,) = ended
    assert "KServe cannot act on it: fails to create HTTPRoute" in str(error)


def say(site: Site, status: dict[str, Any]) -> None:
    """Say it in the controller's place."""
    with site.api.api_client() as api:
        client.CustomObjectsApi(api).patch_namespaced_custom_object_status(
            "serving.kserve.io",
            "v1beta1",
            site.cluster.namespace,
            "inferenceservices",
            "castings",
            {"status": status},
        )


@pytest.mark.parametrize("counted", ["count/pods", "count/replicasets.apps"])
def test_a_quota_that_preflight_cannot_foresee_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch, counted: str
) -> None:
    monkeypatch.setattr("yololine.deployment.rollout.QUOTA_SECONDS", 0.5)
    with site.api.api_client() as api:
        core = client.CoreV1Api(api)
        core.create_namespaced_resource_quota(
            site.cluster.namespace, {"metadata": {"name": "none"}, "spec": {"hard": {counted: "0"}}}
        )
        wait_until(
            lambda: core.read_namespaced_resource_quota("none", site.cluster.namespace).status.hard
        )
    with pytest.raises(DeploymentError, match="exceeded quota: none") as raised:
        site.deploy(request_of("v1"))
    assert "free some of the quota, have it raised, or ask for less" in str(raised.value)
    assert "after 20 s" not in str(raised.value)


def test_a_pod_that_never_gets_ready_is_told_by_its_last_probe(site: Site) -> None:
    site.kserve.fates["v1"] = "by-hand"
    with site.deploying(request_of("v1", timeout_seconds=3)) as ended:
        (pod,) = wait_until(lambda: site.cluster.find(PODS))
        assert pod["metadata"]["annotations"][FATE] == "by-hand"
        name = pod["metadata"]["name"]
        with site.api.api_client() as api:
            client.CoreV1Api(api).create_namespaced_event(
                site.cluster.namespace,
                {
                    "metadata": {"name": "probe"},
                    "involvedObject": {
                        "kind": "Pod",
                        "name": name,
                        "namespace": site.cluster.namespace,
                    },
                    "reason": "Unhealthy",
                    "message": "Startup probe failed: HTTP probe failed with statuscode: 503",
                    "type": "Warning",
                },
            )
    (error,) = ended
    assert "does not come up after 3 s: 1 of 1 pods are new, 0 available" in str(error)
    assert "last probe: Startup probe failed: HTTP probe failed with statuscode: 503" in str(error)
