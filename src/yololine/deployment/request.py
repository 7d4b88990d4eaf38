"""What is asked of a deployment, and what it came to."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from yololine.errors import UsageError
from yololine.frozen import Frozen
from yololine.registry.versions import Version

SHADOW_SUFFIX = "-shadow"
SERVICE_NAME = re.compile(r"[a-z]([a-z0-9-]{0,39}[a-z0-9])?")
"""KServe makes a label `isvc.<name>-predictor` of it, of at most 63 characters, and a Service,
whose name begins with a letter. A shadow's name is 7 longer."""


class DeployRequest(Frozen):
    """A version, where it lies, and what its pods may have.

    Attributes:
        storage_uri: Folder of the version, `s3://bucket/prefix/models/NAME/VERSION`.
        predictor_image: Image of the predictor.
        service_account: Of the pods; its secrets let KServe fetch the version.
        cpu: Kubernetes quantity, request and limit.
        memory: Kubernetes quantity, request and limit.
        gpu_type: Kubernetes resource of the accelerator.
        gpu_count: Accelerators of one pod, as text; "0" serves on the processor.
        strategy: `rolling` replaces the pods; `shadow` first tries the version in a service of its
            own, beside the one that answers.
        timeout_seconds: For the pods to be up and answering; a restoration has as long again.
        lineage: What led here, such as run_id; becomes annotations `yololine/...`.
    """

    model: Version
    storage_uri: str
    service_name: str
    predictor_image: str
    service_account: str
    replicas_min: int = Field(default=1, ge=1)
    replicas_max: int = Field(default=1, ge=1)
    cpu: str = "2"
    memory: str = "2Gi"
    gpu_type: str = "nvidia.com/gpu"
    gpu_count: str = "0"
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[dict[str, Any]] = Field(default_factory=list)
    strategy: Literal["rolling", "shadow"] = "rolling"
    timeout_seconds: int = Field(default=600, ge=1)
    lineage: dict[str, str] = Field(default_factory=dict)

    @field_validator("service_name")
    @classmethod
    def _fits_kserve(cls, name: str) -> str:
        return check_service_name(name)

    @field_validator("storage_uri")
    @classmethod
    def _is_readable_by_kserve(cls, uri: str) -> str:
        if uri.startswith("s3://"):
            return uri.rstrip("/")
        raise UsageError(
            f"storage_uri={uri}",
            rule="does not begin with s3://, and KServe's pods can read no folder of this machine",
            remedy="deploy from a store that is an object store",
        )

    @field_validator("gpu_count")
    @classmethod
    def _is_count(cls, count: str) -> str:
        if count.isdigit():
            return str(int(count))
        raise UsageError(
            f"gpu_count={count!r}", rule="is no whole number", remedy='write "0", "1" or more'
        )

    @model_validator(mode="after")
    def _has_room_to_scale(self) -> DeployRequest:
        if self.replicas_max < self.replicas_min:
            raise UsageError(
                f"replicas_max={self.replicas_max}",
                rule=f"is less than replicas_min={self.replicas_min}",
                remedy="give both the same value, or a higher maximum",
            )
        return self

    @property
    def gpus(self) -> int:
        """Accelerators of one pod."""
        return int(self.gpu_count)


@dataclass(frozen=True, kw_only=True)
class RecordedRequest:
    """A picture as somebody sent it to an endpoint.

    Attributes:
        name: Where it was recorded, for people.
        image_bytes: Encoded; the predictor can read it.
        width: Pixels, upright.
        height: Pixels, upright.
    """

    name: str
    image_bytes: bytes
    width: int
    height: int


class DeployOutcome(Frozen):
    """A version that is live and checked.

    Attributes:
        url: Of the service, `http://host` without a path.
        previous_version: Live before; None for the first one.
        generation: Of the InferenceService.
        golden_checked: Test images that the endpoint answered as evaluation did.
    """

    service_name: str
    namespace: str
    url: str
    version: str
    previous_version: str | None
    generation: int
    golden_checked: int
    seconds: float


def check_service_name(name: str) -> str:
    """The name, if it may name a service.

    Raises:
        UsageError: It may not.
    """
    if SERVICE_NAME.fullmatch(name) and not name.endswith(SHADOW_SUFFIX):
        return name
    raise UsageError(
        f"service_name={name!r}",
        rule="must be 1 to 41 lower-case letters, digits and dashes that begin with a letter and "
        f"end in a letter or digit, and not in {SHADOW_SUFFIX}",
        remedy="choose a name such as 'casting-defects'",
    )
