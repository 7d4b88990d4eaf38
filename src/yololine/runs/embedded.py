"""Run a compiled pipeline under kfp.local, as a process of its own.

`python -m yololine.runs.embedded JOB.json`, where the job is
`{"package": path, "arguments": {...}, "pipeline_root": folder, "workspace_root": folder}`.
Exit status 0 where the whole pipeline succeeded. The supervisor is `yololine.runs.local`.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import warnings
from pathlib import Path

from kfp import components, local
from kfp.pipeline_spec import pipeline_spec_pb2

from yololine.telemetry.orphans import end_with_run


def main(job_file: str) -> None:
    """Run the job to its end; kfp says on stdout what it does, and what the steps print."""
    end_with_run()
    _stop_between_steps()
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


def _stop_between_steps() -> None:
    """On SIGTERM let the running step end in its own way, read it to the end, and start no other.

    Dying at once would close the pipe the step writes to while it pushes its last checkpoint, and
    kfp.local itself would go on with the next step.
    """
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())

    def refuse(event: str, _: object) -> None:
        if event == "subprocess.Popen" and told.is_set():
            raise SystemExit(128 + signal.SIGTERM)

    sys.addaudithook(refuse)


def _repeat_nothing(pipeline: pipeline_spec_pb2.PipelineSpec) -> None:
    """Drop the retries: they are for lost pods, and here would only delay an error by minutes."""
    for component in (pipeline.root, *pipeline.components.values()):
        for task in component.dag.tasks.values():
            task.ClearField("retry_policy")


if __name__ == "__main__":
    main(sys.argv[1])
