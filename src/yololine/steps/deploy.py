"""Going live: a registered version behind its endpoint, or an earlier one again.

What the component does in a run, `yololine deploy` and `yololine rollback` do without one.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yololine.errors import DeploymentError, Faults, NotFound, UsageError, YololineError, in_one
from yololine.evaluation.golden import (
    GOLDEN_FILE,
    SAME_SCORE,
    Golden,
    read_golden,
    same_places,
)
from yololine.frozen import Frozen
from yololine.inference.decoding import decode_rgb
from yololine.registry.deployments import Deployed, find_deployed, keep_deployed
from yololine.registry.versions import Version, resolve_version, version_name
from yololine.reporting.boxes import to_draw
from yololine.reporting.pictures import thumbnail
from yololine.steps.perform import LOG, Step, publish_exhibits, running, write_page, write_text
from yololine.steps.recorded import Requests, find_requests
from yololine.steps.target import Target, store_faults
from yololine.storage import Store, fetch_files, sha256_bytes
from yololine.telemetry.records import StepState, now

if TYPE_CHECKING:
    from yololine.cluster import Cluster
    from yololine.deployment import DeployRequest, ShadowReport
    from yololine.deployment.endpoint import OtherAnswer

Say = Callable[[str], None]
"""Told what happens, in sentences."""
LINEAGE = ("source_digest", "dataset_digest")
"""Of the version's lineage.json: what becomes annotations of the service."""


class Live(Frozen):
    """What a deployment or a rollback came to."""

    name: str
    """Of the model."""
    version: str
    previous_version: str
    service: str
    namespace: str
    url: str
    golden_checked: int
    seconds: float
    rollback: bool


def deploy_model(
    deployment: str,
    report: str,
    *,
    store_uri: str,
    model: str,
    rollback: bool,
    **parameters: Any,
) -> Live:
    """Put a version live and check it there, or go back to an earlier one.

    Args:
        deployment: KFP output for what answers where, JSON.
        report: KFP output for the page.
        store_uri: Root of the store.
        model: `NAME` or `NAME@VERSION`.
        rollback: Whether to go back: to `VERSION`, or without one to what was live before.
        parameters: Those of `Target`, by their names.
    """
    with running(
        "deploy_model",
        store_uri=store_uri,
        beside=report,
        parameters={
            "model_name": model.partition("@")[0],
            "model": model,
            "rollback": rollback,
            **parameters,
        },
        packages=("kubernetes",),
    ) as step:
        happened: list[dict[str, Any]] = []

        def say(sentence: str) -> None:
            LOG.info("deploy_model: %s", sentence)
            happened.append({"at": now().isoformat(), "said": sentence})
            step.update(facts={**step.record.facts, "happened": list(happened)})

        try:
            live = go_live(
                step.store,
                model,
                Target.of(parameters),
                rollback=rollback,
                run_id=step.run_id,
                say=say,
                begun=lambda version: _take(step, version),
                compared=partial(_show_recorded, step),
            )
        except DeploymentError as error:
            _show_wrong_answers(step, error)
            raise
        step.update(state=StepState.DONE, facts={**step.record.facts, **live.model_dump()})
        write_text(deployment, live.model_dump_json(indent=1))
        write_page(step, report)
    return live


def go_live(
    store: Store,
    model: str,
    target: Target,
    *,
    rollback: bool = False,
    run_id: str = "",
    say: Say,
    begun: Callable[[Version], None] = lambda _: None,
    compared: Callable[[Requests, ShadowReport], None] = lambda *_: None,
) -> Live:
    """Put a version live, or an earlier one again; and keep in the store what answers where.

    Args:
        store: Where versions are registered.
        model: `NAME` or `NAME@VERSION`; of a rollback the name is the service's where `target`
            names none, and the version the one to go back to.
        target: Where, and with what; a rollback takes what its version had.
        rollback: Whether to go back.
        run_id: Of the run that does it; empty for a command.
        say: Told what happens.
        begun: Called with the version before anything is changed.
        compared: Called with how a shadow answered recorded requests, where there were any.

    Raises:
        UsageError: There is no such version, or a parameter is wrong.
        RegistryError: The version cannot be deployed as it is registered.
        ClusterError: There is no cluster, or it does not answer.
        DeploymentError: It failed; the message says why, and what answers now.
    """
    if faults := list(target.faults()):
        raise in_one(faults)
    if rollback:
        if target.deploy_requests_uri:
            say("recorded requests are not asked: a rollback tries no version beside another")
        return _go_back(store, model, target, run_id=run_id, say=say, begun=begun)
    for fault in store_faults(store.uri):
        raise fault
    version = resolve_version(store, model)
    check_service_name(target.deploy_service or version.name)
    begun(version)
    golden = _golden(store, version) if target.deploy_golden else None
    requests = find_requests(uri) if (uri := target.deploy_requests_uri) else None
    request = request_of(
        version, target, store_uri=store.uri, lineage=_lineage(store, version, run_id)
    )
    cluster = _cluster(target)
    from yololine import deployment

    say(f"deploying {version.reference} as {request.service_name} in {cluster.namespace}")
    if requests:
        say(f"recorded requests: {requests}")

    def shadowed(report: ShadowReport) -> None:
        if requests is None:
            return
        if left_out := requests.left_out_in_words():
            say(left_out)
        compared(requests, report)

    with _keeping_trouble(store, version.name, request.service_name, cluster):
        done = deployment.deploy(
            request,
            cluster=cluster,
            golden=golden,
            progress=say,
            recorded=requests,
            compared=shadowed,
        )
    return _kept(store, version.name, done, cluster, run_id=run_id, rollback=False)


