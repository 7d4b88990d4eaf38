"""The compiled line with every step in its image, in pods as strict as a restricted namespace's.

Without the training image, which is too large for every machine, its three steps run on this
machine's Python; `make test-images` runs them in it, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import MinioServer
from tests.containers.backend import Job, run_pipeline
from tests.containers.conftest import WITH_TRAIN, Images
from tests.e2e.line import source_of
from yololine import pipeline_package
from yololine.registry.versions import champion, read_version
from yololine.storage import open_store
from yololine.telemetry.journal import read_run
from yololine.telemetry.records import STEPS, StepRecord, StepState

pytestmark = pytest.mark.e2e

RUN_STEPS = set(STEPS) - {"deploy_model"}
"""Of a training that puts nothing live."""
LEARNING = {"prepare_weights", "train_detector", "export_detector"}
OUTSIDE = set() if WITH_TRAIN else LEARNING
RUN_ID = "0b6c3d1e-5f0a-4c57-9d11-3f1f7f9f2b9a"
"""As Kubeflow makes them."""


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A finished run: the image of each step, in order, and the journal."""

    images: dict[str, str]
    store_uri: str
    records: dict[str, StepRecord]
    output: str
    pipeline_root: Path


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What all runs start from."""
    return source_of(tmp_path_factory.mktemp("images") / "source")


def run_line(
    images: Images,
    folder: Path,
    *,
    source_uri: str,
    store_uri: str,
    network: str = "none",
    volumes: dict[str, bool],
    minio: MinioServer | None = None,
) -> Ran:
    """Run the line once; the cluster's secret and ConfigMap are those of a stock installation."""
    root = folder / "artifacts"
    root.mkdir()
    root.chmod(0o777)  # the pods' user is not this one
    environ, secret, config = {}, {}, {}
    if minio:
        environ = minio.environ
        secret = {"accesskey": minio.access_key, "secretkey": minio.secret_key}
        config = {"AWS_ENDPOINT_URL_S3": environ["AWS_ENDPOINT_URL"]}
    arguments: dict[str, Any] = {
        "source_uri": source_uri,
        "store_uri": store_uri,
        "model_name": "steel-sheet",
        "image_size": 64,
        "epochs": 1,
        "batch_size": 8,
        "max_dropped_fraction": 0.5,
        "min_map50": 0.0,
        "gpu_count": "0",
        "data_image": images.name("data"),
        "train_image": images.name("train"),
    }
    job = Job(
        package=pipeline_package("training"),
        arguments=arguments,
        run_id=RUN_ID,
        pipeline_root=str(root),
        engine=images.engine,
        network=network,
        volumes=volumes,
        secrets={"mlpipeline-minio-artifact": secret},
        config_maps={"yololine-store": config},
        outside=sorted(OUTSIDE),
        log=str(folder / "steps"),
    )
    done = run_pipeline(job, folder)
    assert done.returncode == 0, done.stdout
    lines = (folder / "steps").read_text().splitlines()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environ.items():
            patch.setenv(name, value)
        records = read_run(open_store(store_uri), RUN_ID)
    return Ran(
        images=dict(line.split("\t") for line in lines),
        store_uri=store_uri,
        records=records,
        output=done.stdout,
        pipeline_root=root,
    )


@pytest.fixture(scope="module")
def on_folder(images: Images, source: str, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A run with the store on a mounted folder, off line."""
    folder = tmp_path_factory.mktemp("folder")
    store = folder / "store"
    store.mkdir()
    store.chmod(0o777)
    return run_line(
        images,
        folder,
        source_uri=source,
        store_uri=str(store),
        volumes={source: False, str(store): True},
    )


def test_every_step_runs_in_its_image(images: Images, on_folder: Ran) -> None:
    assert set(on_folder.images) == RUN_STEPS
    for step, ran_in in on_folder.images.items():
        expected = images.name("train" if step in LEARNING else "data")
        assert ran_in == ("" if step in OUTSIDE else expected), step
    states = {step: record.state for step, record in on_folder.records.items()}
    assert states == dict.fromkeys(RUN_STEPS, StepState.DONE)
    assert "Traceback" not in on_folder.output


def test_version_is_registered_and_every_file_verifies(on_folder: Ran) -> None:
    store = open_store(on_folder.store_uri)
    crowned = champion(store, "steel-sheet")
    assert crowned
    version = read_version(store, "steel-sheet", crowned.version)
    assert version
    assert all(store.verified(file) for file in version.files.values())
    assert "steel-sheet" in store.read_bytes(f"runs/{RUN_ID}/report.html").decode()


def test_every_step_leaves_its_page(on_folder: Ran) -> None:
    pages = {page.parent.name for page in on_folder.pipeline_root.rglob("report")}
    assert pages == {step.replace("_", "-") for step in RUN_STEPS}


@pytest.mark.server
def test_line_on_minio_is_the_line_on_a_folder(
    images: Images, on_folder: Ran, source: str, minio_server: MinioServer, tmp_path: Path
) -> None:
    """In pods of the host's network; credentials and endpoint as a cluster gives them."""
    bucket = minio_server.make_bucket()
    ran = run_line(
        images,
        tmp_path,
        source_uri=minio_server.upload(Path(source), bucket, "raw"),
        store_uri=f"s3://{bucket}/line",
        network="host",
        volumes={},
        minio=minio_server,
    )
    assert ran.images == on_folder.images
    for step in RUN_STEPS - {"preflight", "report_run"}:
        assert ran.records[step].digest == on_folder.records[step].digest, step
    for secret in (minio_server.access_key, minio_server.secret_key):
        assert secret not in ran.output
