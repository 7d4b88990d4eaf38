"""Where the cluster is, and as whom to talk to it."""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from kubernetes import config
from kubernetes.client import ApiClient, Configuration

from yololine.cluster.api import Cluster
from yololine.errors import ClusterError

_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_DEFAULT_KUBECONFIG = "~/.kube/config"


def connect(namespace: str | None = None) -> Cluster:
    """The cluster of KUBECONFIG, else the one this pod runs in, else the one of ~/.kube/config.

    Args:
        namespace: None for the pod's own, or the one of the kubeconfig's current context.

    Raises:
        ClusterError: There is no configuration, or it cannot be used.
    """
    named = os.environ.get("KUBECONFIG", "")
    settings = Configuration()
    try:
        if not named and os.environ.get("KUBERNETES_SERVICE_HOST"):
            config.load_incluster_config(client_configuration=settings)
            own = _OWN_NAMESPACE.read_text().strip()
        else:
            file = named or str(Path(_DEFAULT_KUBECONFIG).expanduser())
            _, context = config.list_kube_config_contexts(config_file=file)
            config.load_kube_config(
                config_file=file, client_configuration=settings, persist_config=False
            )
            own = context["context"].get("namespace") or "default"
    except (config.ConfigException, OSError, yaml.YAMLError) as error:
        raise ClusterError(
            f"KUBECONFIG={named}" if named else _DEFAULT_KUBECONFIG,
            rule=f"is no usable kubeconfig ({' '.join(str(error).split())[:200]})",
            remedy="run inside the cluster, or name a kubeconfig in KUBECONFIG",
        ) from error
    # Redirects would carry the credentials elsewhere; repeats are decided in one place, the façade.
    settings.retries = False
    return Cluster(ApiClient(settings), namespace=namespace or own)
