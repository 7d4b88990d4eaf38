"""A service's real endpoint: where it is, and whether it answers as evaluation did."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import urlencode, urlsplit

import certifi
import numpy as np
import urllib3

from yololine.errors import DeploymentError, UsageError
from yololine.evaluation.golden import Golden, GoldenImage, disagreements
from yololine.inference.postprocess import Detections
from yololine.storage.endpoint import refuse_metadata_host

SETTLE_SECONDS = 30.0
"""How long a wrong version, or none, may still answer after a rollout: routes and load balancers
learn of it a moment later."""
ANSWER_SECONDS = 30.0
CONNECT_SECONDS = 5.0
LARGEST_ANSWER = 8 << 20
_SHOWN = 3
_TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG": "image/png", b"BM": "image/bmp"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the endpoint said of one picture."""

    detections: Detections
    class_names: tuple[str, ...]
    """Of each detection: versions may number their classes otherwise."""
    version: str


@dataclass(frozen=True, kw_only=True)
class OtherAnswer:
    """A picture that was answered otherwise than `image.detections` says."""

    image: GoldenImage
    answered: Detections
    differences: tuple[str, ...]


class WrongAnswers(DeploymentError):
    """The endpoint detects other things than evaluation did."""

    answers: tuple[OtherAnswer, ...] = ()


