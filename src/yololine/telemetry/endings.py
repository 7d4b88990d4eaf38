"""How a run that did not succeed ended: where, in which words, and how it goes on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from yololine.telemetry.records import ErrorRecord, StepRecord, StepState
from yololine.telemetry.runs import EXIT_HANDLER, RunRecord, RunState

RETRY = "curl -X POST http://localhost:8888/apis/v2beta1/runs/{run_id}:retry"
"""What the Retry button of KFP's UI calls; kfp's own command has no word for it (kfp 2.17)."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_CUT_OFF = {
    RunState.FAILED: ErrorRecord(
        kind="RunError",
        message="the step's process ended without a word in the journal: its pod was lost, or "
        "killed for memory",
        remedy="look at the pod's events and at the end of its log; where its memory ran out, "
        "raise the limit",
    ),
    RunState.TERMINATED: ErrorRecord(
        kind="Terminated",
        message="the run was terminated while this step ran",
        remedy="run it again: it goes on from what is done",
    ),
    RunState.KILLED: ErrorRecord(
        kind="Killed",
        message="the step has given no sign of life since: its process or pod was killed or lost",
        remedy="look at the pod's events, or the machine's log; then run it again: it goes on from "
        "what is done",
    ),
}
"""What is said of a step that says it runs in a run that has ended."""
_BETWEEN_STEPS = {
    RunState.FAILED: ErrorRecord(
        kind="RunError",
        message="no step left a word: the pod of the next one was not started, or was lost before "
        "its first line",
        remedy="look at the run's graph and its pods' events: an image that cannot be pulled, a "
        "quota, no node that fits",
    ),
    RunState.TERMINATED: ErrorRecord(
        kind="Terminated", message="the run was terminated while no step ran"
    ),
    RunState.KILLED: ErrorRecord(
        kind="Killed", message="the run's processes were killed while no step ran"
    ),
}
"""What is said of a run that ended while no step was running."""


@dataclass(frozen=True, kw_only=True)
class Continuation:
    """How a run that did not succeed goes on: a sentence, and a command where there is one."""

    advice: str
    command: str = ""


def continuation_of(run_id: str, run: RunRecord | None) -> Continuation:
    """How a run goes on, by the command that started it or by what Kubeflow offers."""
    if run:
        return Continuation(
            advice="The same command goes on from what is done:", command=run.command
        )
    if _UUID.fullmatch(run_id):
        return Continuation(
            advice="Press Retry at this run in the Kubeflow Pipelines UI: it goes on at the step "
            "that did not finish. A new run with the same parameters takes over what is kept, too. "
            "From a shell, with `kubectl -n kubeflow port-forward svc/ml-pipeline 8888` beside it:",
            command=RETRY.format(run_id=run_id),
        )
    return Continuation(
        advice="Start the pipeline again with the same parameters: it takes over what is kept."
    )


def with_ends(records: Mapping[str, StepRecord], state: RunState) -> dict[str, StepRecord]:
    """The records of a run as they must be told: in one that has ended, no step runs."""
    if state not in _CUT_OFF:
        return dict(records)
    ended = {"state": StepState.TERMINATED, "error": _CUT_OFF[state]}
    return {
        # The exit handler runs while it writes the report.
        step: record.model_copy(update=ended)
        if record.state is StepState.RUNNING and step != EXIT_HANDLER
        else record
        for step, record in records.items()
    }


def end_of(
    records: Mapping[str, StepRecord], state: RunState
) -> tuple[StepRecord | None, ErrorRecord | None]:
    """The step at which a run ended early, and the words for it; neither where it did not.

    Args:
        records: The run's own records, as `with_ends` gives them.
        state: How the run stands.
    """
    if state not in _BETWEEN_STEPS:
        return None, None
    for wanted in (StepState.FAILED, StepState.TERMINATED):
        for record in records.values():
            if record.state is wanted:
                return record, record.error
    return None, _BETWEEN_STEPS[state]
