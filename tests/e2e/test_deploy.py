"""The compiled pipelines put versions live: a real API server, a real store, a real predictor.

Only KServe's controller and the nodes are played. What KServe's init container does, fetching the
version's folder from the store, is done when a pod of it is first asked.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields
from pathlib import Path
from uuid import uuid4

import pytest
import urllib3

from tests.conftest import MinioServer
from tests.deployment.site import KINDS, Site, documents
from tests.e2e.line import MADE, Line, run_ids, run_line, source_of
from tests.kserve_controller import KServe, wait_until
from tests.kubernetes_api import KubernetesApi
from tests.serving.models import CLASS_NAMES, IMAGE_SIZE, bright_model, golden_of
from yololine.cluster import connect
from yololine.cluster.resources import INFERENCE_SERVICES, LEASES
from yololine.evaluation.golden import write_golden
from yololine.registry.deployments import deployments_of
from yololine.registry.versions import (
    Version,
    crown,
    fetch_version,
    read_version,
    register,
    resolve_version,
)
from yololine.steps.deploy import go_live
from yololine.steps.target import Target
from yololine.storage import Store, open_store
from yololine.telemetry.journal import RUN_ID_VARIABLE, read_run
from yololine.telemetry.records import StepState

pytestmark = [pytest.mark.e2e, pytest.mark.server]
SMALL = {"deploy_cpu": "500m", "deploy_memory": "1Gi", "deploy_timeout_seconds": 60}


class Fetched(dict[str, Path]):
    """Storage URI -> folder, fetched and verified when it is first asked for."""

    def __init__(self, store: Store, folder: Path) -> None:
        super().__init__()
        self._store = store
        self._folder = folder

    def __contains__(self, uri: object) -> bool:
        return str(uri).startswith("s3://")

    def __missing__(self, uri: str) -> Path:
        name, version = uri.split("/")[-2:]
        found = resolve_version(self._store, f"{name}@{version}")
        assert uri == f"{self._store.uri}/{found.folder}"
        self[uri] = self._folder / version
        fetch_version(self._store, found, self[uri])
        return self[uri]


@pytest.fixture
def store(minio_server: MinioServer, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in minio_server.environ.items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{minio_server.make_bucket()}/line")


@pytest.fixture
def site(
    kubernetes_api: KubernetesApi, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A namespace as manifests/serving leaves it, for this process and those it starts."""
    namespace = kubernetes_api.make_namespace({"pod-security.kubernetes.io/enforce": "restricted"})
    file = kubernetes_api.write_kubeconfig(
        tmp_path / "kubeconfig", server=None, namespace=namespace
    )
    monkeypatch.setenv("KUBECONFIG", str(file))
    cluster = connect()
    for document in documents(
        "serving/runtime.yaml", "serving/store-access.yaml", "examples/serving-store-secret.yaml"
    ):
        cluster.apply(KINDS[document["kind"]], document)
    client = kubernetes_api.api_client()
    kserve = KServe(client, namespace)
    kserve.folders = Fetched(store, tmp_path / "pods")
    kserve.start()
    yield Site(kubernetes_api, kserve, cluster)
    kserve.stop()
    client.close()


@pytest.fixture
def registers(store: Store, tmp_path: Path) -> Callable[..., Version]:
    """Registers a real model with golden images, as scored by the code that evaluates."""

    def do(key: str, *, pretended: float = 0.0) -> Version:
        """`pretended` is added to each golden score, as if another model had been evaluated."""
        folder = tmp_path / key[:12]
        folder.mkdir()
        model = bright_model(folder / "model.onnx")
        golden = golden_of(model, {f"{shade}.jpg": _picture(shade) for shade in (90, 150, 200)})
        for image in golden.images:
            image.detections.scores[:] += pretended
        write_golden(folder / "golden.parquet", golden)
        version = register(
            store,
            name="steel",
            key=key,
            promoted=True,
            files={name: folder / name for name in ("model.onnx", "golden.parquet")},
            class_names=CLASS_NAMES,
            image_size=IMAGE_SIZE,
            metrics={"ap50": 0.9},
        )
        crown(store, version)
        return version

    return do


