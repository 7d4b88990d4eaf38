"""The page of a run and the page of a step: self-contained HTML, no request to anywhere."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import jinja2

from yololine import __version__
from yololine.reporting import words
from yololine.reporting.boxes import Panel, panel
from yololine.reporting.exhibits import Embedded, Exhibits
from yololine.reporting.mistakes import frequent_mistakes
from yololine.reporting.palette import class_colour
from yololine.reporting.plots import PrecisionRecall, precision_recall, training_charts
from yololine.reporting.timeline import Timeline, is_reused, ran_in, timeline
from yololine.telemetry.endings import Continuation, end_of, with_ends
from yololine.telemetry.records import STEPS, Attempt, ErrorRecord, StepRecord, StepState, now
from yololine.telemetry.runs import DEPLOYMENT, EXIT_HANDLER, RunState, steps_of

_GROUPS: tuple[tuple[str, dict[str, str]], ...] = (
    (
        "Result",
        {
            "deploy_model": "Deployment",
            "decide_promotion": "Decision",
            "evaluate_detector": "Test results",
        },
    ),
    (
        "Model",
        {
            "train_detector": "Training",
            "prepare_weights": "Start weights",
            "export_detector": "Export",
            "register_model": "Registered version",
        },
    ),
    (
        "Data",
        {
            "resolve_source": "Source",
            "clean_dataset": "Cleaning",
            "split_dataset": "Split",
            "augment_dataset": "Augmentation",
            "build_test_set": "Test set",
        },
    ),
    ("Record", {"preflight": "Checks"}),
)
"""Sections in the order of the page: what came of the run, then how, then what it was made of."""

_HEADINGS = {step: heading for _, steps in _GROUPS for step, heading in steps.items()}
_LISTED = 200
"""Rows of a list of files: a source with ten thousand faults must not make a page of megabytes."""
_ENGINES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}
_MANY = 14
"""Classes above which a matrix cannot be read at a glance, nor a plot of each."""
_MOST = 100
"""Classes above which there is no matrix, and plots of so many of the weakest."""
_PAGE_BYTES = 4_900_000
"""A page of more than 5 MB opens slowly in the pipelines UI, and is not sent by mail."""
_PICTURES_BYTES = (3_000_000, 1_500_000, 0)
"""Of pictures on a page: fewer where the words and tables take the room."""
_RESULTS = set(_HEADINGS) - {"preflight", "resolve_source", "deploy_model"}
"""Steps whose results a later run can take as they are."""
_FINISHED = (StepState.DONE, StepState.REUSED)
_ENDED_EARLY = (StepState.FAILED, StepState.TERMINATED)
_FAILURES = {
    RunState.FAILED: "Failed",
    RunState.TERMINATED: "Terminated",
    RunState.KILLED: "Killed",
}


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One key number in the page's head."""

    name: str
    value: str
    sub: str = ""


