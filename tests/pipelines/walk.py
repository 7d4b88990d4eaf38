"""A compiled pipeline, walked through as a backend does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from yololine.runs.package import LOADER

PLACEHOLDER = re.compile(r"\{\{\$\.inputs\.parameters\['([^']+)'\]\}\}")


class Compiled:
    """The two documents of a compiled pipeline or component.

    `tasks` and `pods` have the steps by the names of their functions: what the pipeline says of
    them, wherever in the groups they are, and what Kubernetes is told of their pods.
    """

    def __init__(self, file: Path) -> None:
        self.spec, *platform = yaml.load_all(file.read_text(encoding="utf-8"), Loader=LOADER)
        executors: dict[str, Any] = {}
        if platform:
            executors = platform[0]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        self.pods: dict[str, Any] = {
            name.removeprefix("exec-").replace("-", "_"): pod for name, pod in executors.items()
        }
        self.tasks: dict[str, Any] = {
            name.replace("-", "_"): task
            for _, dag in self.groups()
            for name, task in dag["tasks"].items()
            if self.container(task)
        }

    def groups(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """Each group: the component that it is, and its graph."""
        for component in (self.spec["root"], *self.spec["components"].values()):
            if "dag" in component:
                yield component, component["dag"]

    def container(self, task: dict[str, Any]) -> dict[str, Any] | None:
        """What a task runs; None where it is a group or an importer."""
        label = self.spec["components"][task["componentRef"]["name"]].get("executorLabel")
        executors: dict[str, Any] = self.spec["deploymentSpec"]["executors"]
        return executors[label].get("container") if label else None

    def lost_parameters(self) -> list[str]:
        """Parameters that a task names and is not given.

        kfp 2.17 does not carry all of them through groups: a backend then fails where kfp.local is
        content.
        """
        lost = []
        for group, dag in self.groups():
            around = group.get("inputDefinitions", {}).get("parameters", {})
            for name, task in dag["tasks"].items():
                taken = task.get("inputs", {}).get("parameters", {})
                wanted = [s["componentInputParameter"] for s in taken.values() if _from_group(s)]
                wanted += _named_by(self.pods.get(name.replace("-", "_"), {}))
                lost += [f"{name}: {one} of its group" for one in wanted if one not in around]
                container = self.container(task) or {}
                settings = [container.get("resources"), container.get("image")]
                settings += [source.get("runtimeValue") for source in taken.values()]
                for text in _strings(settings):
                    found = PLACEHOLDER.findall(text)
                    lost += [f"{name}: {one} of its own" for one in found if one not in taken]
        return lost


def _from_group(source: dict[str, Any]) -> bool:
    return "componentInputParameter" in source


def _named_by(pod: Any) -> list[str]:
    """Parameters that a pod's settings name, however deep."""
    if isinstance(pod, list):
        return [name for item in pod for name in _named_by(item)]
    if isinstance(pod, dict):
        own = [pod["componentInputParameter"]] if _from_group(pod) else []
        return own + [name for item in pod.values() for name in _named_by(item)]
    return []


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