def _picture(shade: int) -> bytes:
    import io

    from PIL import Image

    file = io.BytesIO()
    Image.new("RGB", (96, 64), (shade, shade, shade)).save(file, "JPEG")
    return file.getvalue()


def run_deployment(store: Store, **parameters: object) -> Line:
    """`yololine run deployment` to its end."""
    command = [sys.executable, "-m", "yololine", "run", "deployment", "--store-uri", store.uri]
    for name, value in {**SMALL, **parameters}.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    before = set(run_ids(store.uri))
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ)
    (run_id,) = set(run_ids(store.uri)) - before
    return Line(
        exit_code=done.returncode,
        output=done.stdout + done.stderr,
        run_id=run_id,
        store_uri=store.uri,
        records=read_run(store, run_id),
    )


def answered(url: str, data: bytes) -> tuple[str, list[str]]:
    """The version and the classes that an endpoint answers."""
    answer = urllib3.request(
        "POST", f"{url}/v1/models/steel:predict", body=data, headers={"Content-Type": "image/jpeg"}
    )
    assert answer.status == 200, answer.data
    (found,) = answer.json()["predictions"]
    return answer.json()["model_version"], found["class_names"]


@pytest.mark.usefixtures("site")
def test_a_version_goes_live_a_wrong_one_does_not_stay_and_a_good_one_comes_back(
    store: Store, registers: Callable[..., Version]
) -> None:
    first = registers("a" * 64)
    live = run_deployment(store, model="steel")
    assert live.exit_code == 0, live.output
    assert set(live.records) == {"deploy_model", "report_run"}
    assert live.states() == MADE
    facts = live.records["deploy_model"].facts
    assert (facts["version"], facts["golden_checked"]) == (first.version, 3)
    assert answered(facts["url"], _picture(200)) == (first.version, ["scratch", "pit: deep"])
    assert facts["url"] in live.report
    assert f"{first.version} at {facts['url']}" in live.output

    wrong = registers("b" * 64, pretended=0.09)
    refused = run_deployment(store, model="steel")
    assert refused.exit_code == 1
    assert "Traceback" not in refused.output
    error = refused.records["deploy_model"].error
    assert error
    for words in (
        "detects other things than evaluation did on the same test images: 90.jpg: scratch",
        f"version {first.version} was restored, and answers",
    ):
        assert words in error.message
        assert words in refused.output
    shown = refused.records["deploy_model"]
    assert len(shown.facts["wrong_answers"]) == len(shown.exhibits) == 3
    assert refused.report.count("<image id=") == 3
    assert answered(facts["url"], _picture(200))[0] == first.version

    second = registers("c" * 64)
    for shade in (60, 120, 250):
        store.write_bytes(f"recorded/{shade}.jpg", _picture(shade))
    asked = {"deploy_strategy": "shadow", "deploy_requests_uri": f"{store.uri}/recorded"}
    tried = run_deployment(store, model=second.reference, **asked)
    assert tried.exit_code == 0, tried.output
    recorded = tried.records["deploy_model"].facts["recorded"]
    assert (recorded["compared"], recorded["alike"]) == (3, 3)
    assert answered(facts["url"], _picture(90))[0] == second.version
    back = run_deployment(store, model="steel", rollback="true")
    assert back.exit_code == 0, back.output
    assert answered(facts["url"], _picture(90))[0] == first.version
    (deployed,) = deployments_of(store, "steel")
    assert (deployed.version, deployed.previous_version) == (first.version, second.version)
    assert wrong.version not in {deployed.version, deployed.previous_version}


STEP = """
import json, sys
from yololine import steps

told = json.loads(sys.argv[1])
steps.deploy_model(told.pop("deployment"), told.pop("report"), **told)
"""
EXIT = """
import json, sys
from yololine import steps

steps.report_run(**json.loads(sys.argv[1]))
"""


