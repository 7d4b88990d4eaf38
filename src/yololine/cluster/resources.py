"""The kinds of objects that yololine reads or writes, and where the API keeps each."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Resource:
    """One kind of object."""

    group: str
    """Empty for the core group."""
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """As an object's `apiVersion` spells it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str, name: str = "") -> str:
        """Path of one object, or of all of them in a namespace."""
        root = f"/apis/{self.api_version}" if self.group else f"/api/{self.version}"
        inside = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{root}{inside}/{self.plural}" + (f"/{name}" if name else "")


def _core(plural: str, kind: str, *, namespaced: bool = True) -> Resource:
    return Resource(group="", version="v1", plural=plural, kind=kind, namespaced=namespaced)


INFERENCE_SERVICES = Resource(
    group="serving.kserve.io",
    version="v1beta1",
    plural="inferenceservices",
    kind="InferenceService",
)
SERVING_RUNTIMES = Resource(
    group="serving.kserve.io",
    version="v1alpha1",
    plural="servingruntimes",
    kind="ServingRuntime",
)
DEPLOYMENTS = Resource(group="apps", version="v1", plural="deployments", kind="Deployment")
REPLICA_SETS = Resource(group="apps", version="v1", plural="replicasets", kind="ReplicaSet")
LEASES = Resource(group="coordination.k8s.io", version="v1", plural="leases", kind="Lease")
PODS = _core("pods", "Pod")
EVENTS = _core("events", "Event")
SERVICE_ACCOUNTS = _core("serviceaccounts", "ServiceAccount")
SECRETS = _core("secrets", "Secret")
QUOTAS = _core("resourcequotas", "ResourceQuota")
NODES = _core("nodes", "Node", namespaced=False)
ACCESS_REVIEWS = Resource(
    group="authorization.k8s.io",
    version="v1",
    plural="selfsubjectaccessreviews",
    kind="SelfSubjectAccessReview",
    namespaced=False,
)