class Endpoint:
    """One service's address, asked as its users ask it; it never goes anywhere else."""

    def __init__(self, url: str, *, service_name: str) -> None:
        """Use an address.

        Args:
            url: `http://host` or `https://host`, without a path.
            service_name: Of the InferenceService, which is the model's name to the predictor.

        Raises:
            DeploymentError: The address is none to ask.
        """
        parts = urlsplit(url)
        self.url = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self.service_name = service_name
        remedy = "see status.address.url and status.url of the InferenceService"
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.username:
            raise DeploymentError(
                f"{service_name} at {url}", rule="is no address of a service", remedy=remedy
            )
        try:
            refuse_metadata_host(parts.hostname)
        except UsageError as error:
            raise DeploymentError(
                f"{service_name} at {url}",
                rule="is a cloud's metadata address, and is never asked",
                remedy=remedy,
            ) from error
        # No connection is kept: each question may then meet another pod.
        self._http = urllib3.PoolManager(
            retries=False,
            ca_certs=certifi.where(),
            headers={"Connection": "close"},
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS),
        )

    def reachable(self) -> bool:
        """Whether anything answers there; of whatever status."""
        try:
            self._http.request("GET", f"{self.url}/v2/health/live", redirect=False)
        except urllib3.exceptions.HTTPError:
            return False
        return True

    def live_version(self) -> str:
        """The version that the predictor says it serves.

        Raises:
            DeploymentError: It does not answer, or says none.
        """
        said = self._json("GET", f"/v2/models/{self.service_name}")
        versions = said.get("versions") or ()
        return str(versions[0]) if versions else ""

    def detect(self, image_bytes: bytes, parameters: Mapping[str, Any]) -> Answer:
        """Send one encoded picture.

        Raises:
            DeploymentError: The answer is an error, or none.
        """
        said = self._json(
            "POST",
            f"/v1/models/{self.service_name}:predict?{urlencode(parameters)}",
            body=image_bytes,
            headers={"Content-Type": content_type(image_bytes), "Connection": "close"},
        )
        try:
            (prediction,) = said["predictions"]
            count = len(prediction["scores"])
            named = zip(prediction["class_names"], prediction["scores"], strict=True)
            found = Detections(
                boxes_xyxy=np.array(prediction["boxes_xyxy"], np.float32).reshape(count, 4),
                scores=np.array(prediction["scores"], np.float32),
                class_ids=np.array(prediction["class_ids"], np.int32).reshape(count),
            )
            return Answer(
                detections=found,
                class_names=tuple(str(name) for name, _ in named),
                version=str(said.get("model_version", "")),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._bad(f"answers with no detections ({error})") from error

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        try:
            # A redirect would leave the service: nobody vetted where to.
            answer = self._http.request(
                method, self.url + path, redirect=False, preload_content=False, **request
            )
            body = answer.read(LARGEST_ANSWER)
            answer.release_conn()
        except urllib3.exceptions.HTTPError as error:
            raise self._bad(f"does not answer ({' '.join(str(error).split())[:200]})") from error
        if answer.status != 200:
            words = body[:300].decode(errors="replace")
            raise self._bad(f"answers {answer.status} ({' '.join(words.split())})")
        try:
            said = json.loads(body)
        except ValueError as error:
            raise self._bad("answers with no JSON") from error
        return said if isinstance(said, dict) else {}

    def _bad(self, rule: str) -> DeploymentError:
        return DeploymentError(
            f"{self.service_name} at {self.url}", rule=rule, remedy="see the predictor's log"
        )


def content_type(image_bytes: bytes) -> str:
    """The media type of an encoded picture."""
    for magic, name in _TYPES.items():
        if image_bytes.startswith(magic):
            return name
    if image_bytes[8:12] == b"WEBP":
        return "image/webp"
    return "image/tiff" if image_bytes[:2] in {b"II", b"MM"} else "application/octet-stream"


def find_endpoint(service: dict[str, Any]) -> Endpoint:
    """The address of an InferenceService that can be reached from here.

    Inside the cluster that is its Service, outside its ingress.

    Raises:
        DeploymentError: It has none, or none that answers.
    """
    name = service["metadata"]["name"]
    status = service.get("status") or {}
    urls = [url for url in ((status.get("address") or {}).get("url"), status.get("url")) if url]
    endpoints = [Endpoint(url, service_name=name) for url in dict.fromkeys(urls)]
    for endpoint in endpoints:
        if endpoint.reachable():
            return endpoint
    raise DeploymentError(
        f"InferenceService {name}",
        rule="cannot be reached from here, at " + " or ".join(e.url for e in endpoints)
        if endpoints
        else "has no address yet",
        remedy="deploy from inside the cluster, or see its ingress",
    )


def settle(attempt: Callable[[], Any], *, check: Callable[[], None]) -> Any:
    """The attempt's result, made again for a while where it raises DeploymentError."""
    ends = time.monotonic() + SETTLE_SECONDS
    while True:
        check()
        try:
            return attempt()
        except DeploymentError:
            if time.monotonic() > ends:
                raise
        time.sleep(0.5)


def check_golden(
    endpoint: Endpoint, golden: Golden, *, version: str, check: Callable[[], None]
) -> int:
    """Have the endpoint answer every golden image as evaluation did.

    Returns:
        How many images.

    Raises:
        WrongAnswers: It answers otherwise.
        DeploymentError: It does not answer, or another version does.
    """
    wrong: list[str] = []
    answers: list[OtherAnswer] = []
    parameters = {"min_score": golden.min_score, "iou_threshold": golden.iou_threshold}
    for image in golden.images:
        ask = partial(_answer, endpoint, image.image_bytes, parameters, version)
        answer: Answer = settle(ask, check=check)
        found = disagreements(
            image,
            answer.detections,
            min_score=golden.min_score,
            class_names=golden.class_names,
        )
        wrong.extend(f"{image.file_name}: {words}" for words in found)
        if found:
            answers.append(
                OtherAnswer(image=image, answered=answer.detections, differences=tuple(found))
            )
    if wrong:
        more = f" and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        error = WrongAnswers(
            f"{endpoint.service_name} at {endpoint.url}",
            rule="detects other things than evaluation did on the same test images: "
            + "; ".join(wrong[:_SHOWN])
            + more,
            remedy="compare the predictor's image and engine with those of the evaluation",
        )
        error.answers = tuple(answers)
        raise error
    return len(golden.images)


def check_version(
    endpoint: Endpoint, *, version: str, images: Sequence[bytes], check: Callable[[], None]
) -> None:
    """Have the endpoint serve a version, and answer a picture where there is one.

    Raises:
        DeploymentError: It does not.
    """

    def attempt() -> None:
        if images:
            _answer(endpoint, images[0], {}, version)
        else:
            _same(endpoint, endpoint.live_version(), version)

    settle(attempt, check=check)


def _answer(
    endpoint: Endpoint, image_bytes: bytes, parameters: Mapping[str, Any], version: str
) -> Answer:
    answer = endpoint.detect(image_bytes, parameters)
    _same(endpoint, answer.version, version)
    return answer


def _same(endpoint: Endpoint, answered: str, version: str) -> None:
    if version and answered != version:
        raise DeploymentError(
            f"{endpoint.service_name} at {endpoint.url}",
            rule=f"is answered by version {answered or 'unknown'}, not {version}",
            remedy="see which pods still run, and what else has this address",
        )
