"""The run report: a view of the journal, so it is right whoever renders it and when."""

from __future__ import annotations

import re

from yololine.errors import YololineError
from yololine.reporting.pages import render_run_report
from yololine.steps.perform import LOG, read_exhibits, run_id_of, running, write_text
from yololine.storage import Store, open_store
from yololine.telemetry.endings import continuation_of, with_ends
from yololine.telemetry.journal import read_run, read_run_record, report_path
from yololine.telemetry.records import ErrorRecord, StepRecord, StepState, now
from yololine.telemetry.results import line_of
from yololine.telemetry.runs import (
    EXIT_HANDLER,
    RunState,
    last_step,
    model_name_of,
    pipeline_of,
    state_of,
)

STATES = {
    "COMPLETE": RunState.SUCCEEDED,  # a backend's word
    "SUCCEEDED": RunState.SUCCEEDED,  # kfp.local's
    "FAILED": RunState.FAILED,
    "RUNNING": RunState.TERMINATED,  # what a backend says of a run that was terminated
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
    ended = STATES.get(state, RunState.FAILED)
    try:
        open_store(store_uri).check_writable()
    except YololineError as error:
        # A failing step's outputs are not kept, and this page is the place to read why.
        LOG.error("error: report_run: %s", error)
        write_text(report, _unreachable(run_id, model_name, error))
        return
    with running(
        EXIT_HANDLER,
        store_uri=store_uri,
        beside=report,
        parameters={
            "model_name": model_name,
            "state": ended,
            "state_of_kfp": state,
            "pipeline": _pipeline_of(report),
        },
    ) as step:
        page = _page(step.store, run_id, ended)
        _keep(step.store, run_id, page)
        write_text(report, page)


def report_run_from_journal(*, store_uri: str, run_id: str) -> str:
    """Render a run's report from its journal and keep it; return its path or URI.

    Args:
        store_uri: Root of the store.
        run_id: The run.
    """
    store = open_store(store_uri)
    return _keep(store, run_id, _page(store, run_id))


def renew_report(store: Store, record: StepRecord) -> None:
    """Write a run's report where one is there already, or where this step has ended the run.

    The exit handler writes the report of a run that nobody retries; after a retry in KFP it is not
    run again, and its page would go on telling of the failure.

    Args:
        store: Holds the journal.
        record: What the step has just written there.
    """
    ends = record.state in {StepState.FAILED, StepState.TERMINATED} or (
        record.state is not StepState.RUNNING
        and record.step == last_step(read_run(store, record.run_id))
    )
    if ends or store.exists(report_path(record.run_id)):
        _keep(store, record.run_id, _page(store, record.run_id))


def exhibits_of(store: Store, records: dict[str, StepRecord]) -> dict[str, bytes]:
    """The pictures of every record."""
    pictures: dict[str, bytes] = {}
    for record in records.values():
        pictures |= read_exhibits(store, record)
    return pictures


def _page(store: Store, run_id: str, ended: RunState | None = None) -> str:
    """The page of a run that stands as the caller knows, or else as the journal tells."""
    own, run = read_run(store, run_id), read_run_record(store, run_id)
    pipeline = pipeline_of(own, run)
    state = ended or state_of(own, run, at=now())
    records = with_ends(line_of(store, own), state)
    return render_run_report(
        run_id=run_id,
        model_name=model_name_of(records, run),
        state=state,
        error=None,
        records=records,
        exhibits=exhibits_of(store, records),
        go_on=continuation_of(run_id, run),
        pipeline=pipeline,
    )


def _pipeline_of(report: str) -> str:
    """Which of the compiled pipelines this is a run of, by the path of an output.

    In a run whose first pod was lost, no other step has said a word. Kubeflow names the pipeline in
    the paths of its runs' artifacts; one of somebody's own has another name.
    """
    named = re.search(r"/yololine-(training|deployment)(?=[/-])", report)
    return named[1] if named else ""


def _keep(store: Store, run_id: str, page: str) -> str:
    path = report_path(run_id)
    store.write_bytes(path, page.encode())
    return f"{store.uri}/{path}"


def _unreachable(run_id: str, model_name: str, error: YololineError) -> str:
    return render_run_report(
        run_id=run_id,
        model_name=model_name,
        state=RunState.FAILED,
        error=ErrorRecord(kind=error.kind, message=str(error), remedy=error.remedy),
        records={},
        exhibits={},
        go_on=continuation_of(run_id, None),
    )