def start(script: str, run_id: str, **told: object) -> subprocess.Popen[str]:
    """A step's process, as a pod has it."""
    return subprocess.Popen(
        [sys.executable, "-c", script, json.dumps(told)],
        env={**os.environ, RUN_ID_VARIABLE: run_id},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_step_that_is_told_to_stop_puts_back_what_was_live(
    store: Store, registers: Callable[..., Version], site: Site, tmp_path: Path
) -> None:
    """As where a run is terminated in Kubeflow: SIGTERM in mid-rollout, then the exit handler."""
    first = registers("a" * 64)
    small = Target(deploy_cpu="500m", deploy_memory="1Gi", deploy_timeout_seconds=60)
    go_live(store, first.reference, small, say=print)
    second = registers("b" * 64)
    run_id = str(uuid4())
    outputs = tmp_path / "artifacts" / "yololine-deployment" / run_id / "deploy-model"
    told = {
        **{one.name: getattr(small, one.name) for one in fields(small)},
        "deployment": str(outputs / "deployment"),
        "report": str(outputs / "report"),
        "store_uri": store.uri,
        "model": second.reference,
        "rollback": False,
    }
    site.kserve.asleep = True
    step = start(STEP, run_id, **told)
    wait_until(lambda: served(site) == second.version)
    step.send_signal(signal.SIGTERM)
    said, _ = step.communicate()
    assert step.returncode == 143, said
    assert "Traceback" not in said
    record = read_run(store, run_id)["deploy_model"]
    assert record.state is StepState.TERMINATED
    assert record.error
    fact = f"was told to stop (SIGTERM); version {first.version} was put back"
    assert fact in record.error.message
    assert served(site) == first.version
    lease = site.cluster.get(LEASES, "yololine-steel")
    assert lease
    assert lease["spec"]["holderIdentity"] == ""
    (deployed,) = deployments_of(store, "steel")
    assert deployed.version == first.version
    assert fact in deployed.trouble

    page = tmp_path / "artifacts" / "yololine-deployment" / run_id / "report-run" / "report"
    ended = start(
        EXIT, run_id, report=str(page), store_uri=store.uri, model_name="steel", state="RUNNING"
    )
    said, _ = ended.communicate()
    assert ended.returncode == 0, said
    report = page.read_text(encoding="utf-8")
    assert "terminated" in report
    assert fact in report
    assert f"/runs/{run_id}:retry" in report
    assert "Train" not in report

    # Retry in Kubeflow's UI.
    site.kserve.asleep = False
    step = start(STEP, run_id, **told)
    said, _ = step.communicate()
    assert step.returncode == 0, said
    record = read_run(store, run_id)["deploy_model"]
    assert (record.state, record.attempt) == (StepState.DONE, 2)
    assert answered(record.facts["url"], _picture(200))[0] == second.version


def served(site: Site) -> str:
    """The version that the service says it serves."""
    service = site.cluster.get(INFERENCE_SERVICES, "steel")
    return str(service["metadata"]["labels"]["yololine/version"]) if service else ""


@pytest.mark.usefixtures("site")
def test_a_training_ends_with_an_endpoint_that_answers(store: Store, tmp_path: Path) -> None:
    """All of the line in one compiled pipeline; and again, with nothing made and nothing moved."""
    parameters = {
        "source_uri": source_of(tmp_path / "source"),
        "store_uri": store.uri,
        "model_name": "steel-sheet",
        "image_size": 64,
        "epochs": 1,
        "batch_size": 8,
        "max_dropped_fraction": 0.5,
        "min_map50": 0.0,
        "gpu_count": "0",
        "deploy": "true",
        "deploy_service": "steel",
        **SMALL,
    }
    line = run_line(cwd=tmp_path, **parameters)
    assert line.exit_code == 0, line.output
    assert line.states() == MADE
    version = read_version(store, "steel-sheet", line.version)
    assert version
    assert "golden.parquet" in version.files
    facts = line.records["deploy_model"].facts
    assert facts["version"] == line.version
    assert 0 < facts["golden_checked"] <= 12
    assert f"Live: version {line.version}" in line.report
    picture = next(Path(str(parameters["source_uri"])).rglob("*.jpg")).read_bytes()
    assert answered(facts["url"], picture)[0] == line.version

    again = run_line(cwd=tmp_path, **parameters)
    assert again.exit_code == 0, again.output
    assert again.states("evaluate_detector", "register_model") == {StepState.REUSED}
    assert again.records["deploy_model"].facts["version"] == line.version
    said = json.dumps(again.records["deploy_model"].facts["happened"])
    assert "has this specification already" in said
