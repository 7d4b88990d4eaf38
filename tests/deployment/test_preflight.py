"""Row 18 of the faults: what is missing is said in seconds, and nothing is changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from tests.api_proxy import ApiProxy
from tests.deployment.site import MANIFESTS, Site, documents, request_of
from tests.kserve_controller import wait_until
from tests.kubernetes_api import KubernetesApi
from yololine.cluster import connect
from yololine.cluster.resources import (
    INFERENCE_SERVICES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVING_RUNTIMES,
)
from yololine.deployment import check, rollback
from yololine.errors import DeploymentError

pytestmark = pytest.mark.server


def faults(site: Site, **changes: Any) -> list[str]:
    request = request_of("v1", **changes)
    found = check(request, cluster=site.cluster, progress=site.said.append)
    return [str(fault) for fault in found]


def test_nothing_is_found_where_manifests_serving_is_applied(site: Site) -> None:
    assert faults(site) == []
    assert faults(site, strategy="shadow") == []
    assert site.cluster.find(INFERENCE_SERVICES) == []


def test_no_serving_runtime(site: Site) -> None:
    site.delete(SERVING_RUNTIMES, "yololine-predictor")
    (fault,) = faults(site)
    assert fault.startswith("ServingRuntime yololine-predictor in namespace tests-")
    assert "is not there, and KServe runs no predictor without it; apply manifests/serving" in fault


def test_a_runtime_that_serves_something_else(site: Site) -> None:
    runtime = documents("serving/runtime.yaml")[0]
    runtime["spec"]["supportedModelFormats"] = [{"name": "sklearn"}]
    site.cluster.apply(SERVING_RUNTIMES, runtime)
    (fault,) = faults(site)
    assert "does not serve the format yololine" in fault


def test_no_service_account(site: Site) -> None:
    (fault,) = faults(site, service_account="nobody")
    assert fault.startswith("ServiceAccount nobody in namespace tests-")
    assert "is missing, and KServe would only log that" in fault


@pytest.mark.parametrize(
    ("secrets", "words"),
    [
        ([], "names no secret, so KServe would fetch the model without credentials"),
        (["gone"], "names the secret gone, which does not exist"),
        (["plain"], "names no secret that says where the store is (plain has no annotation)"),
    ],
)
def test_an_account_without_the_stores_secret(site: Site, secrets: list[str], words: str) -> None:
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "plain"}}
    site.cluster.apply(SECRETS, secret)
    account = documents("serving/store-access.yaml")[0]
    account["secrets"] = [{"name": name} for name in secrets]
    site.delete(SERVICE_ACCOUNTS, account["metadata"]["name"])
    site.cluster.apply(SERVICE_ACCOUNTS, account)
    (fault,) = faults(site)
    assert words in fault


def test_an_account_that_a_cloud_knows_needs_no_secret(site: Site) -> None:
    role = {"eks.amazonaws.com/role-arn": "arn:aws:iam::1:role/models"}
    account = {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": "by-role", "annotations": role},
    }
    site.cluster.apply(SERVICE_ACCOUNTS, account)
    assert faults(site, service_account="by-role") == []


def test_a_secrets_values_are_never_asked_for(
    new_site: Callable[..., Site], proxy: ApiProxy
) -> None:
    site = new_site(server=proxy.url)
    proxy.seen.clear()
    assert faults(site) == []
    found = site.cluster.metadata(SECRETS, "yololine-serving-store")
    assert found is not None
    assert found["kind"] == "PartialObjectMetadata"
    assert not {"data", "stringData"} & set(found)
    asked = [line for line in proxy.seen if "secrets" in line]
    assert asked
    assert not [line for line in asked if not line.endswith("/secrets/yololine-serving-store")]


def test_an_unknown_gpu(site: Site, kubernetes_api: KubernetesApi) -> None:
    kubernetes_api.make_node(gpus=2)
    (fault,) = faults(site, gpu_type="example.com/npu", gpu_count="1")
    assert "are more than any node of this cluster has" in fault
    assert "nvidia.com/gpu (up to " in fault
    assert faults(site, gpu_count="1") == []
    (fault,) = faults(site, gpu_count="64")
    assert fault.startswith("64 nvidia.com/gpu: are more than any node")


def test_a_quota(site: Site) -> None:
    with site.api.api_client() as api:
        core = client.CoreV1Api(api)
        core.create_namespaced_resource_quota(
            site.cluster.namespace,
            {"metadata": {"name": "small"}, "spec": {"hard": {"requests.memory": "3Gi"}}},
        )
        for _ in range(200):
            if core.read_namespaced_resource_quota("small", site.cluster.namespace).status.hard:
                break
    (fault,) = faults(site, replicas_min=4, replicas_max=4)
    assert "ResourceQuota small: allows 3Gi requests.memory, of which 0 are used" in fault
    assert faults(site) == []


def test_what_the_api_server_itself_refuses(site: Site) -> None:
    (fault,) = faults(site, tolerations=[{"effect": 5}])
    assert "is not accepted" in fault
    assert "tolerations[0].effect" in fault


def test_a_namespace_that_is_not_there(site: Site) -> None:
    cluster = connect("nowhere")
    found = check(request_of("v1"), cluster=cluster, progress=site.said.append)
    assert "ServingRuntime yololine-predictor in namespace nowhere: is not there" in str(found[0])


def test_a_namespace_on_its_way_out(site: Site) -> None:
    with site.api.api_client() as api:
        client.CoreV1Api(api).delete_namespace(site.cluster.namespace)
    # What is in it goes some seconds later.
    (fault,) = faults(site)
    assert f"namespace {site.cluster.namespace} because it is being terminated" in fault


def test_the_role_of_manifests_serving_is_enough_and_needed(
    site: Site, kubernetes_api: KubernetesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    namespace = site.cluster.namespace
    with kubernetes_api.api_client() as api:
        core, rbac = client.CoreV1Api(api), client.RbacAuthorizationV1Api(api)
        core.create_namespaced_service_account(namespace, {"metadata": {"name": "pipeline-runner"}})
        file = kubernetes_api.write_kubeconfig(
            tmp_path / "runner",
            token=kubernetes_api.token_of(namespace, "pipeline-runner"),
            namespace=namespace,
        )
        monkeypatch.setenv("KUBECONFIG", str(file))
        site.cluster = connect()
        (fault,) = faults(site)
        assert "does not grant these credentials: get inferenceservices.serving.kserve.io" in fault
        assert "apply manifests/serving there" in fault
        role, binding, _ = documents("serving/deployer.yaml")
        rbac.create_namespaced_role(namespace, role)
        rbac.create_namespaced_role_binding(namespace, binding)
        # The API server learns of it a moment later.
        for _ in range(200):
            if not (found := faults(site)):
                break
    assert found == []
    # What it may not look at is said, and does not stop it.
    assert faults(site, gpu_count="1") == []
    assert "not checked: whether a node has this GPU" in site.said[-1]


def test_the_role_of_manifests_serving_has_what_is_used_and_no_more(
    new_site: Callable[..., Site],
    proxy: ApiProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All that a deployment can come to, with that role alone."""
    site = new_site()
    namespace = site.cluster.namespace
    role, binding, _ = documents("serving/deployer.yaml")
    with site.api.api_client() as api:
        core, rbac = client.CoreV1Api(api), client.RbacAuthorizationV1Api(api)
        core.create_namespaced_service_account(namespace, {"metadata": {"name": "pipeline-runner"}})
        rbac.create_namespaced_role(namespace, role)
        rbac.create_namespaced_role_binding(namespace, binding)
    file = site.api.write_kubeconfig(
        tmp_path / "runner",
        server=proxy.url,
        token=site.api.token_of(namespace, "pipeline-runner"),
        namespace=namespace,
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    site.cluster = connect()
    # The API server learns of the role a moment later.
    wait_until(lambda: faults(site) == [])
    proxy.seen.clear()

    site.deploy(request_of("v1"))
    site.deploy(request_of("v2", strategy="shadow"))
    site.kserve.fates["v3"] = "no-model"
    with pytest.raises(DeploymentError, match="version v2 was restored, and answers"):
        site.deploy(request_of("v3"))
    with pytest.raises(DeploymentError, match="was removed again"):
        site.deploy(request_of("v3", service_name="another"))
    site.kserve.asleep = True
    with pytest.raises(DeploymentError, match="KServe has not taken up"):
        site.deploy(request_of("v1", service_name="third", timeout_seconds=1))
    site.kserve.asleep = False
    site.kserve.fates["v4"] = "by-hand"
    with pytest.raises(DeploymentError, match="0 available"):
        site.deploy(request_of("v4", service_name="fourth", timeout_seconds=1))
    rollback(
        "castings",
        to_version="v1",
        cluster=site.cluster,
        golden=None,
        progress=site.said.append,
        timeout_seconds=20,
    )
    granted = {
        (verb, resource)
        for rule in role["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    used = {found for line in proxy.seen if (found := right_of(line))}
    # An apply is a patch, and where it makes the object a create as well.
    assert ("patch", "inferenceservices") in used
    used.add(("create", "inferenceservices"))
    assert used == granted


def right_of(line: str) -> tuple[str, str] | None:
    """The verb and the resource that a request needs in a namespace; None where it needs none."""
    method, _, path = line.partition(" ")
    path, _, query = path.partition("?")
    parts = path.partition("/namespaces/")[2].split("/")[1:]
    if not parts:
        return None
    resource = "/".join(parts[::2]) if len(parts) == 3 else parts[0]
    verb = {"POST": "create", "PUT": "update"}.get(method, method.lower())
    if method == "GET" and len(parts) == 1:
        verb = "watch" if "watch=1" in query else "list"
    return verb, resource


def test_every_manifest_is_accepted(site: Site) -> None:
    """By the API server, with KServe's own schemas."""
    paths = {
        "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/roles",
        "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{ns}/rolebindings",
        "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "ServingRuntime": "/apis/serving.kserve.io/v1alpha1/namespaces/{ns}/servingruntimes",
        "ServiceAccount": "/api/v1/namespaces/{ns}/serviceaccounts",
        "Secret": "/api/v1/namespaces/{ns}/secrets",
        "ConfigMap": "/api/v1/namespaces/{ns}/configmaps",
        "ResourceQuota": "/api/v1/namespaces/{ns}/resourcequotas",
    }
    files = [
        file
        for folder in ("base", "examples", "serving")
        for file in sorted((MANIFESTS / folder).glob("*.yaml"))
    ]
    sent = 0
    with site.api.api_client() as api:
        for file in files:
            for document in documents(str(file.relative_to(MANIFESTS))):
                if document["kind"] == "Kustomization":
                    continue
                document["metadata"]["name"] += "-again"
                api.call_api(
                    paths[document["kind"]].format(ns=site.cluster.namespace),
                    "POST",
                    # Strict: a field that the schema does not know is an error.
                    query_params=[("dryRun", "All"), ("fieldValidation", "Strict")],
                    header_params={"Content-Type": "application/json"},
                    body=document,
                    auth_settings=["BearerToken"],
                )
                sent += 1
    assert sent == 8
