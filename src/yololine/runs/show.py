"""A run or a version in the terminal: the essentials of its report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from yololine.errors import NotFound, RegistryError
from yololine.frozen import Frozen
from yololine.registry.deployments import Deployed, deployments_of
from yololine.registry.versions import Version, champion, read_version, versions_by_model
from yololine.runs.facts import fact
from yololine.runs.find import Meant, find
from yololine.runs.killed import end_killed_runs
from yololine.runs.view import RUN_LOOK, STEP_LOOK, duration
from yololine.storage import Store
from yololine.telemetry.endings import continuation_of, end_of, with_ends
from yololine.telemetry.journal import read_run, read_run_record, report_path
from yololine.telemetry.records import ErrorRecord, StepRecord, StepState, now
from yololine.telemetry.results import line_of, read_result, record_of_result
from yololine.telemetry.runs import RunState, model_name_of, state_of

_PACKAGES = ("ultralytics", "torch", "onnxruntime", "yololine")
_INDENT = 11
_UNBOUNDED = 1000
"""Columns where the output is no terminal: a line there is cut by nobody."""


class ShownRun(Frozen):
    """What there is to know of a run; its own fields, then each step's record."""

    kind: Literal["run"] = "run"
    run_id: str
    state: RunState
    store_uri: str
    model_name: str
    started_at: datetime | None
    last_sign: datetime | None
    """The end, or the last moment at which something of it was alive."""
    report: str
    """Where the report lies, empty where none was written yet."""
    logs: str
    failed_step: str
    error: ErrorRecord | None
    advice: str
    command: str
    """What goes on from here, in a run that did not succeed."""
    steps: dict[str, StepRecord]


class ShownVersion(Frozen):
    """What there is to know of a registered version."""

    kind: Literal["version"] = "version"
    store_uri: str
    uri: str
    report: str
    champion: bool
    version: Version
    lineage: dict[str, Any]
    others: tuple[str, ...]
    """Further versions of the model, where only its name was given."""
    deployed: tuple[Deployed, ...]
    """Services of the model, where only its name was given; else those with this version."""
    steps: dict[str, StepRecord]
    """The results it was made of, as far as the store still has them."""


def look_up(store: Store, what: str) -> ShownRun | ShownVersion:
    """The run or version that a person means; runs that were killed on this machine are ended.

    Raises:
        UsageError: There is no such thing, or there are several.
        RegistryError: The version is there, but cannot be read.
    """
    end_killed_runs()
    meant = find(store, what)
    return _run(store, meant.run_id) if meant.run_id else _version(store, meant)


def show(shown: ShownRun | ShownVersion, console: Console) -> None:
    """Print it; plain lines of any length where the console is no terminal."""
    parts = list(_of_run(shown) if isinstance(shown, ShownRun) else _of_version(shown))
    if console.is_terminal:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, Text))
        return
    plain = Console(width=_UNBOUNDED, color_system=None)
    with plain.capture() as captured:
        plain.print(*parts, sep="\n", highlight=False, soft_wrap=False)
    for line in captured.get().splitlines():
        console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=True)


def _run(store: Store, run_id: str) -> ShownRun:
    own, run = read_run(store, run_id), read_run_record(store, run_id)
    state = state_of(own, run, at=now())
    at_fault, error = end_of(with_ends(own, state), state)
    line = with_ends(line_of(store, own), state)
    go_on = continuation_of(run_id, run) if error else None
    path = report_path(run_id)
    return ShownRun(
        run_id=run_id,
        state=state,
        store_uri=store.uri,
        model_name=model_name_of(line, run),
        started_at=min((r.started_at for r in own.values()), default=run and run.started_at),
        last_sign=max((r.last_sign for r in own.values()), default=run and run.finished_at),
        report=f"{store.uri}/{path}" if store.exists(path) else "",
        logs=run.logs if run else "",
        failed_step=at_fault.step if at_fault else "",
        error=error,
        advice=go_on.advice if go_on else "",
        command=go_on.command if go_on else "",
        steps=line,
    )


def _version(store: Store, meant: Meant) -> ShownVersion:
    version = read_version(store, meant.model, meant.version)
    if version is None:
        raise RegistryError(
            f"{meant.model}@{meant.version}",
            rule="cannot be read: its manifest.json is damaged or of another version of yololine",
            remedy="run the training of this version again: it is registered anew",
        )
    reigning = champion(store, meant.model)
    others = [] if meant.named else sorted(versions_by_model(store).get(meant.model, ()))
    lineage: dict[str, Any] = {}
    # Whatever becomes of it, the version can be told.
    with suppress(NotFound, ValueError, KeyError):
        lineage = json.loads(store.read_bytes(version.files["lineage.json"].path))
    uri = f"{store.uri}/{version.folder}"
    return ShownVersion(
        store_uri=store.uri,
        uri=uri,
        report=f"{uri}/report.html" if "report.html" in version.files else "",
        champion=reigning is not None and reigning.version == version.version,
        version=version,
        lineage=lineage,
        others=tuple(name for name in others if name != version.version),
        deployed=tuple(
            one
            for one in deployments_of(store, meant.model)
            if not meant.named or one.version == version.version
        ),
        steps={
            step: record_of_result(result, result.made_in_run)
            for step, of_step in (lineage.get("steps") or {}).items()
            if (result := read_result(store, step, str(of_step.get("key"))))
        },
    )