class NavEntry(NamedTuple):
    """A link to a section; `mark` is the icon of a step that ended early, or empty."""

    anchor: str
    label: str
    mark: str = ""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Where and why a run ended early, and what is left of it: (step's title, digest) pairs."""

    step: str
    headline: str
    error: ErrorRecord | None
    progress: str
    kept: tuple[tuple[str, str], ...]


def render_run_report(
    *,
    run_id: str,
    model_name: str,
    state: RunState,
    error: ErrorRecord | None,
    records: Mapping[str, StepRecord],
    exhibits: Mapping[str, bytes],
    go_on: Continuation | None = None,
    pipeline: str = "",
) -> str:
    """The whole run on one page.

    Args:
        run_id: Of this run; a record of another run counts as reused.
        model_name: The page's title; empty where no step got to know it.
        state: How the run stands.
        error: Of the run; the failed step's own where None.
        records: By step. A step that is missing is shown as not run.
        exhibits: Name -> JPEG or PNG. One that is missing leaves a small placeholder.
        go_on: How it goes on from here, shown where the run did not succeed.
        pipeline: Which one it is a run of, where that is known.
    """
    ended = state is not RunState.RUNNING
    line = timeline(records, run_id=run_id, running_at=None if ended else now(), pipeline=pipeline)
    sections = list(_sections(records))
    notes = [(_heading(step), note) for step, r in records.items() for note in r.notes]
    failure = None
    if state in _FAILURES:
        failure = _failure(state, error, records, run_id, pipeline)
    attempts = list(_attempts(records))
    provenance = _provenance(records)
    parameters = _parameters(records)
    nav: dict[str, list[NavEntry]] = {"Run": []}
    if failure:
        mark = "failed" if state is RunState.FAILED else "terminated"
        nav["Run"].append(NavEntry("failure", "What happened", mark))
    if notes:
        nav["Run"].append(NavEntry("notes", "Worth knowing"))
    nav["Run"].append(NavEntry("steps", "Steps"))
    if attempts:
        nav["Run"].append(NavEntry("attempts", "Earlier attempts"))
    for record, heading in sections:
        group = next((name for name, steps in _GROUPS if record.step in steps), "Record")
        mark = record.state.value if record.state in _ENDED_EARLY else ""
        nav.setdefault(group, []).append(NavEntry(record.step, heading, mark))
    if parameters:
        nav.setdefault("Record", []).append(NavEntry("parameters", "Parameters"))
    if provenance:
        nav.setdefault("Record", []).append(NavEntry("provenance", "Digests and versions"))
    promoted: bool | None = _facts(records, "decide_promotion").get("promoted")
    deployed = _facts(records, DEPLOYMENT)
    return _render(
        "report.html",
        records,
        exhibits,
        run_id=run_id,
        model_name=model_name or "Training run",
        state=state.value,
        run_ended=ended,
        promoted=promoted if ended else None,
        version=_facts(records, "register_model").get("version"),
        live=deployed.get("version") if deployed.get("url") else None,
        only_deploys=steps_of(records, pipeline=pipeline)[0] == DEPLOYMENT,
        started_at=_start(records, run_id),
        tiles=list(_tiles(records, line)),
        failure=failure,
        go_on=go_on,
        notes=notes,
        attempts=attempts,
        timeline=line,
        sections=sections,
        anchors={record.step for record, _ in sections},
        nav=nav,
        parameters=parameters,
        provenance=provenance,
        versions=_versions(records),
        show_state=True,
    )


def render_step_page(record: StepRecord, exhibits: Mapping[str, bytes]) -> str:
    """The page of one step, with the same sections as the report's."""
    records = {record.step: record}
    return _render(
        "step.html",
        records,
        exhibits,
        run_id=record.run_id,
        run_ended=False,
        record=record,
        heading=STEPS.get(record.step, words.spaced(record.step).capitalize()),
        parameters=record.parameters,
        provenance=_provenance(records),
        versions=_versions(records),
        show_state=False,
    )


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("yololine.reporting"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        # A fact that a record of another version lacks is an empty place, not the end of the page.
        undefined=jinja2.ChainableUndefined,
    )
    environment.globals.update(
        ENGINES=_ENGINES,
        LISTED=_LISTED,
        MANY=_MANY,
        MOST=_MOST,
        MISSING=words.MISSING,
        yololine_version=__version__,
    )
    environment.filters.update(
        count=words.count,
        duration=words.duration,
        fraction=words.fraction,
        is_reused=is_reused,
        largest=words.largest,
        latency=words.latency,
        metric=words.metric,
        mistakes=frequent_mistakes,
        moment=words.moment,
        parts=words.parts,
        pictured=_pictured,
        pretty=words.pretty,
        percent=words.percent,
        plain=words.plain,
        plural=words.plural,
        pr_plots=_precision_recall_plots,
        sentence=words.sentence,
        share=words.share,
        short_id=words.short_id,
        significant=words.significant,
        size=words.size,
        spaced=words.spaced,
        total=words.total,
        training_charts=training_charts,
        weakest=_weakest,
        without=words.without,
    )
    return environment


def _render(
    template: str,
    records: Mapping[str, StepRecord],
    exhibits: Mapping[str, bytes],
    **context: Any,
) -> str:
    indices = {name: index for index, name in enumerate(_class_names(records))}

    def class_colours(name: str) -> str:
        return class_colour(indices.setdefault(name, len(indices)))

    def drawn(boxes: Any, picture: Embedded, wrong: str) -> Panel:
        size = {"width": picture.width, "height": picture.height}
        return panel(boxes, **size, wrong=wrong, colours=class_colours)

    page = ""
    for budget_bytes in _PICTURES_BYTES:
        page = (
            _environment()
            .get_template(template)
            .render(
                pictures=Exhibits(exhibits, budget_bytes=budget_bytes),
                class_colours=class_colours,
                drawn=drawn,
                written_at=now(),
                **context,
            )
        )
        if len(page.encode()) < _PAGE_BYTES:
            break
    return page


def _facts(records: Mapping[str, StepRecord], step: str) -> dict[str, Any]:
    return records[step].facts if step in records else {}


def _heading(step: str) -> str:
    return _HEADINGS.get(step) or STEPS.get(step) or words.spaced(step).capitalize()


def _class_names(records: Mapping[str, StepRecord]) -> list[str]:
    """In the dataset's order, so that a class has the colour its boxes have in the pictures."""
    for record in records.values():
        for names in (
            record.facts.get("class_names"),
            [
                label
                for label in (record.facts.get("confusion") or {}).get("labels") or ()
                if label != "background"
            ],
            record.facts.get("objects_per_class"),
        ):
            if names:
                return [str(name) for name in names]
    return []


def _start(records: Mapping[str, StepRecord], run_id: str) -> datetime | None:
    return min((r.started_at for r in records.values() if ran_in(r, run_id)), default=None)


def _sections(records: Mapping[str, StepRecord]) -> Iterator[tuple[StepRecord, str]]:
    order = [*_HEADINGS, *(step for step in records if step not in _HEADINGS)]
    for step in order:
        record = records.get(step)
        if record is not None and step != EXIT_HANDLER and (record.facts or record.error):
            yield record, _heading(step)


def _tiles(records: Mapping[str, StepRecord], line: Timeline) -> Iterator[Tile]:
    deployed = _facts(records, DEPLOYMENT)
    if deployed.get("golden_checked"):
        yield Tile(
            name="Golden images",
            value=words.count(deployed["golden_checked"]),
            sub="answered as evaluated",
        )
    scores = _facts(records, "evaluate_detector")
    minimums = {
        rule.get("metric"): rule.get("minimum")
        for rule in _facts(records, "decide_promotion").get("rules") or ()
    }
    for key in ("ap50", "ap50_95"):
        if scores.get(key) is not None:
            least = minimums.get(key)
            sub = (
                "on the test set" if least is None else f"at least {words.fraction(least, 2)} asked"
            )
            yield Tile(name=words.metric(key), value=words.fraction(scores[key]), sub=sub)
    if scores.get("images") is not None:
        latency = scores.get("latency_ms")
        sub = f"{words.latency(latency)} each" if latency else ""
        yield Tile(name="Test images", value=words.count(scores["images"]), sub=sub)
    cleaned = _facts(records, "clean_dataset")
    images, boxes = cleaned.get("images") or {}, cleaned.get("boxes") or {}
    if images:
        yield Tile(
            name="Images",
            value=words.count(images.get("kept")),
            sub=words.plural(boxes.get("kept"), "object"),
        )
        files = cleaned.get("files") or {}
        yield Tile(
            name="Dropped",
            value=words.plural(files.get("dropped") or 0, "file"),
            sub=words.plural(boxes.get("dropped") or 0, "box", "boxes"),
        )
    if line.working_seconds is not None:
        saved = line.saved_seconds
        yield Tile(
            name="Time",
            value=words.duration(line.working_seconds),
            sub=f"{words.duration(saved)} reused" if saved >= 1 else "",
        )


def _failure(
    state: RunState,
    error: ErrorRecord | None,
    records: Mapping[str, StepRecord],
    run_id: str,
    pipeline: str,
) -> Failure:
    own = {step: record for step, record in records.items() if record.run_id == run_id}
    at_fault, told = end_of(with_ends(own, state), state)
    headline, progress = _FAILURES[state], ""
    if at_fault is not None:
        line = [step for step in steps_of(records, pipeline=pipeline) if step != EXIT_HANDLER]
        title = STEPS.get(at_fault.step, words.spaced(at_fault.step))
        headline += (
            f" at step {line.index(at_fault.step) + 1} of {len(line)}: {title}"
            if at_fault.step in line
            else f" at: {title}"
        )
        if at_fault.progress is not None:
            done = at_fault.progress
            progress = f"Training is kept after epoch {done.epoch} of {done.epochs}."
    kept = tuple(
        (_heading(step), record.digest or record.key)
        for step, record in records.items()
        if record.state in _FINISHED and record.key and step in _RESULTS
    )
    return Failure(
        step=at_fault.step if at_fault else "",
        headline=headline,
        error=error or told,
        progress=progress,
        kept=kept,
    )


def _attempts(records: Mapping[str, StepRecord]) -> Iterator[tuple[str, Attempt]]:
    """Each attempt before a step's last one, with the step's heading."""
    for step, record in records.items():
        for attempt in record.earlier:
            yield _heading(step), attempt


def _parameters(records: Mapping[str, StepRecord]) -> dict[str, Any]:
    """Preflight sees every parameter; without it, what the steps saw between them."""
    if "preflight" in records and records["preflight"].parameters:
        return records["preflight"].parameters
    return {key: value for r in records.values() for key, value in r.parameters.items()}


def _provenance(
    records: Mapping[str, StepRecord],
) -> list[tuple[str, list[tuple[str, str]]]]:
    rows = []
    for step, record in records.items():
        names = [("key", record.key), ("digest", record.digest)]
        names += [(f"input {name}", digest) for name, digest in record.inputs.items()]
        if named := [(name, digest) for name, digest in names if digest]:
            rows.append((_heading(step), named))
    return rows


def _versions(records: Mapping[str, StepRecord]) -> list[tuple[str, str, str]]:
    """(package, version, headings of the steps that ran with it)."""
    steps: dict[tuple[str, str], list[str]] = {}
    for step, record in records.items():
        for package, version in record.versions.items():
            steps.setdefault((package, version), []).append(_heading(step))
    telling = sum(bool(record.versions) for record in records.values())
    return [
        (package, version, "all" if len(named) == telling else ", ".join(named))
        for (package, version), named in sorted(steps.items())
    ]


def _precision_recall_plots(facts: dict[str, Any]) -> list[PrecisionRecall]:
    scores = facts.get("per_class") or {}
    plots = (
        precision_recall(name, curve or {}, scores.get(name) or {})
        for name, curve in (facts.get("pr_curves") or {}).items()
    )
    drawn = [plot for plot in plots if plot is not None]
    return sorted(drawn, key=lambda plot: plot.ap50 or 0.0) if len(drawn) >= _MANY else drawn


def _weakest(per_class: dict[str, Any], most: int) -> list[tuple[str, Any]]:
    """All classes in their order, or of too many the weakest."""
    rows = list(per_class.items())
    if len(rows) <= most:
        return rows
    return sorted(rows, key=lambda row: (row[1] or {}).get("ap50") or 0.0)[:most]


def _pictured(faults: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """The first fault of each picture, and how many more the picture shows."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for fault in faults:
        if fault.get("exhibit"):
            shown.setdefault(fault["exhibit"], []).append(fault)
    return [(of_one[0], len(of_one) - 1) for of_one in shown.values()]