def request_of(
    version: Version, target: Target, *, store_uri: str, lineage: dict[str, str]
) -> DeployRequest:
    """What the deployment is asked for.

    Raises:
        UsageError: The service cannot have this name, or the store is none that pods can read.
    """
    from yololine.deployment import DeployRequest

    return DeployRequest(
        model=version,
        storage_uri=f"{store_uri}/{version.folder}",
        service_name=target.deploy_service or version.name,
        predictor_image=target.predictor_image,
        service_account=target.serving_account,
        replicas_min=int(target.deploy_replicas),
        replicas_max=int(target.deploy_max_replicas) or int(target.deploy_replicas),
        cpu=target.deploy_cpu,
        memory=target.deploy_memory,
        gpu_type=target.gpu_type,
        gpu_count=target.deploy_gpu_count,
        node_selector=dict(target.deploy_node_selector),
        tolerations=[dict(toleration) for toleration in target.deploy_tolerations],
        strategy=target.strategy,
        timeout_seconds=int(target.deploy_timeout_seconds),
        lineage=lineage,
    )


def check_service_name(name: str) -> None:
    """Refuse a name that a service cannot have; a model's may be longer, and begin with a digit.

    Raises:
        UsageError: It cannot.
    """
    from yololine.deployment.request import check_service_name

    try:
        check_service_name(name)
    except UsageError as error:
        raise UsageError(
            f"deploy_service={name!r}",
            rule=error.rule,
            remedy="choose another one; where none is given, it is the model's name",
        ) from error


def check_cluster(target: Target, *, model_name: str, store_uri: str) -> None:
    """Refuse a deployment that the cluster will not take, before there is a version.

    Raises:
        ClusterError: There is no cluster, or it does not answer.
        YololineError: What stands against the deployment; `Faults` where it is more than one thing.
    """
    from yololine import deployment

    to_come = Version(
        name=model_name,
        version=version_name("0" * 64),
        key="",
        promoted=True,
        files={},
        class_names=(),
        image_size=0,
        metrics={},
        registered_at=now(),
    )
    request = request_of(to_come, target, store_uri=store_uri, lineage={})
    faults = deployment.check(
        request, cluster=_cluster(target), progress=lambda said: LOG.info("preflight: %s", said)
    )
    if faults:
        raise in_one(faults)


def _go_back(
    store: Store,
    model: str,
    target: Target,
    *,
    run_id: str,
    say: Say,
    begun: Callable[[Version], None],
) -> Live:
    name, _, wanted = model.strip().partition("@")
    service = target.deploy_service or name
    check_service_name(service)
    cluster = _cluster(target)
    from yololine import deployment

    found = deployment.rollback_target(service, to_version=wanted or None, cluster=cluster)
    golden = None
    if target.deploy_golden:
        version = resolve_version(store, f"{found.model}@{found.version}")
        begun(version)
        golden = _golden(store, version)
    say(f"going back to {found.model}@{found.version} as {service} in {cluster.namespace}")
    with _keeping_trouble(store, found.model, service, cluster):
        done = deployment.rollback(
            service,
            to_version=found.version,
            cluster=cluster,
            golden=golden,
            progress=say,
            timeout_seconds=target.deploy_timeout_seconds,
            who=run_id,
        )
    return _kept(store, found.model, done, cluster, run_id=run_id, rollback=True)


def _cluster(target: Target) -> Cluster:
    from yololine.cluster import connect

    return connect(target.deploy_namespace or None)


def _golden(store: Store, version: Version) -> Golden:
    if GOLDEN_FILE not in version.files:
        raise UsageError(
            version.reference,
            rule="was registered before versions had golden images, so what it must answer is not "
            "known",
            remedy="run its training again, which registers it anew, or deploy it unchecked with "
            "deploy_golden=false",
        )
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, GOLDEN_FILE)
        fetch_files(store, [(version.files[GOLDEN_FILE], file)])
        return read_golden(file)


def _lineage(store: Store, version: Version, run_id: str) -> dict[str, str]:
    told = {"run_id": run_id}
    # Whatever becomes of it, the version itself can go live.
    with suppress(NotFound, ValueError, KeyError, AttributeError):
        lineage = json.loads(store.read_bytes(version.files["lineage.json"].path))
        told |= {name: str(lineage.get(name) or "") for name in LINEAGE}
    return told


