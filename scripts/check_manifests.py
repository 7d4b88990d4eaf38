"""Check the Kubernetes manifests without a cluster.

Every document parses and names its apiVersion, kind and metadata.name; what a kustomization lists
exists, and what lies beside it is listed; every pod is a non-root one, since a namespace with
restricted pod security refuses any other.

Exit status 1 when something is wrong; each message names the file and the object.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parent.parent
MANIFESTS = ROOT / "manifests"

# Where each kind keeps its pod's spec.
POD_SPECS = {
    "Pod": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
    "ServingRuntime": ("spec",),
    **dict.fromkeys(
        ("DaemonSet", "Deployment", "Job", "ReplicaSet", "StatefulSet"),
        ("spec", "template", "spec"),
    ),
}


def dig(document: Any, path: tuple[str, ...]) -> Any:
    """Follow keys into nested mappings; None where one is missing."""
    for key in path:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def pod_problems(spec: Any) -> Iterator[str]:
    """Say why a restricted namespace would refuse this pod."""
    if not isinstance(spec, dict):
        yield "has no pod spec"
        return
    pod = spec.get("securityContext") or {}
    for container in [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]:
        own = container.get("securityContext") or {}
        name = container.get("name")
        # A container's own value wins over the pod's, field by field.
        effective = {**pod, **own}
        if effective.get("runAsNonRoot") is not True:
            yield f"container {name}: set runAsNonRoot: true"
        if dig(effective, ("seccompProfile", "type")) not in ("RuntimeDefault", "Localhost"):
            yield f"container {name}: set seccompProfile.type: RuntimeDefault"
        if own.get("allowPrivilegeEscalation") is not False:
            yield f"container {name}: set allowPrivilegeEscalation: false"
        if "ALL" not in (dig(own, ("capabilities", "drop")) or []):
            yield f"container {name}: drop ALL capabilities"


def kustomization_problems(folder: Path, document: dict[str, Any]) -> Iterator[str]:
    """Say where a kustomization and its folder disagree."""
    listed = set()
    for key in ("resources", "components", "patches"):
        for entry in document.get(key) or []:
            name = entry.get("path") if isinstance(entry, dict) else entry
            if name is None or "://" in name:
                continue
            listed.add(name)
            if not (folder / name).exists():
                yield f"{key} lists {name}, which does not exist"
    for file in sorted(folder.glob("*.yaml")):
        if file.name != "kustomization.yaml" and file.name not in listed:
            yield f"does not list {file.name}, which lies beside it"


def file_problems(file: Path) -> Iterator[str]:
    """Check each document of one file."""
    try:
        documents = list(yaml.safe_load_all(file.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        yield f"does not parse: {error}"
        return
    for number, document in enumerate(documents, start=1):
        if not isinstance(document, dict):
            yield f"document {number} is not a mapping"
            continue
        for path in (("apiVersion",), ("kind",), ("metadata", "name")):
            if not isinstance(dig(document, path), str):
                yield f"document {number} has no {'.'.join(path)}"
        kind = document.get("kind")
        label = f"{kind} {dig(document, ('metadata', 'name'))}"
        if kind in POD_SPECS:
            problems = pod_problems(dig(document, POD_SPECS[kind]))
        elif kind == "Kustomization":
            problems = kustomization_problems(file.parent, document)
        else:
            continue
        yield from (f"{label}: {problem}" for problem in problems)


def main() -> int:
    """Check every manifest of the checkout."""
    files = sorted(MANIFESTS.rglob("*.yaml"))
    if not files:
        sys.exit("manifests: no YAML under manifests/; there is nothing to check")
    found = [
        f"{file.relative_to(ROOT)}: {problem}" for file in files for problem in file_problems(file)
    ]
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
