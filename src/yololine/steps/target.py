"""How a version is to be served, by the names of the parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, Self

from yololine import images
from yololine.errors import UsageError
from yololine.steps.pods import (
    accelerator_faults,
    image_faults,
    quantity_faults,
    selector_faults,
    toleration_faults,
)

STRATEGIES = ("rolling", "shadow")
MOST_REPLICAS = 1000
LIMITS_SECONDS = (30, 86_400)
LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where a version goes live, and with what; numbers may come as KFP's floats."""

    deploy_service: str = ""
    """Empty takes the model's name."""
    deploy_namespace: str = ""
    """Empty takes the pod's own, or the kubeconfig's."""
    deploy_strategy: str = "rolling"
    deploy_golden: bool = True
    """Whether the golden images must be answered as evaluation answered them."""
    deploy_requests_uri: str = ""
    """Pictures that a shadow answers beside the live version; empty for none."""
    deploy_timeout_seconds: float = 600
    deploy_replicas: float = 1
    deploy_max_replicas: float = 0
    """0: always `deploy_replicas`."""
    deploy_cpu: str = "2"
    deploy_memory: str = "2Gi"
    gpu_type: str = "nvidia.com/gpu"
    deploy_gpu_count: str = "0"
    deploy_node_selector: Mapping[str, Any] = field(default_factory=dict)
    deploy_tolerations: list[Any] = field(default_factory=list)
    predictor_image: str = images.PREDICTOR
    serving_account: str = "yololine-serving"

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self:
        """What a run's parameters say of it."""
        return cls(**{one.name: parameters[one.name] for one in fields(cls)})

    @property
    def strategy(self) -> Literal["rolling", "shadow"]:
        """`deploy_strategy`, once it has no fault."""
        return "shadow" if self.deploy_strategy == "shadow" else "rolling"

    def faults(self) -> Iterator[UsageError]:
        """What is wrong with it, before any cluster is asked; but for the service's name."""
        for name, value in (
            ("deploy_namespace", self.deploy_namespace),
            ("serving_account", self.serving_account),
        ):
            if value and not LABEL.fullmatch(value):
                yield _fault(
                    name,
                    value,
                    "is no name: 1 to 63 lower-case letters, digits and dashes",
                    "look it up with kubectl get namespaces, kubectl get serviceaccounts",
                )
        if self.deploy_strategy not in STRATEGIES:
            yield _fault(
                "deploy_strategy",
                self.deploy_strategy,
                "is not known",
                f"use one of: {', '.join(STRATEGIES)}",
            )
        if self.deploy_requests_uri and self.deploy_strategy == "rolling":
            yield _fault(
                "deploy_requests_uri",
                self.deploy_requests_uri,
                "would be asked of nobody: with deploy_strategy=rolling there is no shadow",
                "use deploy_strategy=shadow, or leave deploy_requests_uri empty",
            )
        least, most = LIMITS_SECONDS
        if not least <= self.deploy_timeout_seconds <= most:
            yield _fault(
                "deploy_timeout_seconds",
                self.deploy_timeout_seconds,
                f"must be {least} to {most}",
                "use 600 or so",
            )
        yield from self._replica_faults()
        yield from quantity_faults("deploy_cpu", self.deploy_cpu, least=0.1, example="'2'")
        yield from quantity_faults(
            "deploy_memory", self.deploy_memory, least=1024**3, example="'2Gi'"
        )
        yield from accelerator_faults(
            "deploy_gpu_count",
            self.deploy_gpu_count,
            self.gpu_type,
            zero="to serve on the processor",
        )
        yield from selector_faults("deploy_node_selector", self.deploy_node_selector)
        yield from toleration_faults("deploy_tolerations", self.deploy_tolerations)
        yield from image_faults(
            "predictor_image",
            self.predictor_image,
            example="registry:5000/folder/predictor:0.1.0",
        )

    def _replica_faults(self) -> Iterator[UsageError]:
        for name, value, least in (
            ("deploy_replicas", self.deploy_replicas, 1),
            ("deploy_max_replicas", self.deploy_max_replicas, 0),
        ):
            if not least <= value <= MOST_REPLICAS or value != int(value):
                yield _fault(name, value, f"must be {least} to {MOST_REPLICAS}", "use 1 or 2")
        if 0 < self.deploy_max_replicas < self.deploy_replicas <= MOST_REPLICAS:
            yield _fault(
                "deploy_max_replicas",
                self.deploy_max_replicas,
                f"is less than deploy_replicas={self.deploy_replicas:g}",
                "use 0 to have always as many, or more than that",
            )


def store_faults(store_uri: str) -> Iterator[UsageError]:
    """What is wrong with a store from which a cluster's pods shall read a version."""
    if not store_uri.startswith("s3://"):
        yield _fault(
            "store_uri",
            store_uri,
            "is no bucket, and the pods that serve a version read it from one",
            "keep models in s3://bucket/prefix, or serve here: yololine serve NAME",
        )


def _fault(name: str, value: object, rule: str, remedy: str) -> UsageError:
    return UsageError(f"{name}={value!r}", rule=rule, remedy=remedy)
