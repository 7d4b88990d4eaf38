"""Play Kubeflow's backend: every step of a compiled pipeline in its own image, as in its pod.

`python -m tests.containers.backend JOB.json`. kfp.local walks the graph, resolves the inputs and
keeps the artifacts; what it would run as a process of this machine is run in a container instead.
What a step's pod has is read from the pipeline's own platform settings: user, scratch volumes, the
secret and the ConfigMap, the run's id. Beyond them it has a read-only root and no capability.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from kfp import components, local
from kfp.local import status, subprocess_task_handler

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to run, and the cluster around it.

    `network` is the engine's: "none", or "host" where a server of this machine is to be reached.
    `volumes` are folders that every pod has under their own path, True where it may write them.
    `secrets` and `config_maps` are the namespace's, by name. `outside` names steps that run on this
    machine instead, because their image is not there.
    """

    package: str
    arguments: dict[str, Any]
    run_id: str
    pipeline_root: str
    engine: str
    network: str
    volumes: dict[str, bool]
    secrets: dict[str, dict[str, str]]
    config_maps: dict[str, dict[str, str]]
    outside: list[str]
    log: str
    """A line for each step: its name, a tab, the image it ran in."""


def run_pipeline(job: Job, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a job to its end, in a process of its own."""
    file = folder / "job.json"
    file.write_text(json.dumps(asdict(job)), encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "tests.containers.backend", str(file)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def confined(engine: str, *, user: str, network: str) -> list[str]:
    """A container that may do no more than a pod of a namespace with restricted security."""
    words = [engine, "run", "--rm", "--pull=never", f"--user={user}", f"--network={network}"]
    words += ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"]
    if engine == "podman":
        # Its own scratch folders, which no pod has.
        words += ["--read-only-tmpfs=false"]
        # It asks for more than a machine may give; where that is refused, nothing starts.
        words += ["--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096"]
        if os.geteuid() != 0:
            # What the container's user writes belongs to the one who runs the tests.
            words += [f"--userns=keep-id:uid={user},gid={user}"]
    return words


@dataclass(frozen=True, kw_only=True)
class Pod:
    """A step's container: what the pipeline asks for, with the run's values in it."""

    step: str
    image: str
    user: str
    environ: dict[str, str]
    scratch: list[dict[str, str]]

    def command(self, job: Job) -> list[str]:
        """The engine's command, up to and with the image."""
        words = confined(job.engine, user=self.user, network=job.network)
        for volume in self.scratch:
            if volume["mountPath"] == "/dev/shm":
                words += [f"--shm-size={volume['sizeLimit'].removesuffix('i').lower()}"]
            else:
                words += [f"--tmpfs={volume['mountPath']}:mode=1777"]
        for path, writable in {**job.volumes, job.pipeline_root: True}.items():
            words += [f"--volume={path}:{path}:{'rw' if writable else 'ro'}"]
        words += [f"--env={name}={value}" for name, value in self.environ.items()]
        return [*words, self.image]


def read_pod(
    job: Job,
    settings: dict[str, Any],
    run_parameters: dict[str, Any],
    image: str,
    command: list[str],
) -> Pod:
    """Read what a step's pod has, from its executor's platform settings.

    A backend looks their parameters up in the group around the step. The groups pass the run's
    parameters on, each under this prefix.
    """

    def value(field: dict[str, str]) -> str:
        name = field["componentInputParameter"].removeprefix("pipelinechannel--")
        return str(run_parameters[name])

    step = command[command.index("--function_to_execute") + 1]
    own = settings[f"exec-{step.replace('_', '-')}"]
    environ = {}
    for field in own["fieldPathAsEnv"]:
        assert field["fieldPath"] == "metadata.labels['pipeline/runid']", field
        environ[field["name"]] = job.run_id
    for entries, parameter, key, named in (
        (own["secretAsEnv"], "secretNameParameter", "secretKey", job.secrets),
        (own["configMapAsEnv"], "configMapNameParameter", "configMapKey", job.config_maps),
    ):
        for entry in entries:
            assert entry["optional"], entry
            there = named.get(value(entry[parameter]), {})
            for pair in entry["keyToEnv"]:
                if pair[key] in there:
                    environ[pair["envVar"]] = there[pair[key]]
    assert own["securityContext"]["runAsNonRoot"]
    given = json.loads(command[command.index("--executor_input") + 1])["inputs"]["parameterValues"]
    parameter = re.fullmatch(r"\{\{\$\.inputs\.parameters\['(.*)'\]\}\}", image)
    return Pod(
        step=step,
        image=given[parameter[1]] if parameter else image,
        user=own["securityContext"]["runAsUser"],
        environ=environ,
        scratch=own["emptyDirMounts"],
    )


def main(job_file: str) -> None:
    """Run the job; the exit status is 0 where the whole pipeline succeeded."""
    job = Job(**json.loads(Path(job_file).read_bytes()))
    with Path(job.package).open(encoding="utf-8") as file:
        spec, platform = yaml.safe_load_all(file)
    declared = spec["root"]["inputDefinitions"]["parameters"]
    defaults = {name: given.get("defaultValue") for name, given in declared.items()}
    settings = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]

    def run(handler: subprocess_task_handler.SubprocessTaskHandler) -> status.Status:
        pod = read_pod(job, settings, defaults | job.arguments, handler.image, handler.full_command)
        outside = pod.step in job.outside
        with Path(job.log).open("a", encoding="utf-8") as log:
            log.write(f"{pod.step}\t{'' if outside else pod.image}\n")
        if outside:
            command = subprocess_task_handler.replace_python_executable(
                handler.full_command, sys.executable
            )
            # What it writes, the user of the next pod goes on with.
            done = subprocess.run(command, env={**os.environ, **pod.environ}, umask=0, check=False)
        else:
            done = subprocess.run([*pod.command(job), *handler.full_command], check=False)
        return status.Status.FAILURE if done.returncode else status.Status.SUCCESS

    subprocess_task_handler.SubprocessTaskHandler.run = run
    # That an image is not called python, and that there are no limits here.
    warnings.filterwarnings("ignore", module=r"kfp\.local")
    local.init(
        local.SubprocessRunner(use_venv=False), pipeline_root=job.pipeline_root, raise_on_error=True
    )
    pipeline = components.load_component_from_file(job.package)
    graph = pipeline.component_spec.implementation.graph
    for component in (graph.root, *graph.components.values()):
        for task in component.dag.tasks.values():
            task.ClearField("retry_policy")  # would hide a failure, and make it take minutes
    try:
        pipeline(**job.arguments)
    except RuntimeError as failed:
        # kfp's one sentence; what is behind it, the step has said.
        sys.exit(str(failed))


if __name__ == "__main__":
    main(sys.argv[1])
