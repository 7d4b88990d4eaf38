"""The run report: a view of the journal, so it is right whoever renders it and when."""

from __future__ import annotations

from collections.abc import Mapping

from yololine.errors import YololineError
from yololine.reporting.pages import render_run_report
from yololine.steps.perform import (
    LOG,
    read_exhibits,
    read_result,
    record_of_result,
    run_id_of,
    running,
    write_text,
)
from yololine.storage import Store, open_store
from yololine.telemetry.journal import read_run
from yololine.telemetry.records import STEPS, ErrorRecord, StepRecord, StepState

GOES_ON = "Retry this run in Kubeflow Pipelines, or start it again with the same parameters"
"""What goes on from a run that did not succeed, where no command line started it."""
STATES = {
    "COMPLETE": "succeeded",  # a backend's word
    "SUCCEEDED": "succeeded",  # kfp.local's
    "FAILED": "failed",
    "RUNNING": "terminated",  # what a backend says of a run that was terminated
}


def report_run(report: str, *, store_uri: str, model_name: str, state: str) -> None:
    """Write the run report, as the exit handler of the line.

    Args:
        report: KFP output for the page.
        store_uri: Root of the store.
        model_name: Name of the model in the registry.
        state: KFP's word for how the run ended.
    """
    run_id = run_id_of(report)
    word = STATES.get(state, "failed")
    try:
        open_store(store_uri).check_writable()
    except YololineError as error:
        # A failing step's outputs are not kept, and this page is the place to read why.
        LOG.error("error: report_run: %s", error)
        write_text(report, _unreachable(run_id, model_name, error))
        return
    with running(
        "report_run",
        store_uri=store_uri,
        beside=report,
        parameters={"model_name": model_name, "state": state},
    ) as step:
        page = _page(step.store, run_id, model_name, word, GOES_ON)
        _keep(step.store, run_id, page)
        write_text(report, page)


def report_run_from_journal(
    *, store_uri: str, run_id: str, model_name: str, state: str, hint: str = ""
) -> str:
    """Render a run's report from its journal and keep it; return its path or URI.

    Args:
        store_uri: Root of the store.
        run_id: The run.
        model_name: Name of the model in the registry.
        state: succeeded, failed, terminated or running.
        hint: The command that goes on from here.
    """
    store = open_store(store_uri)
    return _keep(store, run_id, _page(store, run_id, model_name, state, hint))


def line_of(store: Store, run_id: str) -> dict[str, StepRecord]:
    """Every step's record of a run in the line's order, those that KFP's cache skipped included."""
    records = read_run(store, run_id)
    line = dict(records)
    for record in records.values():
        line |= behind(store, record, records) | records
    return {step: line[step] for step in STEPS if step in line}


def behind(
    store: Store, record: StepRecord, own: Mapping[str, StepRecord]
) -> dict[str, StepRecord]:
    """The records of all that a record's result was made of, itself included.

    A step that this run executed is told by its own record; one that KFP's cache skipped by its
    result, which the steps behind it name by its key.

    Args:
        store: Holds the results.
        record: Where to start.
        own: What the run executed.
    """
    found: dict[str, StepRecord] = {record.step: record}
    pending = [record]
    while pending:
        for name, key in pending.pop().upstream.items():
            if name in found:
                continue
            result = None if name in own and own[name].key == key else read_result(store, name, key)
            upstream = record_of_result(result, record.run_id) if result else own.get(name)
            if upstream:
                found[name] = upstream
                pending.append(upstream)
    return {step: found[step] for step in STEPS if step in found}


def exhibits_of(store: Store, records: dict[str, StepRecord]) -> dict[str, bytes]:
    """The pictures of every record."""
    pictures: dict[str, bytes] = {}
    for record in records.values():
        pictures |= read_exhibits(store, record)
    return pictures


def _page(store: Store, run_id: str, model_name: str, state: str, hint: str) -> str:
    records = line_of(store, run_id)
    if state in {"terminated", "failed"}:
        records = {name: _ended(record) for name, record in records.items()}
    return render_run_report(
        run_id=run_id,
        model_name=model_name,
        state=state,
        error=None,
        records=records,
        exhibits=exhibits_of(store, records),
        hint=hint,
    )


def _ended(record: StepRecord) -> StepRecord:
    """A step that was running when the run ended did not end itself."""
    if record.state is StepState.RUNNING and record.step != "report_run":
        return record.model_copy(update={"state": StepState.TERMINATED})
    return record


def _keep(store: Store, run_id: str, page: str) -> str:
    path = f"runs/{run_id}/report.html"
    store.write_bytes(path, page.encode())
    return f"{store.uri}/{path}"


def _unreachable(run_id: str, model_name: str, error: YololineError) -> str:
    return render_run_report(
        run_id=run_id,
        model_name=model_name,
        state="failed",
        error=ErrorRecord(kind=error.kind, message=str(error), remedy=error.remedy),
        records={},
        exhibits={},
    )
