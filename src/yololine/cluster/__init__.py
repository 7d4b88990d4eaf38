"""The Kubernetes API: what yololine asks of a cluster, and how long it keeps asking."""

from yololine.cluster.access import missing_permissions
from yololine.cluster.api import Cluster
from yololine.cluster.connecting import connect
from yololine.cluster.refusals import Conflict, FieldConflict, Refusal
from yololine.cluster.resources import Resource

__all__ = [
    "Cluster",
    "Conflict",
    "FieldConflict",
    "Refusal",
    "Resource",
    "connect",
    "missing_permissions",
]
