"""Preflight: everything that can be known before any work is done, in one answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from yololine.dataset.places import check_apart
from yololine.dataset.policies import builtin_policies, read_policy
from yololine.dataset.sources import (
    Layout,
    SourceFormat,
    SourceListing,
    detect_layout,
    no_file,
)
from yololine.detector.architectures import check_architecture
from yololine.detector.config import config_faults
from yololine.errors import Faults, UsageError, YololineError, in_one, without_secrets
from yololine.evaluation.promotion import class_faults, rule_faults
from yololine.registry.versions import check_model_name
from yololine.steps.parameters import check_start_weights, limit_faults
from yololine.steps.perform import log_to_stdout, refuse, running, write_page
from yololine.steps.pods import (
    accelerator_faults,
    image_faults,
    quantity_faults,
    selector_faults,
    toleration_faults,
)
from yololine.steps.recorded import find_requests
from yololine.steps.target import Target, store_faults
from yololine.storage import Entry, open_object, open_store, sha256_bytes

LEAST: dict[str, tuple[float, str]] = {
    "cpu": (0.5, "'4'"),
    "memory": (2 * 1024**3, "'16Gi'"),
}
"""The training step asks for half a core and 1 GiB: Kubernetes refuses a limit below. Shared memory
counts too."""


def preflight(report: str, *, parameters: dict[str, Any]) -> str:
    """Check all parameters, the source and the store; name every fault at once.

    Returns:
        sha256 of the augmentation policy's content.

    Args:
        report: KFP output for the page.
        parameters: The run's parameters by name.

    Raises:
        SystemExit: Something is wrong; each fault is in the log and in the record.
    """
    checks = _Checks()
    _check_parameters(checks, parameters)
    _check_places(checks, parameters)
    _check_rules(checks, parameters, _check_source(checks, parameters))
    store_works = not checks.failed("store")
    if not store_works:
        # There is nowhere to keep a record, so the words go to the log alone.
        checks.refuse_without_record()
    with running(
        "preflight",
        store_uri=parameters["store_uri"],
        beside=report,
        # A refused one may hold a password.
        parameters={
            name: without_secrets(value) if isinstance(value, str) else value
            for name, value in parameters.items()
        },
    ) as step:
        step.update(facts={"checks": checks.rows})
        write_page(step, report)
        checks.raise_faults()
    return sha256_bytes(read_policy(parameters["augmentation_policy"]))


class _Checks:
    """Checks by name, each with what it found."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.faults: list[YololineError] = []

    @contextmanager
    def check(self, name: str, detail: str = "") -> Iterator[None]:
        """One check; its block raises what is wrong."""
        try:
            yield
        except Faults as several:
            self.add(name, several.faults, detail)
        except YololineError as error:
            self.add(name, [error], detail)
        else:
            self.add(name, [], detail)

    def add(self, name: str, faults: list[YololineError], detail: str = "") -> None:
        """A check that collected its faults itself."""
        self.faults.extend(faults)
        self.rows.append(
            {
                "name": name,
                "ok": not faults,
                "detail": "\n".join(str(fault) for fault in faults) if faults else detail,
            }
        )

    def failed(self, name: str) -> bool:
        """Whether the check of this name found a fault."""
        return any(row["name"] == name and not row["ok"] for row in self.rows)

    def raise_faults(self) -> None:
        """Raise all that was found, or nothing."""
        if self.faults:
            raise in_one(self.faults)

    def refuse_without_record(self) -> None:
        """End the step on its faults, in the log only."""
        log_to_stdout()
        refuse("preflight", in_one(self.faults))


def _check_parameters(checks: _Checks, p: dict[str, Any]) -> None:
    with checks.check("model name", p["model_name"]):
        check_model_name(p["model_name"])
    with checks.check("source format", p["source_format"]):
        _one_of("source_format", p["source_format"], tuple(SourceFormat))
    with checks.check("architecture", p["architecture"]):
        check_architecture(p["architecture"])
    checks.add(
        "training",
        config_faults(
            epochs=int(p["epochs"]),
            image_size=int(p["image_size"]),
            batch_size=int(p["batch_size"]),
            seed=int(p["seed"]),
            options=p["train_options"],
        ),
        f"{int(p['epochs'])} epochs at {int(p['image_size'])} px, batch {int(p['batch_size'])}",
    )
    checks.add(
        "split",
        list(_fraction_faults(p)),
        f"val {float(p['val_fraction']):g}, test {float(p['test_fraction']):g}",
    )
    copies = int(p["augmentation_copies"])
    with checks.check("augmentation policy", p["augmentation_policy"]):
        _check_policy(p["augmentation_policy"])
    checks.add("augmentation copies", limit_faults(augmentation_copies=copies), f"{copies}")
    limited = ("max_dropped_fraction", "train_retries", "train_retry_wait_seconds")
    checks.add("limits", limit_faults(**{name: p[name] for name in limited}))
    checks.add("pod", list(_pod_faults(p)), f"{p['gpu_count']} x {p['gpu_type']}")
    _check_deployment(checks, p)


