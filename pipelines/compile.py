"""Compile pipelines and components: `python -m pipelines.compile`, with `--check` only compare."""

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from kfp import compiler
from kfp.dsl import PipelineTask

from components import COMPONENTS, NEVER_CACHED, load
from pipelines.deployment import deployment
from pipelines.training import training
from yololine.pod import on_cluster

ROOT = Path(__file__).parents[1]
PIPELINES = {"training": training, "deployment": deployment}


def compiled_pipeline(name: str) -> str:
    """The YAML of a pipeline, as kfp's compiler writes it."""
    return _compiled(PIPELINES[name])


def compiled_component(name: str) -> str:
    """The YAML of a component, with the pod's settings for when it is uploaded by itself.

    kfp gives a component none. A pipeline that the component is a task of takes none of these.
    """
    component = load(name)
    text = _compiled(component)
    head = text[: text.index("components:\n")]
    spec = yaml.safe_load(text)
    (task,) = spec["root"]["dag"]["tasks"].values()
    if name in NEVER_CACHED:
        task["cachingOptions"] = {}
    (executor,) = spec["deploymentSpec"]["executors"]
    pod = on_cluster(PipelineTask(component.component_spec, {})).platform_config["kubernetes"]
    platform = {"kubernetes": {"deploymentSpec": {"executors": {executor: pod}}}}
    documents = [spec, {"platforms": platform}]
    return head + yaml.safe_dump_all(documents, sort_keys=True)


def compiled() -> dict[Path, str]:
    """Every compiled file and what it has to hold."""
    files = {
        ROOT / "pipelines" / "compiled" / f"{name}.yaml": compiled_pipeline(name)
        for name in PIPELINES
    }
    return files | {
        ROOT / "components" / "compiled" / f"{name}.yaml": compiled_component(name)
        for name in COMPONENTS
    }


def _compiled(component: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "compiled.yaml")
        compiler.Compiler().compile(component, str(path))
        return path.read_text(encoding="utf-8")


def main() -> int:
    """Write what differs, or with `--check` say so and return 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    check = parser.parse_args().check
    wanted = compiled()
    stale = []
    for path, text in wanted.items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(f"{path.relative_to(ROOT)} {'is not current' if check else 'written'}")
        if not check:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    for folder in {path.parent for path in wanted}:
        for path in sorted(set(folder.glob("*.yaml")) - set(wanted)):
            stale.append(f"{path.relative_to(ROOT)} {'has no source' if check else 'removed'}")
            if not check:
                path.unlink()
    sys.stdout.writelines(f"{line}\n" for line in stale)
    if check and stale:
        sys.stdout.write("run make compile\n")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
