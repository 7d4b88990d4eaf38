"""A source of very many tiny files: `python benchmarks/tiny_files.py --files 100000`.

The real command on made-up pictures of 64 x 48 px, each with a label file of one box. It is told to
end before anything is trained, by start weights of another sha256. Printed are the seconds of each
step, what cleaning does a second, and the largest memory that a process of the run took.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from yololine.storage import open_store
from yololine.telemetry.journal import read_run
from yololine.telemetry.records import StepState


def make_source(folder: Path, pictures: int) -> None:
    """Pictures that differ, and that JPEG leaves different."""
    random = np.random.default_rng(0)
    for name in ("images", "labels"):
        (folder / name).mkdir(parents=True)
    (folder / "data.yaml").write_text("names: [scratch, dent]\n")
    for number in range(pictures):
        coarse = Image.fromarray(random.integers(0, 256, (6, 8, 3), np.uint8))
        coarse.resize((64, 48), Image.Resampling.BICUBIC).save(folder / f"images/{number:07d}.jpg")
        (folder / f"labels/{number:07d}.txt").write_text(f"{number % 2} 0.5 0.5 0.5 0.5\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="pictures and labels together")
    files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_source(folder / "source", files // 2)
        (folder / "best.pt").write_bytes(b"")
        told = subprocess.run(
            [
                *(sys.executable, "-m", "yololine", "run", "training"),
                *("--source-uri", "source", "--store-uri", "store", "--model-name", "tiny"),
                *("--gpu-count", "0", "--augmentation-policy", "none"),
                *("--weights-uri", "best.pt", "--weights-sha256", "0" * 64),
            ],
            cwd=folder,
            capture_output=True,
            text=True,
            check=False,
        )
        [run] = (folder / "store" / "runs").iterdir()
        records = read_run(open_store(str(folder / "store")), run.name)
    done = {n: r for n, r in records.items() if r.state is StepState.DONE and n != "report_run"}
    if "split_dataset" not in done:
        sys.exit(told.stdout + told.stderr)
    cleaning = done["clean_dataset"]
    print(
        json.dumps(
            {
                "files": done["resolve_source"].facts["files"],
                "seconds": {name: round(record.seconds, 1) for name, record in done.items()},
                "pictures_cleaned_per_second": round(
                    cleaning.facts["images"]["kept"] / cleaning.seconds
                ),
                # Linux counts in KiB; of the largest process, not of all together.
                "peak_memory_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
