"""The API that other tests talk to: that it is the real thing where they rely on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException

from tests.kubelet import FATE, FATES, LAST_WORDS
from tests.kubernetes_api import KubernetesApi

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def api(kubernetes_api: KubernetesApi) -> Iterator[client.ApiClient]:
    with kubernetes_api.api_client() as api:
        yield api


@pytest.fixture(scope="module")
def namespace(kubernetes_api: KubernetesApi) -> str:
    return kubernetes_api.make_namespace()


def until(ask: Callable[[], Any]) -> Any:
    """The first answer that is one; a test that never gets it would say nothing else."""
    for _ in range(600):
        if answer := ask():
            return answer
        time.sleep(0.05)
    raise TimeoutError


def deployment(
    name: str, *, gpus: int = 0, fate: str | None = None, replicas: int = 2
) -> dict[str, Any]:
    container: dict[str, Any] = {"name": "main", "image": "example.com/predictor:1"}
    if gpus:
        container["resources"] = {"limits": {"nvidia.com/gpu": gpus}}
    return {
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {
                    "labels": {"app": name},
                    "annotations": {FATE: fate} if fate else {},
                },
                "spec": {
                    "initContainers": [{"name": "fetch", "image": "example.com/fetch:1"}],
                    "containers": [container],
                },
            },
        },
    }


def pods(api: client.ApiClient, namespace: str, name: str) -> list[client.V1Pod]:
    found = client.CoreV1Api(api).list_namespaced_pod(namespace, label_selector=f"app={name}")
    return list(found.items)


def test_deployment_rolls_out(api: client.ApiClient, namespace: str) -> None:
    apps = client.AppsV1Api(api)
    apps.create_namespaced_deployment(namespace, deployment("web"))

    def rolled_out() -> bool:
        found = apps.read_namespaced_deployment("web", namespace)
        status = found.status
        return (
            status.observed_generation == found.metadata.generation
            and status.updated_replicas == status.available_replicas == status.replicas == 2
        )

    until(rolled_out)
    first = {pod.metadata.name for pod in pods(api, namespace, "web")}
    apps.patch_namespaced_deployment(
        "web", namespace, {"spec": {"template": {"metadata": {"labels": {"release": "2"}}}}}
    )
    until(lambda: rolled_out() and len(pods(api, namespace, "web")) == 2)
    assert not first & {pod.metadata.name for pod in pods(api, namespace, "web")}
    # What is owned goes with its owner.
    apps.delete_namespaced_deployment("web", namespace)
    until(lambda: not pods(api, namespace, "web"))


@pytest.mark.parametrize("fate", FATES)
def test_pods_fail_as_asked(api: client.ApiClient, namespace: str, fate: str) -> None:
    client.AppsV1Api(api).create_namespaced_deployment(
        namespace, deployment(fate, fate=fate, replicas=1)
    )
    (pod,) = until(lambda: [p for p in pods(api, namespace, fate) if p.status.start_time])
    statuses = pod.status.init_container_statuses if fate == "no-model" else None
    (container,) = statuses or pod.status.container_statuses
    waits = "ImagePullBackOff" if fate == "no-image" else "CrashLoopBackOff"
    assert container.state.waiting.reason == waits
    if fate == "out-of-memory":
        assert container.last_state.terminated.reason == "OOMKilled"
        assert container.last_state.terminated.exit_code == 137
    assert {condition.type: condition.status for condition in pod.status.conditions}["Ready"] == (
        "False"
    )
    reason = FATES[fate][1]["reason"]
    field = f"involvedObject.name={pod.metadata.name},reason={reason}"
    core = client.CoreV1Api(api)
    until(lambda: core.list_namespaced_event(namespace, field_selector=field).items)
    assert (
        not client.AppsV1Api(api)
        .read_namespaced_deployment(fate, namespace)
        .status.available_replicas
    )


def test_log_of_the_container_before_this_one(api: client.ApiClient, namespace: str) -> None:
    client.AppsV1Api(api).create_namespaced_deployment(
        namespace, deployment("logging", fate="crashes", replicas=1)
    )
    (pod,) = until(lambda: [p for p in pods(api, namespace, "logging") if p.status.start_time])
    core = client.CoreV1Api(api)
    for previous in (False, True):
        log = core.read_namespaced_pod_log(
            pod.metadata.name, namespace, container="main", previous=previous
        )
        assert log == LAST_WORDS


def test_test_may_write_the_status_itself(api: client.ApiClient, namespace: str) -> None:
    client.AppsV1Api(api).create_namespaced_deployment(
        namespace, deployment("mine", fate="by-hand", replicas=1)
    )
    (pod,) = until(lambda: [p for p in pods(api, namespace, "mine") if p.spec.node_name])
    core = client.CoreV1Api(api)
    core.patch_namespaced_pod_status(
        pod.metadata.name, namespace, {"status": {"phase": "Failed", "reason": "Evicted"}}
    )
    assert core.read_namespaced_pod(pod.metadata.name, namespace).status.reason == "Evicted"


def test_scheduler_says_why_there_is_no_place(
    kubernetes_api: KubernetesApi, api: client.ApiClient, namespace: str
) -> None:
    node = kubernetes_api.make_node(gpus=1)
    wanted = deployment("gpu", gpus=1)
    wanted["spec"]["template"]["spec"] |= {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
    }
    client.AppsV1Api(api).create_namespaced_deployment(namespace, wanted)

    def conditions() -> list[client.V1PodCondition]:
        return [
            condition
            for pod in pods(api, namespace, "gpu")
            for condition in pod.status.conditions or ()
            if condition.type == "PodScheduled"
        ]

    until(lambda: sorted(each.status for each in conditions()) == ["False", "True"])
    (refused,) = (each for each in conditions() if each.status == "False")
    assert refused.reason == "Unschedulable"
    assert "1 Insufficient nvidia.com/gpu" in refused.message


def test_someone_elses_field_is_a_conflict(api: client.ApiClient, namespace: str) -> None:
    """On KServe's own kind, by server-side apply."""
    custom = client.CustomObjectsApi(api)
    kind = ("serving.kserve.io", "v1beta1", namespace, "inferenceservices")

    def apply(manager: str, replicas: int) -> None:
        path = "/apis/{}/{}/namespaces/{}/{}/part".format(*kind)
        api.call_api(
            path,
            "PATCH",
            query_params=[("fieldManager", manager)],
            header_params={
                "Content-Type": "application/apply-patch+yaml",
                "Accept": "application/json",
            },
            body={
                "apiVersion": "serving.kserve.io/v1beta1",
                "kind": "InferenceService",
                "metadata": {"name": "part"},
                "spec": {
                    "predictor": {
                        "minReplicas": replicas,
                        "model": {"modelFormat": {"name": "yololine"}, "storageUri": "s3://b/p"},
                    }
                },
            },
            auth_settings=["BearerToken"],
        )

    apply("yololine", 1)
    with pytest.raises(ApiException) as refused:
        apply("someone", 2)
    assert refused.value.status == 409
    assert ".spec.predictor.minReplicas" in refused.value.body
    assert (
        custom.get_namespaced_custom_object(*kind, "part")["spec"]["predictor"]["minReplicas"] == 1
    )


