"""What these credentials may do, asked of the cluster itself."""

from __future__ import annotations

from collections.abc import Iterable

from yololine.cluster.api import Cluster
from yololine.cluster.resources import ACCESS_REVIEWS, Resource


def missing_permissions(
    cluster: Cluster, wanted: Iterable[tuple[Resource, tuple[str, ...]]]
) -> list[str]:
    """Those of the wanted permissions that are not granted, such as `patch leases`.

    Args:
        cluster: And namespace.
        wanted: Kinds, and the verbs needed on each.
    """
    missing = []
    for resource, verbs in wanted:
        for verb in verbs:
            review = {
                "apiVersion": ACCESS_REVIEWS.api_version,
                "kind": ACCESS_REVIEWS.kind,
                "spec": {
                    "resourceAttributes": {
                        "namespace": cluster.namespace,
                        "verb": verb,
                        "group": resource.group,
                        "resource": resource.plural,
                    }
                },
            }
            answer = cluster.create(ACCESS_REVIEWS, review)
            if not (answer.get("status") or {}).get("allowed"):
                group = f".{resource.group}" if resource.group else ""
                missing.append(f"{verb} {resource.plural}{group}")
    return missing