def _of_run(run: ShownRun) -> Iterator[Text | Table | Padding]:
    took = ""
    if run.started_at and run.last_sign and run.state is not RunState.RUNNING:
        took = f" after {duration((run.last_sign - run.started_at).total_seconds())}"
    head = Text().append(run.run_id, "bold").append(" ").append(run.state, RUN_LOOK[run.state])
    yield _row("run", head.append(took))
    if run.started_at:
        since = "last sign of life" if run.state is RunState.KILLED else "ended"
        told = f"begun {_moment(run.started_at)}"
        if run.last_sign and run.state is not RunState.RUNNING:
            told += f", {since} {_moment(run.last_sign)}"
        yield _row("time", told)
    if run.model_name:
        yield _row("model", run.model_name)
    yield _row("store", run.store_uri)
    yield Text()
    yield _steps(run.steps)
    yield Text()
    for record in run.steps.values():
        for note in record.notes:
            yield _row("note", f"{record.step}: {note}")
        for attempt in record.earlier:
            how = "cut off" if attempt.state is StepState.RUNNING else attempt.state
            words = f": {attempt.error.message}" if attempt.error else " without a word"
            yield _row("earlier", f"{record.step}, attempt {attempt.attempt} {how}{words}")
    yield from _data(run.steps)
    scores = run.steps["evaluate_detector"].facts if "evaluate_detector" in run.steps else {}
    yield from _scores(scores)
    yield from _decision(run.steps)
    if "register_model" in run.steps and run.steps["register_model"].facts:
        facts = run.steps["register_model"].facts
        yield _row("version", f"{facts.get('name')}@{facts.get('version')}")
        yield _row("", str(facts.get("uri", "")))
    if (live := run.steps.get("deploy_model")) and live.facts.get("url"):
        facts = live.facts
        yield _row("live", f"{facts.get('version')} at {facts['url']}")
        yield _row("", f"{facts.get('golden_checked', 0)} golden images answered as evaluated")
        if recorded := facts.get("recorded"):
            told = f"{recorded['answered']} recorded requests answered"
            if compared := recorded["compared"]:
                told = f"{recorded['alike']} of {compared} recorded requests answered as before"
            yield _row("", told)
    source = run.steps.get("resolve_source")
    yield from _lineage(run.steps, source.facts.get("source_uri", "") if source else "")
    if not run.logs and (images := _images(run.steps)):
        yield _row("images", images)
    if run.report:
        yield _row("report", run.report)
    if run.logs:
        log = Path(run.logs, f"{run.failed_step}.log") if run.failed_step else Path(run.logs)
        yield _row("log", str(log))
    if run.error:
        where = f"{run.failed_step}: " if run.failed_step else ""
        yield Text()
        yield _row("error", Text(f"{where}{run.error.message}", "red"))
        if run.error.remedy and run.error.remedy not in run.error.message:
            yield _row("remedy", run.error.remedy)
        at = run.steps[run.failed_step].progress if run.failed_step else None
        if at:
            yield _row("kept", f"training after epoch {at.epoch} of {at.epochs}")
        yield _row("go on", run.advice)
        if run.command:
            yield Text(f"  {run.command}", "bold")


def _of_version(shown: ShownVersion) -> Iterator[Text | Table | Padding]:
    version = shown.version
    head = Text(f"{version.name}@{version.version}", "bold")
    word = "champion" if shown.champion else "promoted" if version.promoted else "not promoted"
    yield _row("version", head.append(f" {word}", "green" if version.promoted else "yellow"))
    yield _row("time", f"registered {_moment(version.registered_at)}")
    yield _row("where", shown.uri)
    yield _row("input", f"{version.image_size} px, {len(version.class_names)} classes")
    yield from _data(shown.steps)
    yield from _scores(version.metrics)
    yield from _lineage(shown.steps, str(shown.lineage.get("source_uri") or ""))
    for file in version.files.values():
        yield _row("file", f"{Path(file.path).name} {file.size_bytes} B sha256 {file.sha256}")
    if shown.report:
        yield _row("report", shown.report)
    for deployed in shown.deployed:
        yield from _of_service(deployed)
    if shown.others:
        yield _row("others", ", ".join(shown.others))


def _of_service(deployed: Deployed) -> Iterator[Text]:
    where = f"{deployed.service} in {deployed.namespace}"
    if deployed.version and deployed.at:
        yield _row("live", f"{where}: version {deployed.version}, since {_moment(deployed.at)}")
        yield _row("", deployed.url)
    if deployed.trouble and deployed.trouble_at:
        yield _row("trouble", f"{where}, {_moment(deployed.trouble_at)}: {deployed.trouble}")


