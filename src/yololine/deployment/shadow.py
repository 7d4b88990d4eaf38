"""Trying a version in a service of its own, beside the one that answers people."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from yololine.cluster.resources import INFERENCE_SERVICES
from yololine.deployment.endpoint import Answer, Endpoint, OtherAnswer, find_endpoint, settle
from yololine.deployment.live import Stage
from yololine.deployment.request import SHADOW_SUFFIX, RecordedRequest
from yololine.deployment.specification import named, version_of, with_one_replica
from yololine.errors import DeploymentError
from yololine.evaluation.golden import SHOWN_SCORE, Golden, GoldenImage, disagreements
from yololine.inference.postprocess import Detections

SHOWN = 6
"""Answers that are kept with their pictures."""
_PATIENCE = 5
"""Requests in a row without an answer, each of which may take half a minute."""
_PARAMETERS = {"min_score": SHOWN_SCORE}


@dataclass(kw_only=True)
class ShadowReport:
    """How a shadow answered recorded requests, beside the version that answers people.

    A new version is meant to see other things than the old one: what differs is for a person to
    read, and refuses nothing.

    Attributes:
        answered: How many the shadow answered.
        compared: How many of them the live version answered too.
        otherwise: Names of those that the two answered otherwise.
        unanswered: Names of those that the live version did not answer; the shadow was not asked.
        failed: Name of the one that the shadow did not answer, which ended it; empty where it
            answered all.
        examples: Answers that differ, with most differences first; `image.detections` is the live
            version's.
        class_names: In the order of the ids in `examples`.
    """

    answered: int = 0
    compared: int = 0
    otherwise: list[str] = field(default_factory=list)
    unanswered: list[str] = field(default_factory=list)
    failed: str = ""
    examples: list[OtherAnswer] = field(default_factory=list)
    class_names: list[str] = field(default_factory=list)

    @property
    def alike(self) -> int:
        """How many the two answered alike."""
        return self.compared - len(self.otherwise)

    def __str__(self) -> str:
        """A sentence of it."""
        told = f"recorded requests: {self.answered} answered"
        if self.compared:
            told += f", {self.alike} as the live version does, {len(self.otherwise)} otherwise"
        if self.unanswered:
            told += f"; {len(self.unanswered)} that the live version does not answer"
        return told

    def compare(self, request: RecordedRequest, live: Answer, shadow: Answer) -> None:
        """Add what the two answered to one request."""
        image = GoldenImage(
            file_name=request.name,
            image_bytes=request.image_bytes,
            width=request.width,
            height=request.height,
            detections=self._by_name(live),
        )
        answered = self._by_name(shadow)
        found = disagreements(
            image, answered, class_names=self.class_names, expected_by="the live version"
        )
        self.compared += 1
        if not found:
            return
        self.otherwise.append(request.name)
        other = OtherAnswer(image=image, answered=answered, differences=tuple(found))
        # No more than are shown: each holds its picture.
        self.examples = sorted([*self.examples, other], key=lambda one: -len(one.differences))
        del self.examples[SHOWN:]

    def _by_name(self, answer: Answer) -> Detections:
        """Its detections with ids that mean the same in both versions' answers."""
        for name in answer.class_names:
            if name not in self.class_names:
                self.class_names.append(name)
        ids = [self.class_names.index(name) for name in answer.class_names]
        return replace(answer.detections, class_ids=np.array(ids, np.int32))


def try_beside(
    stage: Stage,
    body: dict[str, Any],
    golden: Golden | None,
    recorded: Iterable[RecordedRequest] | None,
    compared: Callable[[ShadowReport], None],
) -> None:
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
        if recorded is not None:
            _ask(stage, live.endpoint, _beside(stage, name), recorded, compared)
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


def _beside(stage: Stage, name: str) -> Endpoint | None:
    """The endpoint that people use; None where nothing answers there."""
    service = stage.cluster.get(INFERENCE_SERVICES, name)
    if service is None:
        return None
    try:
        return find_endpoint(service)
    except DeploymentError as error:
        # What does not answer may be what this version shall mend.
        stage.progress(f"nothing to compare with: {error.value} {error.rule}")
        return None


def _ask(
    stage: Stage,
    shadow: Endpoint,
    live: Endpoint | None,
    recorded: Iterable[RecordedRequest],
    compared: Callable[[ShadowReport], None],
) -> None:
    report = ShadowReport()
    in_a_row = 0
    for request in recorded:
        stage.check()
        try:
            expected = live.detect(request.image_bytes, _PARAMETERS) if live else None
            in_a_row = 0
        except DeploymentError:
            # What the live version cannot answer either proves nothing.
            report.unanswered.append(request.name)
            in_a_row += 1
            if in_a_row == _PATIENCE:
                live = None
                stage.progress(
                    f"the live version answered none of the last {_PATIENCE}, and is not asked any "
                    "more"
                )
            continue
        try:
            answer = _answer(stage, shadow, request)
        except DeploymentError as error:
            report.failed = request.name
            compared(report)
            beside = ", which the live version answers" if live else ""
            raise DeploymentError(
                error.value,
                rule=f"{error.rule} to the recorded request {request.name}{beside}",
                remedy=error.remedy,
            ) from error
        report.answered += 1
        if expected:
            report.compare(request, expected, answer)
    stage.progress(str(report))
    compared(report)


def _answer(stage: Stage, shadow: Endpoint, request: RecordedRequest) -> Answer:
    """The shadow's answer; asked again for a while, since a version is no worse for a hiccup."""
    answer: Answer = settle(
        lambda: shadow.detect(request.image_bytes, _PARAMETERS), check=stage.check
    )
    return answer
