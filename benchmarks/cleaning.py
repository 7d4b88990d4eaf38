"""Cleaning beside cleanvision: `python benchmarks/cleaning.py --cleanvision V/bin/python`.

In one run, on the same image files and machine, several times in turn:

- yololine: what the step clean_dataset does: the source listed with its MD5s, every image decoded,
  every label read and each box checked, exact duplicates dropped, the dataset written as Parquet;
- cleanvision: `Imagelab(...).find_issues()` as it comes (dark, light, odd sizes, low information,
  grayscale, blurry, exact and near duplicates), on all cores; and with exact duplicates alone,
  which is what both do. It reads no labels and writes no dataset.

cleanvision is not among this project's packages: give it an environment of its own, with
`python -m venv V && V/bin/pip install cleanvision`. Imports are not counted on either side.
Without `--source`, pictures are made up, and without faults: cleanvision 0.3.7 ends with a
traceback at the first image that is cut short.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

OURS = """
import json, sys, time
from pathlib import Path
from yololine.dataset.cleaning import clean_dataset
from yololine.dataset.sources import list_source
from yololine.storage import open_store
source, out = sys.argv[1:]
started = time.perf_counter()
store = open_store(source)
made = clean_dataset(store, list_source(store), Path(out))
seconds = time.perf_counter() - started
print(json.dumps({"images": made.report.images.total, "seconds": seconds}))
"""
THEIRS = """
import json, os, sys, time
from cleanvision import Imagelab
source, issues = sys.argv[1], json.loads(sys.argv[2])
if __name__ == "__main__":
    started = time.perf_counter()
    lab = Imagelab(data_path=source)
    lab.find_issues(issues, n_jobs=os.cpu_count(), verbose=False)
    seconds = time.perf_counter() - started
    print(json.dumps({"images": len(lab.issues), "seconds": seconds}))
"""


def main() -> None:
    """Print images a second of each, round by round, and the medians' ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cleanvision", required=True, help="a Python that has cleanvision")
    parser.add_argument("--source", help="a folder in YOLO or Pascal VOC layout")
    parser.add_argument("--images", type=int, default=2000, help="made up, of 640 x 480")
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = wanted.source or _made_up(Path(folder, "source"), wanted.images)
        rates: dict[str, list[float]] = {"yololine": [], "cleanvision": [], "duplicates": []}
        for number in range(wanted.rounds):
            out = Path(folder, "out")
            rates["yololine"].append(_rate(sys.executable, OURS, source, str(out)))
            shutil.rmtree(out)
            rates["cleanvision"].append(_rate(wanted.cleanvision, THEIRS, source, "null"))
            only = json.dumps({"exact_duplicates": {}})
            rates["duplicates"].append(_rate(wanted.cleanvision, THEIRS, source, only))
            now = ", ".join(f"{name} {values[-1]:.0f}" for name, values in rates.items())
            print(f"round {number + 1}, images a second: {now}", flush=True)
        ours = rates["yololine"]
        for name in ("cleanvision", "duplicates"):
            ratios = [a / b for a, b in zip(ours, rates[name], strict=True)]
            print(
                f"yololine / {name}: {statistics.median(ratios):.2f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )
        print(", ".join(f"{n}: median {statistics.median(v):.0f}/s" for n, v in rates.items()))


def _made_up(folder: Path, images: int) -> str:
    from yololine.sample import generate_sample

    generate_sample(folder, images=images, image_size_wh=(640, 480))
    for planted in folder.rglob("line4_*"):
        planted.unlink()
    return str(folder)


def _rate(python: str, program: str, *arguments: str) -> float:
    # A file, since worker processes import the program again.
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "program.py")
        file.write_text(program)
        said = subprocess.run(
            [python, str(file), *arguments], check=True, capture_output=True, text=True
        ).stdout
    done = json.loads(said.splitlines()[-1])
    return float(done["images"] / done["seconds"])


if __name__ == "__main__":
    main()
