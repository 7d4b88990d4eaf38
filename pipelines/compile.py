"""Compile the pipelines: `python -m pipelines.compile`, with `--check` only compare."""

import argparse
import sys
import tempfile
from pathlib import Path

from kfp import compiler

from pipelines.training import training

COMPILED = Path(__file__).with_name("compiled")
PIPELINES = {"training": training}


def compiled_text(name: str) -> str:
    """The YAML of a pipeline, as kfp's compiler writes it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.yaml")
        compiler.Compiler().compile(PIPELINES[name], str(path))
        return path.read_text(encoding="utf-8")


def main() -> int:
    """Write what differs, or with `--check` say so and return 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    check = parser.parse_args().check
    stale = []
    for name in PIPELINES:
        path = COMPILED / f"{name}.yaml"
        text = compiled_text(name)
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        stale.append(str(path.relative_to(COMPILED.parents[1])))
        if not check:
            COMPILED.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    said = "is not current: run make compile" if check else "written"
    sys.stdout.writelines(f"{path} {said}\n" for path in stale)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