def _steps(steps: Mapping[str, StepRecord]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "left", "left", "right"):
        table.add_column(no_wrap=True, justify=justify)
    table.add_column()
    for step, record in steps.items():
        symbol, style = STEP_LOOK[record.state]
        table.add_row(
            Text(symbol, style),
            step,
            Text(record.state, style),
            duration(record.seconds),
            Text(_fact(record), overflow="ellipsis", no_wrap=True),
        )
    return table


def _fact(record: StepRecord) -> str:
    told = fact(record)
    if record.state is StepState.REUSED and record.made_seconds is not None:
        told += f", took {duration(record.made_seconds)}"
    if record.state is StepState.RUNNING and record.progress:
        told = f"epoch {record.progress.epoch} of {record.progress.epochs}"
    return told


def _data(steps: Mapping[str, StepRecord]) -> Iterator[Text]:
    # Records of another version may tell it otherwise: then there is nothing to tell.
    with suppress(LookupError, TypeError):
        facts = steps["clean_dataset"].facts
        images, boxes = facts["images"], facts["boxes"]
        yield _row(
            "data",
            f"{images['kept']} images kept, {images['dropped']} dropped; "
            f"{boxes['kept']} objects kept, {boxes['dropped']} dropped",
        )
        counts = facts["objects_per_class"]
        yield _row("classes", ", ".join(f"{count} {name}" for name, count in counts.items()))
    with suppress(LookupError, TypeError):
        counts = steps["split_dataset"].facts["counts"]
        yield _row("split", ", ".join(f"{c['images']} {name}" for name, c in counts.items()))


def _scores(metrics: Mapping[str, Any]) -> Iterator[Text | Padding]:
    if not metrics.get("per_class"):
        return
    yield Text()
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for _ in range(6):
        table.add_column(no_wrap=True, justify="right")
    table.add_row(
        *(Text(name, "dim") for name in ("class", "AP50", "AP50-95")),
        *(Text(name, "dim") for name in ("precision", "recall", "F1", "objects")),
    )
    for name, row in metrics["per_class"].items():
        table.add_row(
            Text(str(name)),
            *(_fraction(row.get(key)) for key in ("ap50", "ap50_95", "precision", "recall", "f1")),
            str(row.get("objects", "")),
        )
    mean = [_fraction(metrics.get(key)) for key in ("ap50", "ap50_95")]
    table.add_row(Text("mean", "bold"), *(Text(value, "bold") for value in mean))
    yield Padding(table, (0, 0, 0, _INDENT))
    yield Text()


def _decision(steps: Mapping[str, StepRecord]) -> Iterator[Text]:
    facts = steps["decide_promotion"].facts if "decide_promotion" in steps else {}
    if "promoted" in facts:
        said = Text("promoted", "green") if facts["promoted"] else Text("not promoted", "yellow")
        yield _row("verdict", said)
        for reason in facts.get("reasons") or ():
            yield _row("", str(reason))


def _images(steps: Mapping[str, StepRecord]) -> str:
    """The container images that a run on a cluster was asked to use."""
    asked = steps["preflight"].parameters if "preflight" in steps else {}
    images = [str(asked[name]) for name in ("data_image", "train_image") if asked.get(name)]
    return ", ".join(images)


def _lineage(steps: Mapping[str, StepRecord], source_uri: str) -> Iterator[Text]:
    """Which data and which software made the model."""
    none: dict[str, Any] = {}

    def facts(step: str) -> dict[str, Any]:
        return steps[step].facts if step in steps else none

    def digest(step: str) -> str:
        return steps[step].digest or steps[step].key if step in steps else ""

    cleaned, weights = steps.get("clean_dataset"), facts("prepare_weights")
    source_digest = cleaned.inputs.get("source", "") if cleaned else digest("resolve_source")
    start = ", ".join(str(weights[name]) for name in ("architecture", "origin") if name in weights)
    versions: dict[str, str] = {}
    for record in steps.values():
        versions |= record.versions
    trained = steps.get("train_detector")
    told = [
        ("source", f"{source_uri} {source_digest}".strip()),
        ("dataset", digest("clean_dataset")),
        ("split by", digest("split_dataset")),
        ("weights", f"{start} {weights.get('sha256') or ''}".strip()),
        ("training", trained.key if trained else ""),
        ("trained in", trained.made_in_run if trained else ""),
        ("software", ", ".join(f"{p} {versions[p]}" for p in _PACKAGES if p in versions)),
    ]
    for name, value in told:
        if value:
            yield _row(name, value)


def _row(name: str, value: str | Text) -> Text:
    text = Text().append(f"{name:{_INDENT - 1}} ", "dim")
    return text.append(value)


def _fraction(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, (int, float)) else "-"


def _moment(value: datetime) -> str:
    return f"{value.astimezone():%Y-%m-%d %H:%M:%S %z}"
