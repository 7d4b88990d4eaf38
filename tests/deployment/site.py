"""A namespace to deploy to, versions to deploy there, and what they answer."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from kubernetes import client
from PIL import Image

from tests.kserve_controller import KServe, wait_until
from tests.kubernetes_api import KubernetesApi
from yololine.cluster import Cluster, Resource
from yololine.cluster.resources import (
    INFERENCE_SERVICES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVING_RUNTIMES,
)
from yololine.deployment import DeployOutcome, DeployRequest, deploy
from yololine.errors import YololineError
from yololine.evaluation.golden import Golden, GoldenImage
from yololine.inference.postprocess import Detections
from yololine.registry.versions import Version

MANIFESTS = Path(__file__).parents[2] / "manifests"
KINDS = {resource.kind: resource for resource in (SERVING_RUNTIMES, SERVICE_ACCOUNTS, SECRETS)}


def documents(*names: str) -> list[dict[str, Any]]:
    """The objects in files below manifests/."""
    return [
        document
        for name in names
        for document in yaml.safe_load_all((MANIFESTS / name).read_text(encoding="utf-8"))
    ]


def request_of(version: str, **changes: Any) -> DeployRequest:
    """A request for a version of the model `castings`."""
    model = Version(
        name="castings",
        version=version,
        key=version * 4,
        promoted=True,
        files={},
        class_names=("scratch", "pore"),
        image_size=640,
        metrics={},
        registered_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    values: dict[str, Any] = {
        "model": model,
        "storage_uri": f"s3://bucket/line/models/castings/{version}",
        "service_name": "castings",
        "predictor_image": "yololine/predictor:0.1.0",
        "service_account": "yololine-serving",
        "cpu": "500m",
        "memory": "1Gi",
        "timeout_seconds": 20,
        "lineage": {"run_id": f"run-of-{version}"},
    }
    return DeployRequest(**{**values, **changes})


def picture(shade: int) -> bytes:
    """A small JPEG."""
    file = io.BytesIO()
    Image.new("RGB", (32, 24), (shade, shade, shade)).save(file, "JPEG")
    return file.getvalue()


def golden_of(*, score: float = 0.9, box: tuple[float, ...] = (4, 4, 20, 16)) -> Golden:
    """Two images: one detection in the first, none in the second."""
    found = Detections(
        boxes_xyxy=np.array([box], np.float32),
        scores=np.array([score], np.float32),
        class_ids=np.array([1], np.int32),
    )
    nothing = Detections(
        boxes_xyxy=np.zeros((0, 4), np.float32),
        scores=np.zeros(0, np.float32),
        class_ids=np.zeros(0, np.int32),
    )
    return Golden(
        images=tuple(
            GoldenImage(
                file_name=name,
                image_bytes=picture(shade),
                width=32,
                height=24,
                detections=detections,
            )
            for name, shade, detections in (("a.jpg", 10, found), ("b.jpg", 200, nothing))
        ),
        class_names=("scratch", "pore"),
        min_score=0.25,
        iou_threshold=0.5,
    )


def renumbered(golden: Golden, class_names: tuple[str, ...], *, class_id: int) -> Golden:
    """The same with other names of the classes, and every detection of one of them."""
    for image in golden.images:
        image.detections.class_ids[:] = class_id
    return replace(golden, class_names=class_names)


def answers_of(golden: Golden) -> Callable[[bytes, Mapping[str, str]], dict[str, Any]]:
    """A model that finds in each golden image what evaluation did, and nothing in others."""
    known = {image.image_bytes: image.detections for image in golden.images}

    def answer(image_bytes: bytes, _: Mapping[str, str]) -> dict[str, Any]:
        found = known.get(image_bytes)
        return {
            "boxes_xyxy": found.boxes_xyxy.tolist() if found else [],
            "scores": found.scores.tolist() if found else [],
            "class_ids": found.class_ids.tolist() if found else [],
            "class_names": [golden.class_names[i] for i in found.class_ids] if found else [],
            "width": 32,
            "height": 24,
        }

    return answer


class Site:
    """One namespace with everything a deployment needs."""

    def __init__(self, api: KubernetesApi, kserve: KServe, cluster: Cluster) -> None:
        self.api = api
        self.kserve = kserve
        self.cluster = cluster
        self.said: list[str] = []

    def deploy(
        self, request: DeployRequest, golden: Golden | None = None, **options: Any
    ) -> DeployOutcome:
        """Deploy, and keep what is said meanwhile."""
        return deploy(
            request, cluster=self.cluster, golden=golden, progress=self.said.append, **options
        )

    @contextmanager
    def deploying(
        self, request: DeployRequest, golden: Golden | None = None
    ) -> Iterator[list[DeployOutcome | YololineError]]:
        """Deploy in a thread, which has ended with one result or error when the block has."""
        ended: list[DeployOutcome | YololineError] = []

        def run() -> None:
            try:
                ended.append(self.deploy(request, golden))
            except YololineError as error:
                ended.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield ended
        finally:
            thread.join()

    def edit(self, manager: str, change: dict[str, Any]) -> None:
        """Change the service as somebody else."""
        with self.api.api_client() as api:
            client.CustomObjectsApi(api).patch_namespaced_custom_object(
                INFERENCE_SERVICES.group,
                INFERENCE_SERVICES.version,
                self.cluster.namespace,
                INFERENCE_SERVICES.plural,
                "castings",
                change,
                field_manager=manager,
            )

    def labelled(self) -> str:
        """The version that the service says it serves; empty where there is no service."""
        service = self.cluster.get(INFERENCE_SERVICES, "castings")
        return str(service["metadata"]["labels"]["yololine/version"]) if service else ""

    def delete(self, resource: Resource, name: str) -> None:
        """Return once it is gone."""
        self.cluster.delete(resource, name)
        wait_until(lambda: self.cluster.get(resource, name) is None)

    def answering(self) -> str:
        """The version that answers now; empty where none does."""
        status, said = self.kserve._look("castings", "/v2/models/castings")
        return str(said["versions"][0]) if status == 200 else ""
