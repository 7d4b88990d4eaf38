"""Lint the Containerfiles: hadolint for what is common, and the rules this project adds.

Exit status 1 when one is broken; each message names the file, the line and the rule.
"""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Instruction:
    """One instruction, its continuation lines joined and its comments left out."""

    line: int
    keyword: str
    value: str


def parse(text: str) -> list[Instruction]:
    """Split a Containerfile into instructions, in order."""
    instructions: list[Instruction] = []
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), start=1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        start = start if pending else number
        pending += line.removesuffix("\\")
        if line.endswith("\\"):
            continue
        keyword, _, value = pending.partition(" ")
        instructions.append(Instruction(start, keyword.upper(), " ".join(value.split())))
        pending = ""
    return instructions


def problems(instructions: list[Instruction]) -> list[tuple[int, str]]:
    """Return what breaks a rule of the project, as (line, message)."""
    found: list[tuple[int, str]] = []
    stages = [step for step in instructions if step.keyword == "FROM"]
    if not stages:
        return [(1, "no FROM: a Containerfile starts from a base")]

    first = instructions[0]
    if first.keyword != "ARG" or not first.value.startswith("BASE_IMAGE="):
        found.append((first.line, "start with ARG BASE_IMAGE=..., so that a site can swap it"))
    elif not re.search(r"(:(?!latest$)[\w.-]+|@sha256:[0-9a-f]{64})$", first.value):
        found.append((first.line, f"{first.value} has no version tag or digest; name one"))
    for stage in stages:
        if stage.value.split()[0] not in ("${BASE_IMAGE}", "$BASE_IMAGE"):
            found.append((stage.line, f"FROM {stage.value}: start from ${{BASE_IMAGE}}"))
    if len(stages) < 2:
        found.append((stages[0].line, "one stage only: build tools would ship with the image"))

    copies = [step for step in instructions if step.keyword in ("ADD", "COPY")]
    lock = next((step.line for step in copies if "requirements.txt" in step.value), None)
    source = next((step.line for step in copies if re.search(r"\bsrc\b", step.value)), None)
    if lock is None:
        found.append((1, "no lock is copied; dependencies come from requirements.txt with hashes"))
    elif source is not None and source < lock:
        found.append((source, f"the source is copied before the lock of line {lock}; swap them"))

    for step in instructions:
        if step.keyword == "ADD":
            found.append((step.line, "ADD fetches and unpacks unseen; use COPY"))
        if step.keyword != "RUN":
            continue
        if re.search(r"\b(curl|wget)\b", step.value):
            found.append((step.line, "curl or wget: an unpinned download; put it into the lock"))
        if "apt-get install" in step.value and "rm -rf /var/lib/apt/lists" not in step.value:
            found.append((step.line, "apt-get leaves its lists; remove them in the same RUN"))
        for part in step.value.split("&&"):
            if " install " in part and " -r " in part and "--require-hashes" not in part:
                found.append((step.line, f"no --require-hashes in: {part.strip()}"))

    final = [step for step in instructions if step.line > stages[-1].line]
    users = [step for step in final if step.keyword == "USER"]
    if not users or users[-1].value not in ("1000", "1000:1000"):
        found.append((stages[-1].line, "the image does not end as USER 1000:1000, by number"))
    return found


def divergences(files: Mapping[str, str]) -> list[tuple[str, int, str]]:
    """Return where Containerfiles part that should be alike, as (name, line, message).

    They are as many files as there are images, so that each builds by itself. Their own are the
    folder of their lock, LABEL, and the last stage's ENV and what it starts; the rest is the first
    one's.

    Args:
        files: Their texts, by the image's name.
    """
    found = []
    own = ("CMD", "ENTRYPOINT", "ENV")
    common: list[Instruction] = []
    for name, text in files.items():
        steps = parse(text)
        last = max(step.line for step in steps if step.keyword == "FROM")
        alike = [
            replace(step, value=step.value.replace(f"containers/{name}/", "containers/*/"))
            for step in steps
            if step.keyword != "LABEL" and not (step.keyword in own and step.line > last)
        ]
        common = common or alike
        for step, first in zip_longest(alike, common):
            if step is None or first is None or replace(step, line=first.line) != first:
                line = (step or alike[-1]).line
                where = f"containers/{next(iter(files))}/Containerfile:{(first or common[-1]).line}"
                found.append((name, line, f"is not as {where}; keep the common part alike"))
                break
    return found


def main() -> int:
    """Lint every Containerfile of the checkout."""
    files = sorted((ROOT / "containers").glob("*/Containerfile"))
    if not files:
        sys.exit("containers: no containers/*/Containerfile; there is nothing to check")
    names = [str(file.relative_to(ROOT)) for file in files]
    hadolint = Path(sysconfig.get_path("scripts")) / "hadolint"
    broken = subprocess.run([hadolint, *names], cwd=ROOT, check=False).returncode != 0
    texts = {file.parent.name: file.read_text(encoding="utf-8") for file in files}
    found = [
        (image, line, message)
        for image, text in texts.items()
        for line, message in problems(parse(text))
    ]
    for image, line, message in found or divergences(texts):
        print(f"containers/{image}/Containerfile:{line}: {message}")
        broken = True
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
