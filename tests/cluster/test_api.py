"""The façade on a real API server, and before it a proxy that fails."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from tests.api_proxy import CUT, EMPTY, GONE, ApiProxy
from tests.kserve_controller import wait_until
from tests.kubernetes_api import KubernetesApi
from yololine.cluster import Cluster, Conflict, FieldConflict, Refusal, connect, missing_permissions
from yololine.cluster.resources import LEASES, NODES, PODS, SECRETS

pytestmark = pytest.mark.server


@pytest.fixture
def proxy(kubernetes_api: KubernetesApi) -> Iterator[ApiProxy]:
    made = ApiProxy(kubernetes_api.url, str(kubernetes_api.folder / "server.crt"))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def cluster(
    kubernetes_api: KubernetesApi,
    proxy: ApiProxy,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Cluster:
    file = kubernetes_api.write_kubeconfig(
        tmp_path / "config", server=proxy.url, namespace=kubernetes_api.make_namespace()
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    return connect()


def lease(holder: str = "a", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": "one", **metadata},
        "spec": {"holderIdentity": holder},
    }


def test_an_object_from_its_making_to_its_end(cluster: Cluster) -> None:
    assert cluster.get(LEASES, "one") is None
    made = cluster.create(LEASES, lease())
    assert cluster.get(LEASES, "one") == made
    with pytest.raises(Conflict):
        cluster.create(LEASES, lease())
    changed = cluster.replace(LEASES, {**made, "spec": {"holderIdentity": "b"}})
    assert changed["spec"]["holderIdentity"] == "b"
    with pytest.raises(Conflict):
        cluster.replace(LEASES, {**made, "spec": {"holderIdentity": "c"}})
    assert [found["metadata"]["name"] for found in cluster.find(LEASES)] == ["one"]
    assert cluster.find(LEASES, labels="a=b") == []
    cluster.delete(LEASES, "one")
    # What it owns goes first, so it takes a moment.
    wait_until(lambda: cluster.get(LEASES, "one") is None)


def test_a_dry_run_changes_nothing(cluster: Cluster) -> None:
    assert cluster.apply(LEASES, lease(), dry_run=True)["spec"]["holderIdentity"] == "a"
    assert cluster.get(LEASES, "one") is None


def test_fields_of_others_are_never_taken(cluster: Cluster, kubernetes_api: KubernetesApi) -> None:
    cluster.apply(LEASES, lease())
    with kubernetes_api.api_client() as api:
        client.CoordinationV1Api(api).patch_namespaced_lease(
            "one",
            cluster.namespace,
            {"spec": {"holderIdentity": "theirs"}},
            field_manager="kubectl-edit",
        )
    with pytest.raises(FieldConflict) as raised:
        cluster.apply(LEASES, lease("b"))
    assert raised.value.who == "kubectl-edit (.spec.holderIdentity)"
    found = cluster.get(LEASES, "one")
    assert found is not None
    assert found["spec"]["holderIdentity"] == "theirs"


@pytest.mark.parametrize("fault", [500, 503, 429, CUT])
def test_reads_and_writes_are_asked_again(
    cluster: Cluster, proxy: ApiProxy, fault: int | str
) -> None:
    proxy.write_faults.append(fault)
    cluster.apply(LEASES, lease())
    proxy.read_faults.append(fault)
    assert cluster.get(LEASES, "one")
    assert not proxy.write_faults
    assert not proxy.read_faults


def test_an_apply_that_met_another_write_is_made_again(cluster: Cluster, proxy: ApiProxy) -> None:
    proxy.write_faults.append(409)
    assert cluster.apply(LEASES, lease())["spec"]["holderIdentity"] == "a"


@pytest.mark.parametrize("fault", [500, 502, 409, 410, 403, CUT, GONE, EMPTY])
def test_a_watch_that_fails_only_ends_the_wait(
    cluster: Cluster, proxy: ApiProxy, fault: int | str
) -> None:
    proxy.watch_faults.append(fault)
    cluster.wait_for_change(LEASES, "one", since="", seconds=0.3)
    assert not proxy.watch_faults


def test_watches_that_are_closed_at_once_are_not_asked_for_without_a_rest(
    cluster: Cluster, proxy: ApiProxy
) -> None:
    proxy.watch_faults.extend([EMPTY] * 1000)
    ends = time.monotonic() + 1
    while time.monotonic() < ends:
        cluster.wait_for_change(LEASES, "one", since="", seconds=10)
    # Each rests at least a fifth of a second.
    assert len([line for line in proxy.seen if "watch=1" in line]) <= 6


def test_who_has_no_time_is_not_kept_waiting(cluster: Cluster, proxy: ApiProxy) -> None:
    assert cluster.get(LEASES, "one") is None
    proxy.read_faults.extend([503] * 1000)
    with pytest.raises(Refusal, match="a fault of the test"):
        cluster.with_patience(0.5).get(LEASES, "one")
    # And whoever has time goes on having it.
    proxy.read_faults = deque([503, 503])
    assert cluster.get(LEASES, "one") is None


def test_a_watch_ends_with_the_first_change(cluster: Cluster) -> None:
    made = cluster.create(LEASES, lease())
    since = made["metadata"]["resourceVersion"]
    seen: list[bool] = []
    thread = threading.Thread(
        target=lambda: seen.append(cluster.wait_for_change(LEASES, "one", since=since, seconds=60))
    )
    started = time.monotonic()
    thread.start()
    cluster.replace(LEASES, {**made, "spec": {"holderIdentity": "b"}})
    thread.join()
    assert seen == [True]
    assert time.monotonic() - started < 60
    assert cluster.wait_for_change(LEASES, "two", since="", seconds=0.2) is False


def test_metadata_alone(cluster: Cluster) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "keys", "annotations": {"a": "b"}},
        "stringData": {"key": "hunter2"},
    }
    cluster.apply(SECRETS, secret)
    found = cluster.metadata(SECRETS, "keys")
    assert found is not None
    assert found["metadata"]["annotations"] == {"a": "b"}
    assert "data" not in found
    assert cluster.metadata(SECRETS, "none") is None


def test_what_may_not_be_done_is_told(
    cluster: Cluster,
    kubernetes_api: KubernetesApi,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert missing_permissions(cluster, [(PODS, ("list",)), (NODES, ("list",))]) == []
    token = kubernetes_api.token_of(cluster.namespace, "default")
    file = kubernetes_api.write_kubeconfig(
        tmp_path / "nobody", token=token, namespace=cluster.namespace
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    nobody = connect()
    wanted = [(PODS, ("list",)), (LEASES, ("get", "update"))]
    assert missing_permissions(nobody, wanted) == [
        "list pods",
        "get leases.coordination.k8s.io",
        "update leases.coordination.k8s.io",
    ]
    with pytest.raises(Refusal, match="cannot list resource") as raised:
        nobody.find(PODS)
    assert raised.value.status == 403


def test_wrong_credentials_are_told_at_once(
    kubernetes_api: KubernetesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = kubernetes_api.write_kubeconfig(tmp_path / "wrong", token="wrong")
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(Refusal, match="log in to the cluster again"):
        connect().find(PODS)
