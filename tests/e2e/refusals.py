"""One mistake each, put before the real command, and what has to be true of its answer."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.audit import torn
from tests.e2e.faulty import good, write
from yololine.storage import open_store
from yololine.telemetry.journal import read_run
from yololine.telemetry.records import StepRecord, StepState

SMALL: dict[str, object] = {
    "model_name": "steel-sheet",
    "image_size": 64,
    "epochs": 1,
    "batch_size": 4,
    "gpu_count": "0",
    "augmentation_policy": "none",
    "augmentation_copies": 0,
    "min_map50": 0.0,
}
"""Parameters of the shortest line there is."""
SIDE_BY_SIDE = 3
"""Commands at once: mostly they start processes, and some wait for a server."""


@dataclass(frozen=True)
class Place:
    """A mistake's own folder."""

    folder: Path

    @property
    def source(self) -> Path:
        """What the run is given to read; a good source where the mistake is elsewhere."""
        return self.folder / "source"

    @property
    def store(self) -> Path:
        """The run's store; nothing is there before the run."""
        return self.folder / "store"

    def file(self, name: str, content: bytes | str) -> str:
        """A file beside the source."""
        write(self.folder, {name: content})
        return str(self.folder / name)


Given = Mapping[str, object]


@dataclass(frozen=True)
class Case:
    """A mistake and what is said of it.

    Attributes:
        name: For the test's name.
        given: Parameters, on top of `SMALL`; or what makes files and returns them.
        words: Which parts of the answer name the value, the rule and the remedy.
        source: Files of the source, or what makes them; a good source if None.
        step: What refuses it; empty where no run begins.
        code: Exit code of the command.
        arguments: Further words of the command line.
        environ: Environment on top of the test's.
        prefix: A command that runs the command.
    """

    name: str
    given: Given | Callable[[Place], Given]
    words: tuple[str, ...] = ()
    source: Mapping[str, bytes | str] | Callable[[Path], None] | None = None
    step: str = "preflight"
    code: int = 1
    arguments: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """How the command answered, and what it left behind."""

    place: Place
    store_uri: str
    exit_code: int
    output: str
    changed_source: list[str]
    left_in_temporary: list[str]
    environ: dict[str, str]

    @property
    def local_store(self) -> Path | None:
        """The store's folder, where it is one."""
        return None if "://" in self.store_uri else self.place.folder / self.store_uri

    @property
    def run_folders(self) -> list[Path]:
        """Of runs that had begun: those with logs and artifacts."""
        homes = [self.place.folder / "yololine-runs"]
        if self.local_store:
            homes.append(self.local_store / "runs")
        return [job.parent for home in homes for job in home.glob("*/job.json")]

    @property
    def records(self) -> dict[str, StepRecord]:
        """The run's journal."""
        [folder] = self.run_folders
        with _environment(self.environ):
            return read_run(open_store(self.store_uri), folder.name)

    @property
    def report(self) -> str:
        """The text of the run's report."""
        [folder] = self.run_folders
        with _environment(self.environ):
            page = open_store(self.store_uri).read_bytes(f"runs/{folder.name}/report.html")
        return plain(html.unescape(re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", page.decode())))

    def log(self, step: str) -> str:
        """What Kubeflow shows as the step's log."""
        [folder] = self.run_folders
        return plain((folder / "logs" / f"{step}.log").read_text())


def plain(text: str) -> str:
    """In one line."""
    return " ".join(text.split())


def run_case(case: Case, folder: Path) -> Refusal:
    """Make the mistake."""
    place = Place(folder)
    if callable(case.source):
        place.source.mkdir()
        case.source(place.source)
    else:
        write(place.source, good() if case.source is None else case.source)
    given = case.given(place) if callable(case.given) else case.given
    parameters = SMALL | {"source_uri": place.source, "store_uri": place.store} | dict(given)
    options = [
        text
        for name, value in parameters.items()
        if value is not None
        for text in (f"--{name.replace('_', '-')}", str(value))
    ]
    temporary = folder / "tmp"
    temporary.mkdir()
    environ = {"TMPDIR": str(temporary), **case.environ}
    before = snapshot(place.source)
    done = subprocess.run(
        [
            *case.prefix,
            *(sys.executable, "-m", "yololine", "run", "training"),
            *(*options, *case.arguments),
        ],
        capture_output=True,
        check=False,
        cwd=folder,
        env={**os.environ, **environ},
    )
    return Refusal(
        place=place,
        store_uri=str(parameters["store_uri"]),
        exit_code=done.returncode,
        output=(done.stdout + done.stderr).decode(errors="backslashreplace"),
        changed_source=sorted(before.items() ^ snapshot(place.source).items()),
        left_in_temporary=[str(path) for path in Path(environ["TMPDIR"]).rglob("*")],
        environ=dict(case.environ),
    )


def snapshot(folder: Path) -> dict[str, Any]:
    """What lies in a folder: names, sizes, and when each changed last."""
    return {
        str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*")
    }


def check(case: Case, refusal: Refusal) -> None:
    """All that has to be true of any refusal."""
    said = plain(refusal.output)
    assert refusal.exit_code == case.code, refusal.output
    assert "Traceback" not in refusal.output
    for words in case.words:
        assert words in said, refusal.output
    assert refusal.changed_source == []
    assert refusal.left_in_temporary == []
    if not case.step:
        assert refusal.run_folders == []
        return
    record = refusal.records[case.step]
    assert record.state is StepState.FAILED
    assert record.error
    message, remedy = plain(record.error.message), plain(record.error.remedy)
    assert all(words in message for words in case.words), message
    assert f"error: {case.step}: {message}" in refusal.log(case.step)
    # There the remedy stands apart, as a sentence.
    assert message.removesuffix(f"; {remedy}").casefold() in refusal.report.casefold()
    assert remedy.casefold() in refusal.report.casefold()
    assert "Traceback" not in refusal.log(case.step)
    if refusal.local_store:
        check_whole(refusal.local_store, failed=case.step)


def check_whole(store: Path, *, failed: str) -> None:
    """Nothing half-written that a reader would take for a result."""
    assert torn(open_store(str(store))) == []
    assert not list((store / "results" / failed).glob("*/manifest.json"))
    assert not [path for path in store.rglob("*") if path.name.endswith(".part")]


def together(cases: Sequence[Case], *, made: Iterable[str] = ()) -> dict[str, Case]:
    """Few commands for many mistakes: each has as many as concern different parameters.

    For a step that names all faults at once. `made` are the parameters that the rows set whose
    parameters are a function's to say.

    Returns:
        Name of a case -> the command that makes its mistake among others.
    """
    batches: list[tuple[set[str], list[Case]]] = []
    for case in cases:
        names = set(case.given) if isinstance(case.given, Mapping) else set(made)
        for taken, batch in batches:
            if taken.isdisjoint(names):
                taken |= names
                batch.append(case)
                break
        else:
            batches.append((names, [case]))
    return {case.name: _at_once(batch) for _, batch in batches for case in batch}


def _at_once(batch: Sequence[Case]) -> Case:
    def given(place: Place) -> Given:
        each = (case.given(place) if callable(case.given) else case.given for case in batch)
        return {name: value for one in each for name, value in one.items()}

    words = tuple(words for case in batch for words in case.words)
    return replace(
        batch[0], name=" and ".join(case.name for case in batch), given=given, words=words
    )


class Refusals:
    """The answers to the cases of a test, asked for side by side: each takes seconds."""

    def __init__(
        self,
        request: pytest.FixtureRequest,
        factory: pytest.TempPathFactory,
        *,
        commands: Mapping[str, Case] = {},
        results: Path | None = None,
    ) -> None:
        """Ask for all that pytest has selected.

        Args:
            request: Of the fixture.
            factory: For each command's folder.
            commands: Of `together`; a case that is not among them is a command of its own.
            results: Lie in the stores beforehand.
        """
        self._pool = ThreadPoolExecutor(SIDE_BY_SIDE)
        self._commands = commands
        self._answers: dict[str, Future[Refusal]] = {}
        for item in request.session.items:
            case = getattr(getattr(item, "callspec", None), "params", {}).get("case")
            if not isinstance(case, Case) or Path(item.path) != Path(request.path):
                continue
            command = self.command(case)
            if command.name not in self._answers:
                folder = factory.mktemp("case")
                if results:
                    shutil.copytree(results, folder / "store" / "results")
                self._answers[command.name] = self._pool.submit(run_case, command, folder)

    def command(self, case: Case) -> Case:
        """The case as it is run."""
        return self._commands.get(case.name, case)

    def to(self, case: Case) -> Refusal:
        """The answer, once it is there."""
        return self._answers[self.command(case).name].result()

    def close(self) -> None:
        """Wait for what is under way."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in values.items():
            patch.setenv(name, value)
        yield
