"""A namespace as manifests/serving leaves it, with a stand-in for KServe's controller."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.api_proxy import ApiProxy
from tests.deployment.site import KINDS, Site, documents
from tests.kserve_controller import KServe
from tests.kubernetes_api import KubernetesApi
from yololine.cluster import connect


@pytest.fixture
def new_site(
    kubernetes_api: KubernetesApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Site]]:
    """Makes a namespace of its own; `server` puts something in front of the API server."""
    monkeypatch.setattr("yololine.deployment.rollout.LOOK_SECONDS", 0.2)
    monkeypatch.setattr("yololine.deployment.rollout.STALE_SECONDS", 1.0)
    monkeypatch.setattr("yololine.deployment.rollout.REFUSED_SECONDS", 0.5)
    monkeypatch.setattr("yololine.deployment.endpoint.SETTLE_SECONDS", 1.5)
    stops: list[Callable[[], None]] = []

    def new(*, server: str | None = None, restricted: bool = True) -> Site:
        level = "restricted" if restricted else "privileged"
        namespace = kubernetes_api.make_namespace({"pod-security.kubernetes.io/enforce": level})
        file = kubernetes_api.write_kubeconfig(
            tmp_path / f"{namespace}.kubeconfig", server=server, namespace=namespace
        )
        monkeypatch.setenv("KUBECONFIG", str(file))
        cluster = connect()
        for document in documents(
            "serving/runtime.yaml",
            "serving/store-access.yaml",
            "examples/serving-store-secret.yaml",
        ):
            cluster.apply(KINDS[document["kind"]], document)
        client = kubernetes_api.api_client()
        kserve = KServe(client, namespace)
        kserve.start()
        stops.extend((kserve.stop, client.close))
        return Site(kubernetes_api, kserve, cluster)

    yield new
    for stop in stops:
        stop()


@pytest.fixture
def site(new_site: Callable[..., Site]) -> Site:
    """One of them."""
    return new_site()


@pytest.fixture
def proxy(kubernetes_api: KubernetesApi) -> Iterator[ApiProxy]:
    """A proxy before the API server."""
    made = ApiProxy(kubernetes_api.url, str(kubernetes_api.folder / "server.crt"))
    made.start()
    yield made
    made.stop()
