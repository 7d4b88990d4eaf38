from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from yololine.cluster import connect
from yololine.cluster.resources import PODS
from yololine.errors import ClusterError


def kubeconfig(path: Path, server: str) -> str:
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "a",
                "clusters": [{"name": "a", "cluster": {"server": server}}],
                "users": [{"name": "a", "user": {"token": "x"}}],
                "contexts": [
                    {"name": "a", "context": {"cluster": "a", "user": "a", "namespace": "team-a"}}
                ],
            }
        )
    )
    return str(path)


def test_the_contexts_namespace_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path / "config", "http://127.0.0.1:9"))
    assert connect().namespace == "team-a"
    assert connect("team-b").namespace == "team-b"
    assert connect().server == "http://127.0.0.1:9"


@pytest.mark.parametrize("content", [None, "", "a: [", "kind: Config\n"])
def test_what_is_no_kubeconfig(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str | None
) -> None:
    file = tmp_path / "config"
    if content is not None:
        file.write_text(content)
    monkeypatch.setenv("KUBECONFIG", str(file))
    with pytest.raises(ClusterError, match="is no usable kubeconfig"):
        connect()


def test_no_cluster_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ClusterError, match="run inside the cluster, or name a kubeconfig"):
        connect()


def test_a_cluster_that_does_not_answer_is_told_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", kubeconfig(tmp_path / "config", "http://127.0.0.1:9"))
    monkeypatch.setattr("yololine.cluster.api.FIRST_PATIENCE_SECONDS", 0.3)
    with pytest.raises(
        ClusterError, match=r"http://127\.0\.0\.1:9: does not answer as a Kubernetes"
    ):
        connect().find(PODS)
