"""kill -9 at random moments of whole runs on MinIO, and the same command again each time."""

from __future__ import annotations

import os
import random
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import MinioServer
from tests.e2e.audit import torn
from tests.e2e.line import command, run_line, source_of
from yololine.registry.versions import champion, find_version, version_name
from yololine.storage import open_store
from yololine.telemetry.orphans import RUN_LOCK_VARIABLE

pytestmark = [pytest.mark.e2e, pytest.mark.server]

KILLS = int(os.environ.get("YOLOLINE_KILLS", "5"))
SEED = int(os.environ.get("YOLOLINE_KILL_SEED", "0"))
MODEL = "steel-sheet"


@dataclass(frozen=True)
class Whole:
    """A run that nobody disturbed: what every other one must come to."""

    key: str
    seconds: float


@pytest.fixture(scope="module")
def parameters(
    tmp_path_factory: pytest.TempPathFactory, minio_server: MinioServer
) -> dict[str, Any]:
    source = Path(source_of(tmp_path_factory.mktemp("kills") / "source"))
    return {
        "source_uri": minio_server.upload(source, minio_server.make_bucket(), "raw"),
        "model_name": MODEL,
        "image_size": 64,
        "epochs": 3,
        "batch_size": 8,
        "max_dropped_fraction": 0.5,
        "min_map50": 0.0,
        "gpu_count": "0",
    }


@pytest.fixture(scope="module", autouse=True)
def environment(minio_server: MinioServer) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in minio_server.environ.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="module")
def whole(
    parameters: dict[str, Any], minio_server: MinioServer, tmp_path_factory: pytest.TempPathFactory
) -> Whole:
    started = time.monotonic()
    store_uri = f"s3://{minio_server.make_bucket()}/line"
    line = run_line(cwd=tmp_path_factory.mktemp("cwd"), **parameters, store_uri=store_uri)
    assert line.exit_code == 0, line.output
    return Whole(key=line.records["register_model"].key, seconds=time.monotonic() - started)


def test_whatever_is_killed_the_same_version_comes_of_it(
    whole: Whole, parameters: dict[str, Any], minio_server: MinioServer, tmp_path: Path
) -> None:
    dice = random.Random(SEED)
    kills, kills_here, finished = 0, 0, 0
    moments: list[float] = []
    run_seconds = whole.seconds
    store_uri = f"s3://{minio_server.make_bucket()}/line"
    while kills < KILLS or not finished:
        # Past the last kill, one that nobody disturbs.
        delay = dice.uniform(0, run_seconds) if kills < KILLS else 600.0
        everything = dice.random() < 0.5
        started = time.monotonic()
        line = subprocess.Popen(
            command(**parameters, store_uri=store_uri),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=tmp_path,
            text=True,
        )
        try:
            said, _ = line.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            moments.append(round(delay, 1))
            _kill(line, everything=everything)
            kills += 1
            kills_here += 1
            finished = 0
            # Otherwise steps may live for a moment yet: the next run comes while they are at it.
            if everything:
                assert not torn(open_store(store_uri)), f"after kills at {moments}"
        else:
            assert line.returncode == 0, f"after kills at {moments}: {said}"
            _assert_right(store_uri, whole)
            assert not torn(open_store(store_uri)), f"after kills at {moments}"
            finished += 1
            if not kills_here:
                # The machine was busy with something else when the first run was timed.
                run_seconds = min(run_seconds, time.monotonic() - started)
            if kills < KILLS:
                kills_here = 0
                store_uri = f"s3://{minio_server.make_bucket()}/line"
    assert not _strays(store_uri)


def _assert_right(store_uri: str, whole: Whole) -> None:
    store = open_store(store_uri)
    assert find_version(store, MODEL, whole.key)
    crowned = champion(store, MODEL)
    assert crowned
    assert crowned.version == version_name(whole.key)
    versions = {path.split("/")[2] for path in store.paths(f"models/{MODEL}")} - {"champion.json"}
    assert versions == {version_name(whole.key)}


def _kill(line: subprocess.Popen[str], *, everything: bool) -> None:
    """The supervisor alone, as a person's kill -9, or all at once, as when the power goes."""
    victims = [psutil.Process(line.pid)]
    if everything:
        victims += victims[0].children(recursive=True)
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    line.wait()
    assert line.stdout
    line.stdout.close()


def _strays(store_uri: str) -> list[str]:
    """Processes of these runs that are still alive, after the moment that dying takes."""
    found: list[str] = []
    for _ in range(100):
        found = []
        for process in psutil.process_iter():
            try:
                ours = store_uri in " ".join(process.cmdline())
                ours = ours and RUN_LOCK_VARIABLE in process.environ()
            except psutil.Error:
                continue
            if ours:
                found.append(str(process))
        if not found:
            break
        time.sleep(0.1)
    return found