@contextmanager
def _keeping_trouble(store: Store, name: str, service: str, cluster: Cluster) -> Iterator[None]:
    """Keep with what is known of a service why it could not be changed."""
    try:
        yield
    except YololineError as error:
        if isinstance(error, Faults) or error.retryable:
            # Found before anything was touched, or somebody else deploys this service now.
            raise
        known = find_deployed(store, name, cluster.namespace, service) or Deployed(
            name=name, namespace=cluster.namespace, service=service, cluster=cluster.server
        )
        with suppress(YololineError):
            keep_deployed(
                store, known.model_copy(update={"trouble": str(error), "trouble_at": now()})
            )
        raise


def _kept(
    store: Store, name: str, done: Any, cluster: Cluster, *, run_id: str, rollback: bool
) -> Live:
    previous = done.previous_version or ""
    keep_deployed(
        store,
        Deployed(
            name=name,
            namespace=done.namespace,
            service=done.service_name,
            version=done.version,
            url=done.url,
            cluster=cluster.server,
            previous_version=previous,
            golden_checked=done.golden_checked,
            run_id=run_id,
            at=now(),
        ),
    )
    return Live(
        name=name,
        version=done.version,
        previous_version=previous,
        service=done.service_name,
        namespace=done.namespace,
        url=done.url,
        golden_checked=done.golden_checked,
        seconds=done.seconds,
        rollback=rollback,
    )


def _take(step: Step, version: Version) -> None:
    step.takes({"version": version.key}, upstream={"register_model": version.key})
    step.update(
        # Of this attempt alone: pictures of wrong answers lie under it.
        key=sha256_bytes(f"{version.key} {step.run_id} {step.record.attempt}".encode()),
        facts={
            "name": version.name,
            "version": version.version,
            "precision": version.precision,
            "class_names": list(version.class_names),
        },
    )


def _show_wrong_answers(step: Step, error: BaseException) -> None:
    """Put what the endpoint answered wrongly beside what evaluation had answered."""
    if answers := _wrong_answers(error):
        class_names = tuple(step.record.facts.get("class_names") or ())
        step.update(
            facts={
                **step.record.facts,
                "wrong_answers": _shown(step, "golden", answers, class_names),
            }
        )


def _show_recorded(step: Step, requests: Requests, report: ShadowReport) -> None:
    """Tell how a shadow answered recorded requests, with pictures of what differs most."""
    told = {
        "uri": requests.uri,
        "found": requests.found,
        "asked": len(requests.paths),
        "left_out": list(requests.left_out),
        "answered": report.answered,
        "compared": report.compared,
        "alike": report.alike,
        "otherwise": list(report.otherwise),
        "unanswered": list(report.unanswered),
        "failed": report.failed,
        "examples": _shown(step, "recorded", report.examples, report.class_names),
    }
    step.update(facts={**step.record.facts, "recorded": told})


def _shown(
    step: Step, kind: str, answers: Sequence[OtherAnswer], class_names: Sequence[str]
) -> list[dict[str, Any]]:
    """What the page says of answers; their pictures become exhibits."""
    pictures = {
        f"{kind}-{index:02d}": thumbnail(decode_rgb(other.image.image_bytes))
        for index, other in enumerate(answers)
    }
    refs = publish_exhibits(step, pictures)
    step.update(exhibits={**step.record.exhibits, **{name: ref.path for name, ref in refs.items()}})
    return [
        {"exhibit": name, **_example(other, class_names)}
        for name, other in zip(pictures, answers, strict=True)
    ]


def _wrong_answers(error: BaseException) -> tuple[OtherAnswer, ...]:
    from yololine.deployment.endpoint import WrongAnswers

    at: BaseException | None = error
    while at is not None:
        if isinstance(at, WrongAnswers):
            return at.answers
        at = at.__cause__
    return ()


def _example(other: OtherAnswer, class_names: Sequence[str]) -> dict[str, Any]:
    image, expected, answered = other.image, other.image.detections, other.answered
    pairs = {
        here: there
        for here, there in same_places(expected, answered).items()
        if abs(float(expected.scores[here]) - float(answered.scores[there])) <= SAME_SCORE
    }

    def name(class_id: Any) -> str:
        known = 0 <= int(class_id) < len(class_names)
        return class_names[int(class_id)] if known else f"class {class_id}"

    size = {"width": image.width, "height": image.height}
    return {
        "caption": image.file_name,
        "differences": list(other.differences),
        "truth": to_draw(
            expected.boxes_xyxy,
            [name(one) for one in expected.class_ids],
            right=[i in pairs for i in range(len(expected.scores))],
            scores=expected.scores,
            **size,
        ),
        "found": to_draw(
            answered.boxes_xyxy,
            [name(one) for one in answered.class_ids],
            right=[i in pairs.values() for i in range(len(answered.scores))],
            scores=answered.scores,
            **size,
        ),
    }
