"""Run a compiled pipeline under kfp.local, as a process of its own.

`python -m yololine.runs.embedded JOB.json`, where the job is
`{"package": path, "arguments": {...}, "pipeline_root": folder, "workspace_root": folder}`.
Exit status 0 where the whole pipeline succeeded. Started by `yololine.runs.local`, which holds the
run's lock.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import warnings
from pathlib import Path

from kfp import components, local
from kfp.pipeline_spec import pipeline_spec_pb2

from yololine.telemetry.orphans import RUN_LOCK_VARIABLE, end_with_run, kill_strays


def main(job_file: str) -> None:
    """Run the job to its end; kfp says on stdout what it does, and what the steps print."""
    end_with_run()
    _mind_steps()
    # That an image is not called python, and that there are no CPU limits here.
    warnings.filterwarnings("ignore", module=r"kfp\.local")
    job = json.loads(Path(job_file).read_bytes())
    local.init(
        runner=local.SubprocessRunner(use_venv=False),
        pipeline_root=job["pipeline_root"],
        workspace_root=job["workspace_root"],
        raise_on_error=True,
    )
    pipeline = components.load_component_from_file(job["package"])
    _repeat_nothing(pipeline.component_spec.implementation.graph)
    try:
        pipeline(**job["arguments"])
    except RuntimeError as failed:
        # kfp's one sentence; what is behind it, the step has said.
        sys.exit(str(failed))


def _mind_steps() -> None:
    """Give steps the ends they have in a pod.

    When a step's process is gone, so is what it started: kfp.local would wait for a worker that
    outlives its step, for as long as that holds the step's output.

    On SIGTERM the running step ends in its own way, read to the end, and no other one starts. Dying
    at once would close the pipe the step writes to while it pushes its last checkpoint.
    """
    told = threading.Event()
    lock = Path(os.environ[RUN_LOCK_VARIABLE])

    def clear_up(*_: object) -> None:
        # A step that was told to stop has lost its shell, and with it its descent, but is at work.
        if not told.is_set():
            kill_strays(lock)

    def refuse(event: str, _: object) -> None:
        if event == "subprocess.Popen" and told.is_set():
            raise SystemExit(128 + signal.SIGTERM)

    signal.signal(signal.SIGTERM, lambda *_: told.set())
    signal.signal(signal.SIGCHLD, clear_up)
    sys.addaudithook(refuse)


def _repeat_nothing(pipeline: pipeline_spec_pb2.PipelineSpec) -> None:
    """Drop the retries: they are for lost pods, and here would only delay an error by minutes."""
    for component in (pipeline.root, *pipeline.components.values()):
        for task in component.dag.tasks.values():
            task.ClearField("retry_policy")


if __name__ == "__main__":
    main(sys.argv[1])