def _check_deployment(checks: _Checks, p: dict[str, Any]) -> None:
    """Also where nothing goes live, so that what is wrong is no surprise on the day it shall."""
    target = Target.of(p)
    faults: list[YololineError] = list(target.faults())
    if p["deploy"]:
        faults += store_faults(p["store_uri"])
        if uri := target.deploy_requests_uri:
            with checks.check("recorded requests", uri):
                find_requests(uri)
    if faults or not (p["deploy"] or p["deploy_service"]):
        checks.add("deployment", faults, "none")
        return
    service = p["deploy_service"] or p["model_name"]
    with checks.check("deployment", service if p["deploy"] else "none"):
        # Only now: Kubernetes' client takes a moment to import.
        from yololine.steps.deploy import check_cluster, check_service_name

        check_service_name(service)
        if p["deploy"]:
            check_cluster(target, model_name=p["model_name"], store_uri=p["store_uri"])


def _check_policy(name: str) -> None:
    read_policy(name)
    if name not in builtin_policies():
        # Only for a policy of the user's own: Albumentations takes seconds to import.
        from yololine.dataset.augmentation import load_policy

        load_policy(name)


def _fraction_faults(p: dict[str, Any]) -> Iterator[YololineError]:
    """The line needs all three splits: it trains, picks the best epoch and scores."""
    for name in ("val_fraction", "test_fraction"):
        if not 0 < float(p[name]) < 1:
            yield _fault(p, name, "must be above 0 and below 1", "use 0.15 or so")
    if float(p["val_fraction"]) + float(p["test_fraction"]) >= 1:
        yield UsageError(
            f"val_fraction={p['val_fraction']!r} and test_fraction={p['test_fraction']!r}",
            rule="leave nothing to train on",
            remedy="let them add up to less than 1, for instance 0.15 each",
        )


def _pod_faults(p: dict[str, Any]) -> Iterator[YololineError]:
    if faults := list(
        accelerator_faults(
            "gpu_count", p["gpu_count"], p["gpu_type"], zero="to train on the processor"
        )
    ):
        yield from faults
    elif int(p["gpu_count"]) > 1 and int(p["batch_size"]) % int(p["gpu_count"]):
        yield _fault(
            p,
            "batch_size",
            f"cannot be dealt out evenly to gpu_count={p['gpu_count']}",
            f"use a multiple of {p['gpu_count']}",
        )
    for name, (least, example) in LEAST.items():
        yield from quantity_faults(name, p[name], least=least, example=example)
    yield from selector_faults("node_selector", p["node_selector"])
    yield from toleration_faults("tolerations", p["tolerations"])
    for name in ("data_image", "train_image"):
        yield from image_faults(name, p[name], example="registry:5000/folder/train:0.1.0")


def _check_places(checks: _Checks, p: dict[str, Any]) -> None:
    with checks.check("store", p["store_uri"]):
        store = open_store(p["store_uri"])
        store.check_readable()
        store.check_writable()
    if p["weights_uri"] or p["weights_sha256"]:
        with checks.check("weights", p["weights_uri"]):
            _check_weights(p["weights_uri"], p["weights_sha256"])


def _check_source(checks: _Checks, p: dict[str, Any]) -> Layout | None:
    """The source's layout by the names of its files: nothing is read but what names the classes."""
    try:
        check_apart(p["source_uri"], p["store_uri"])
        source = open_store(p["source_uri"])
        # Size and MD5 have no part in it, and of a folder would take reading every file.
        names = tuple(Entry(path=path, size_bytes=0, md5="") for path in source.paths())
        if not names:
            raise no_file(source)
        layout = detect_layout(source, SourceListing(entries=names), p["source_format"])
    except YololineError as error:
        checks.add("source", [error])
        return None
    labelled = sum(pair.label is not None for pair in layout.pairs)
    told = f"{layout.source_format}: {len(layout.pairs)} pictures, {labelled} with a label file"
    checks.add("source", [], f"{p['source_uri']}, {told}")
    return layout


def _check_rules(checks: _Checks, p: dict[str, Any], layout: Layout | None) -> None:
    faults = rule_faults(p["promotion_rules"], p["min_map50"])
    if not faults and layout and layout.class_names:
        # Where the labels alone name the classes, cleaning is the first to know them.
        faults = class_faults(p["promotion_rules"], layout.class_names)
    checks.add("promotion rules", faults)


def _check_weights(weights_uri: str, sha256: str) -> None:
    check_start_weights(weights_uri, sha256)
    store, name = open_object(weights_uri)
    if not name or not store.exists(name):
        raise UsageError(
            f"weights_uri={weights_uri!r}",
            rule="is not there, or is no file",
            remedy="give the URI of the .pt file itself",
        )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(
            f"{name}={value!r}", rule="is not known", remedy=f"use one of: {', '.join(known)}"
        )


def _fault(p: dict[str, Any], name: str, rule: str, remedy: str) -> UsageError:
    return UsageError(f"{name}={p[name]!r}", rule=rule, remedy=remedy)
