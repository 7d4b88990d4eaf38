"""Trying a version in a service of its own, beside the one that answers people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from yololine.cluster.resources import INFERENCE_SERVICES
from yololine.deployment.endpoint import Endpoint, find_endpoint
from yololine.deployment.live import Stage
from yololine.deployment.request import SHADOW_SUFFIX, ShadowReport
from yololine.deployment.specification import named, version_of, with_one_replica
from yololine.errors import DeploymentError
from yololine.evaluation.golden import Golden, GoldenImage, disagreements
from yololine.inference.postprocess import Detections


def try_beside(
    stage: Stage, body: dict[str, Any], golden: Golden | None, recorded: Sequence[bytes]
) -> ShadowReport:
    """Have a version answer golden images and recorded requests, then take its service away.

    A share of the real traffic is no choice here: canaryTrafficPercent is for Knative mode.

    Raises:
        DeploymentError: It does not come up, answers golden images otherwise than evaluation did,
            or fails on a recorded request that the live version answers.
        ClusterError: The API server says no, or nothing.
    """
    name = body["metadata"]["name"]
    shadow = named(with_one_replica(body), name + SHADOW_SUFFIX)
    stage.progress(
        f"trying version {version_of(body)} as {name}{SHADOW_SUFFIX}; {name} stays as it is"
    )
    standing = stage.cluster.get(INFERENCE_SERVICES, name + SHADOW_SUFFIX)
    try:
        if standing and standing["metadata"].get("deletionTimestamp"):
            stage.remove(name + SHADOW_SUFFIX)
        live = stage.make_live(shadow, golden)
        service = stage.cluster.get(INFERENCE_SERVICES, name)
        beside = find_endpoint(service) if service and recorded else None
        return _compare(stage, live.endpoint, beside, recorded)
    except DeploymentError as error:
        raise DeploymentError(
            error.value,
            rule=f"{error.rule}. It was a shadow: {name} was not touched",
            remedy=error.remedy,
        ) from error
    finally:
        remove_shadow(stage, name)


def remove_shadow(stage: Stage, name: str) -> None:
    """Take a service's shadow away, where there is one.

    It is not waited for: a run that is told to stop has no time to.
    """
    stage.cluster.delete(INFERENCE_SERVICES, name + SHADOW_SUFFIX)


def _compare(
    stage: Stage, shadow: Endpoint, live: Endpoint | None, recorded: Sequence[bytes]
) -> ShadowReport:
    agreeing = 0
    for image in recorded:
        stage.check()
        if live is None:
            shadow.detect(image, {})
            continue
        try:
            expected = live.detect(image, {}).detections
        except DeploymentError:
            # A picture that nobody can read proves nothing.
            continue
        agreeing += _agree(image, expected, shadow.detect(image, {}).detections)
    report = ShadowReport(recorded=len(recorded), agreeing=agreeing)
    if recorded:
        stage.progress(f"{agreeing} of {len(recorded)} recorded requests are answered alike")
    return report


def _agree(image: bytes, expected: Detections, answered: Detections) -> bool:
    largest = expected.boxes_xyxy.max(initial=np.float32(1))
    golden = GoldenImage(
        file_name="recorded",
        image_bytes=image,
        width=int(largest),
        height=int(largest),
        detections=expected,
    )
    return not disagreements(golden, answered)