def test_unknown_field_of_kserve_is_refused(api: client.ApiClient, namespace: str) -> None:
    with pytest.raises(ApiException) as refused:
        client.CustomObjectsApi(api).create_namespaced_custom_object(
            "serving.kserve.io",
            "v1beta1",
            namespace,
            "inferenceservices",
            {
                "apiVersion": "serving.kserve.io/v1beta1",
                "kind": "InferenceService",
                "metadata": {"name": "wrong"},
                "spec": {"predictor": {"minReplicas": "two"}},
            },
        )
    assert refused.value.status == 422


def test_restricted_namespace_refuses_root(
    kubernetes_api: KubernetesApi, api: client.ApiClient
) -> None:
    namespace = kubernetes_api.make_namespace({"pod-security.kubernetes.io/enforce": "restricted"})
    with pytest.raises(ApiException) as refused:
        client.CoreV1Api(api).create_namespaced_pod(
            namespace,
            {"metadata": {"name": "root"}, "spec": {"containers": [{"name": "a", "image": "b:1"}]}},
        )
    assert refused.value.status == 403
    assert "violates PodSecurity" in refused.value.body


def test_service_account_may_do_nothing_that_was_not_given(
    kubernetes_api: KubernetesApi, namespace: str, tmp_path: Path
) -> None:
    kubeconfig = kubernetes_api.write_kubeconfig(
        tmp_path / "kubeconfig",
        token=kubernetes_api.token_of(namespace, "default"),
        namespace=namespace,
    )
    with (
        config.new_client_from_config(str(kubeconfig)) as api,
        pytest.raises(ApiException) as refused,
    ):
        client.CoreV1Api(api).list_namespaced_pod(namespace)
    assert refused.value.status == 403


def test_api_server_comes_back_with_what_it_knew(
    kubernetes_api: KubernetesApi, api: client.ApiClient, namespace: str
) -> None:
    core = client.CoreV1Api(api)
    core.create_namespaced_config_map(namespace, {"metadata": {"name": "kept"}})
    kubernetes_api.stop_api_server()
    kubernetes_api.start_api_server()
    assert core.read_namespaced_config_map("kept", namespace)
