"""Deploying a version: all of it, and nothing of it where it fails."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from yololine.cluster import Cluster
from yololine.deployment.ledger import Ledger, holding
from yololine.deployment.live import Live, Stage, before, give_back, put_back, target
from yololine.deployment.preflight import FieldsTaken, check
from yololine.deployment.request import DeployOutcome, DeployRequest, RecordedRequest
from yololine.deployment.shadow import ShadowReport, remove_shadow, try_beside
from yololine.deployment.specification import digest_of, specification, version_of
from yololine.errors import ClusterError, DeploymentError, Faults, Terminated
from yololine.evaluation.golden import Golden

RUN_ID = "run_id"
"""The entry of a request's lineage that names who deploys."""


def deploy(
    request: DeployRequest,
    *,
    cluster: Cluster,
    golden: Golden | None,
    progress: Callable[[str], None],
    recorded: Iterable[RecordedRequest] | None = None,
    compared: Callable[[ShadowReport], None] = lambda _: None,
) -> DeployOutcome:
    """Make a version live behind its service's endpoint.

    The same request again goes on where it was cut off, and changes nothing where it is done. What
    was live before is restored where the new version does not come up or answers otherwise than in
    evaluation; a service that had nothing before is removed, so that nothing goes live unchecked.

    Args:
        request: What to deploy.
        cluster: And namespace.
        golden: Of the version: images and what evaluation found in them. None leaves only the check
            that the endpoint serves this version.
        progress: Called with a sentence as things go on.
        recorded: Pictures as people sent them; a shadow answers them too. They are taken one by one
            once it is up.
        compared: Called with how it answered them, also where it did not answer one.

    Raises:
        Faults: Found beforehand; nothing was changed.
        DeploymentError: It failed, or somebody else deploys this service now; the message says what
            answers now.
        ClusterError: The cluster does not answer.
        Terminated: SIGTERM came as this; what was live is put back, and the message says so.
    """
    started = time.monotonic()
    if faults := check(request, cluster=cluster, progress=progress):
        raise Faults(faults)
    body = specification(request)
    with holding(cluster, request.service_name, who=request.lineage.get(RUN_ID, "")) as ledger:
        stage = Stage(
            cluster=cluster,
            progress=progress,
            check=ledger.check,
            timeout_seconds=request.timeout_seconds,
        )
        if request.strategy == "shadow":
            try_beside(stage, body, golden, recorded, compared)
        else:
            # Of a run that was killed while it tried one.
            remove_shadow(stage, request.service_name)
        previous = before(ledger, stage.standing(request.service_name), body)
        live = replace(stage, ledger, body=body, previous=previous, golden=golden)
        earlier = previous
        if previous and digest_of(previous) == digest_of(body):
            other = target(ledger.history, digest_of(body), None)
            earlier = other.body if other else None
    return outcome(live, cluster, previous=earlier, started=started)


def replace(
    stage: Stage,
    ledger: Ledger,
    *,
    body: dict[str, Any],
    previous: dict[str, Any] | None,
    golden: Golden | None,
) -> Live:
    """Make a specification live in place of the previous one, which comes back where it fails.

    Raises:
        DeploymentError: It failed; the message says what answers now.
        ClusterError: The API server did not let it begin.
        Terminated: It was interrupted.
    """
    ledger.note(body, verified=False)
    with _undoing(stage, body, previous):
        try:
            live = stage.make_live(body, golden)
        except FieldsTaken:
            # Nothing was changed.
            raise
        except (DeploymentError, ClusterError) as error:
            stage.progress(f"failed: {error.rule}")
            raise give_back(
                stage, ledger, failed=body, previous=previous, golden=golden, error=error
            ) from error
        _note_live(ledger, body)
    stage.progress(f"live: version {version_of(body)} at {live.endpoint.url}")
    return live


def outcome(
    live: Live, cluster: Cluster, *, previous: dict[str, Any] | None, started: float
) -> DeployOutcome:
    """What a deployment came to.

    Args:
        live: What is live.
        cluster: And namespace.
        previous: What was live before.
        started: Moment of the monotonic clock.
    """
    return DeployOutcome(
        service_name=live.service["metadata"]["name"],
        namespace=cluster.namespace,
        url=live.endpoint.url,
        version=version_of(live.service),
        previous_version=(version_of(previous) or None) if previous else None,
        generation=live.service["metadata"]["generation"],
        golden_checked=live.golden_checked,
        seconds=round(time.monotonic() - started, 1),
    )


def _note_live(ledger: Ledger, body: dict[str, Any]) -> None:
    try:
        ledger.note(body, verified=True)
    except ClusterError as error:
        raise DeploymentError(
            f"InferenceService {body['metadata']['name']}",
            rule=f"version {version_of(body)} is live and answers as it should, but that could not "
            f"be noted: {error.value}: {error.rule}",
            remedy="deploy it again: that changes nothing, and notes it",
        ) from error


@contextmanager
def _undoing(stage: Stage, body: dict[str, Any], previous: dict[str, Any] | None) -> Iterator[None]:
    """Where the block is interrupted, put back what was live, say so, and let it through."""
    try:
        yield
    except (DeploymentError, ClusterError):
        raise
    except BaseException as error:
        fact = put_back(stage, failed=body, previous=previous)
        stage.progress(f"interrupted: {fact}")
        if isinstance(error, Terminated):
            raise Terminated(
                error.value, rule=f"{error.rule}; {fact}", remedy=error.remedy
            ) from error
        raise
