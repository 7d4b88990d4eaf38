"""The deployment step on a real API server and a real MinIO, with a stand-in for KServe."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.conftest import MinioServer
from tests.deployment.conftest import new_site, site  # noqa: F401 (fixtures)
from tests.deployment.site import Site, answers_of, golden_of, picture
from yololine.cli import cli
from yololine.cluster.resources import INFERENCE_SERVICES, SERVICE_ACCOUNTS
from yololine.errors import (
    ClusterError,
    DeploymentError,
    Faults,
    UsageError,
    YololineError,
)
from yololine.evaluation.golden import Golden, write_golden
from yololine.registry.deployments import deployments_of
from yololine.registry.versions import Version, crown, register
from yololine.runs.show import look_up
from yololine.steps.checks import preflight
from yololine.steps.deploy import Live, deploy_model, go_live
from yololine.steps.report import report_run_from_journal
from yololine.steps.target import Target
from yololine.storage import Store, open_store
from yololine.telemetry.journal import RUN_ID_VARIABLE, read_record
from yololine.telemetry.records import StepRecord, StepState

TARGET = Target(deploy_cpu="500m", deploy_memory="1Gi", deploy_timeout_seconds=30)
FIRST, SECOND = "a" * 64, "b" * 64
Register = Callable[..., Version]


def _registers(store: Store, folder: Path) -> Register:
    def do(key: str, *, golden: Golden | None = None, promoted: bool = True) -> Version:
        made = folder / key[:12]
        made.mkdir(exist_ok=True)
        (made / "model.onnx").write_text(f"model {key}")
        (made / "lineage.json").write_text(json.dumps({"dataset_digest": "d" * 64}))
        names = ["model.onnx", "lineage.json"]
        if golden:
            write_golden(made / "golden.parquet", golden)
            names.append("golden.parquet")
        version = register(
            store,
            name="castings",
            key=key,
            promoted=promoted,
            files={name: made / name for name in names},
            class_names=("scratch", "pore"),
            image_size=640,
            metrics={"ap50": 0.7},
        )
        if promoted:
            crown(store, version)
        return version

    return do


@pytest.fixture
def store(minio_server: MinioServer, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in minio_server.environ.items():
        monkeypatch.setenv(name, value)
    return open_store(f"s3://{minio_server.make_bucket()}/line")


@pytest.fixture
def registers(store: Store, tmp_path: Path) -> Register:
    """Registers a version, and crowns it where it is promoted."""
    return _registers(store, tmp_path)


@pytest.fixture
def answering(site: Site, registers: Register) -> Register:  # noqa: F811
    """Registers a version that will answer as its evaluation did."""

    def do(key: str) -> Version:
        golden = golden_of()
        version = registers(key, golden=golden)
        site.kserve.models[version.version] = answers_of(golden)
        return version

    return do


def step(
    store: Store, folder: Path, run_id: str, model: str, *, rollback: bool = False, **changes: Any
) -> StepRecord:
    """The step's record in a run of its own."""
    target = replace(TARGET, **changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(RUN_ID_VARIABLE, run_id)
        with suppress(SystemExit):
            deploy_model(
                str(folder / run_id / "deployment"),
                str(folder / run_id / "report"),
                store_uri=store.uri,
                model=model,
                rollback=rollback,
                **vars(target),
            )
    record = read_record(store, run_id, "deploy_model")
    assert record
    return record


pytestmark = pytest.mark.server


def test_a_version_goes_live_and_its_run_tells(
    site: Site,  # noqa: F811
    store: Store,
    answering: Register,
    tmp_path: Path,
) -> None:
    version = answering(FIRST)
    record = step(store, tmp_path, "run-1", "castings")
    assert record.state is StepState.DONE, record.error
    assert record.upstream == {"register_model": FIRST}
    handed = Live.model_validate_json((tmp_path / "run-1" / "deployment").read_text())
    assert (handed.version, handed.previous_version) == (version.version, "")
    assert (handed.namespace, handed.service) == (site.cluster.namespace, "castings")
    assert handed.golden_checked == 2
    assert site.answering() == version.version
    service = site.cluster.get(INFERENCE_SERVICES, "castings")
    assert service
    told = service["metadata"]["annotations"]
    assert (told["yololine/run-id"], told["yololine/dataset-digest"]) == ("run-1", "d" * 64)
    predictor = service["spec"]["predictor"]
    assert predictor["model"]["storageUri"] == f"{store.uri}/{version.folder}"

    page = (tmp_path / "run-1" / "report").read_text()
    report = store.read_bytes("runs/run-1/report.html").decode()
    for text in (page, report):
        assert handed.url in text
        assert "2 answered as evaluated" in text
        assert "sending 2 golden images" in text
    # Of the steps of a training nothing is said.
    assert "Deployment" in report
    assert "Score the exported model" not in report

    (deployed,) = deployments_of(store, "castings")
    assert (deployed.version, deployed.url, deployed.run_id) == (
        version.version,
        handed.url,
        "run-1",
    )
    shown = CliRunner().invoke(cli, ["show", "castings", "--store-uri", store.uri])
    where = f"castings in {site.cluster.namespace}: version {version.version}, since"
    assert where in shown.output
    assert handed.url in shown.output
    shown = CliRunner().invoke(cli, ["show", "run-1", "--store-uri", store.uri])
    assert "run-1 succeeded" in shown.output
    assert f"{version.version} at {handed.url}" in shown.output


def test_a_wrong_answer_brings_back_what_was_and_shows_it(
    site: Site,  # noqa: F811
    store: Store,
    answering: Register,
    registers: Register,
    tmp_path: Path,
) -> None:
    before = answering(FIRST)
    assert step(store, tmp_path, "run-1", "castings").state is StepState.DONE
    worse = registers(SECOND, golden=golden_of())
    site.kserve.models[worse.version] = answers_of(golden_of(box=(20, 4, 31, 16)))
    record = step(store, tmp_path, "run-2", "castings")
    assert record.state is StepState.FAILED
    assert record.error
    # Both facts.
    assert "detects other things than evaluation did" in record.error.message
    assert f"version {before.version} was restored, and answers" in record.error.message
    assert site.answering() == before.version

    (shown,) = record.facts["wrong_answers"]
    assert shown["caption"] == "a.jpg"
    assert [box["right"] for box in (*shown["truth"], *shown["found"])] == [False, False]
    assert shown["found"][0]["xywh"] == pytest.approx([20 / 32, 4 / 24, 11 / 32, 12 / 24], abs=1e-4)
    report = store.read_bytes("runs/run-2/report.html").decode()
    assert "Golden images answered wrongly" in report
    assert 'aria-label="endpoint: 1 pore (1 not evaluated)"' in report
    assert "was restored, and answers" in report
    assert report_run_from_journal(store_uri=store.uri, run_id="run-2").endswith("report.html")

    (deployed,) = deployments_of(store, "castings")
    assert deployed.version == before.version
    assert "was restored" in deployed.trouble
    told = CliRunner().invoke(cli, ["show", "castings", "--store-uri", store.uri]).output
    assert f"version {before.version}, since" in told
    assert "trouble" in told


def test_what_was_live_before_comes_back_when_asked(
    site: Site,  # noqa: F811
    store: Store,
    answering: Register,
    tmp_path: Path,
) -> None:
    first, second = answering(FIRST), answering(SECOND)
    for version in (first, second):
        live = go_live(store, version.reference, TARGET, say=print)
    assert (live.version, live.previous_version) == (second.version, first.version)
    record = step(store, tmp_path, "run-3", "castings", rollback=True)
    assert record.state is StepState.DONE, record.error
    assert record.facts["version"] == first.version == site.answering()
    assert (record.facts["previous_version"], record.facts["golden_checked"]) == (
        second.version,
        2,
    )
    assert "Back: version" in (tmp_path / "run-3" / "report").read_text()
    (deployed,) = deployments_of(store, "castings")
    assert (deployed.version, deployed.previous_version) == (first.version, second.version)
    # And forth again, by name.
    live = go_live(store, second.reference, TARGET, rollback=True, say=print)
    assert live.version == second.version == site.answering()
    shown = look_up(store, first.reference)
    assert shown.model_dump()["deployed"] == ()


def test_a_shadow_is_asked_what_the_endpoint_was_asked(
    site: Site,  # noqa: F811
    store: Store,
    answering: Register,
    registers: Register,
    tmp_path: Path,
) -> None:
    answering(FIRST)
    assert step(store, tmp_path, "run-1", "castings").state is StepState.DONE
    for name, shade in (("day", 10), ("dusk", 90), ("night", 70)):
        store.write_bytes(f"recorded/{name}.jpg", picture(shade))
    store.write_bytes("recorded/half.jpg", picture(10)[:-200])
    uri = f"{store.uri}/recorded"
    golden = golden_of(box=(20, 4, 31, 16))
    second = registers(SECOND, golden=golden)
    site.kserve.models[second.version] = answers_of(golden)
    asked = {"deploy_strategy": "shadow", "deploy_requests_uri": uri}
    record = step(store, tmp_path, "run-2", "castings", **asked)
    # A new version may see other things.
    assert record.state is StepState.DONE, record.error
    assert site.answering() == second.version
    told = record.facts["recorded"]
    (shown,) = told.pop("examples")
    (left_out,) = told.pop("left_out")
    assert left_out.startswith("half.jpg: ")
    assert told == {
        "uri": uri,
        "found": 4,
        "asked": 4,
        "answered": 3,
        "compared": 3,
        "alike": 2,
        "otherwise": ["day.jpg"],
        "unanswered": [],
        "failed": "",
    }
    assert (shown["caption"], len(shown["truth"]), len(shown["found"])) == ("day.jpg", 1, 1)
    said = [one["said"] for one in record.facts["happened"]]
    assert f"recorded requests: 4 of 4 pictures in {uri}" in said
    assert "recorded requests: 3 answered, 2 as the live version does, 1 otherwise" in said
    report = store.read_bytes("runs/run-2/report.html").decode()
    for page in (report, (tmp_path / "run-2" / "report").read_text()):
        assert "Recorded requests" in page
        assert 'aria-label="live before: 1 pore (1 only there)"' in page
        assert 'aria-label="this version: 1 pore (1 only here)"' in page
        assert page.count("<image id=") == 1
    shown = CliRunner().invoke(cli, ["show", "run-2", "--store-uri", store.uri])
    assert "2 of 3 recorded requests answered as before" in shown.output


def test_a_shadow_that_fails_on_a_recorded_request_does_not_go_live(
    site: Site,  # noqa: F811
    store: Store,
    answering: Register,
    tmp_path: Path,
) -> None:
    first, second = answering(FIRST), answering(SECOND)
    assert step(store, tmp_path, "run-1", first.reference).state is StepState.DONE
    good = site.kserve.models[second.version]
    site.kserve.models[second.version] = lambda sent, query: (
        {"status": 500, "error": "no"} if sent == picture(70) else good(sent, query)
    )
    service = site.cluster.get(INFERENCE_SERVICES, "castings")
    folder = tmp_path / "recorded"
    folder.mkdir()
    for name, shade in (("day", 10), ("night", 70)):
        (folder / f"{name}.jpg").write_bytes(picture(shade))
    asked = {"deploy_strategy": "shadow", "deploy_requests_uri": str(folder)}
    record = step(store, tmp_path, "run-2", second.reference, **asked)
    assert record.state is StepState.FAILED
    assert record.error
    for words in (
        "to the recorded request night.jpg, which the live version answers",
        "It was a shadow: castings was not touched",
    ):
        assert words in record.error.message
    assert (record.facts["recorded"]["failed"], record.facts["recorded"]["alike"]) == (
        "night.jpg",
        1,
    )
    assert site.answering() == first.version
    now = site.cluster.get(INFERENCE_SERVICES, "castings")
    assert service
    assert now
    assert now["metadata"]["generation"] == service["metadata"]["generation"]
    assert "night.jpg" in (store.read_bytes("runs/run-2/report.html").decode())


def test_recorded_requests_that_are_not_there_are_told_before_anything_is_done(
    site: Site,  # noqa: F811
    store: Store,
    answering: Register,
) -> None:
    answering(FIRST)
    target = replace(TARGET, deploy_strategy="shadow", deploy_requests_uri=f"{store.uri}/none")
    with pytest.raises(UsageError, match=r"deploy_requests_uri=.*holds no file"):
        go_live(store, "castings", target, say=print)
    assert site.cluster.get(INFERENCE_SERVICES, "castings") is None
    # A rollback tries nothing beside, and says so.
    said: list[str] = []
    with pytest.raises(DeploymentError, match="does not exist"):
        go_live(store, "castings", target, rollback=True, say=said.append)
    assert said[0].startswith("recorded requests are not asked")


def command(*argv: str) -> Result:
    return CliRunner().invoke(cli, argv)


def test_the_commands_do_what_the_step_does(
    site: Site,  # noqa: F811
    store: Store,
    answering: Register,
) -> None:
    first, second = answering(FIRST), answering(SECOND)
    small = ["--cpu", "500m", "--memory", "1Gi", "--store-uri", store.uri]
    for version in (first, second):
        done = command("deploy", version.reference, "--service", "line-2", *small)
        assert done.exit_code == 0, done.exception
        last = done.output.splitlines()[-1]
        assert last.startswith(f"{version.reference} is live at http://127.0.0.1:")
        assert last.endswith(", 2 golden images as evaluated")
    namespace = ("--namespace", site.cluster.namespace, "--store-uri", store.uri)
    done = command("rollback", "line-2", *namespace)
    assert done.exit_code == 0, done.exception
    assert f"{first.reference} is live at" in done.output
    done = command("rollback", "line-2", "--to", second.version, *namespace)
    assert f"{second.reference} is live at" in done.output
    done = command("rollback", "line-3", *namespace)
    assert isinstance(done.exception, DeploymentError)
    assert "does not exist" in str(done.exception)


def test_what_was_never_looked_at_goes_live_only_where_that_is_said(
    site: Site,  # noqa: F811
    store: Store,
    registers: Register,
) -> None:
    version = registers(FIRST)
    with pytest.raises(UsageError, match=r"before versions had golden images.*deploy_golden=false"):
        go_live(store, "castings", TARGET, say=print)
    assert site.cluster.get(INFERENCE_SERVICES, "castings") is None
    live = go_live(store, "castings", replace(TARGET, deploy_golden=False), say=print)
    assert (live.version, live.golden_checked) == (version.version, 0)
    assert deployments_of(store, "castings")[0].golden_checked == 0


def test_what_the_cluster_will_not_take_is_told_before_anything_is_done(
    site: Site,  # noqa: F811
    store: Store,
    answering: Register,
) -> None:
    answering(FIRST)
    with pytest.raises(Faults, match=r"ServiceAccount nobody in namespace .* is missing"):
        go_live(store, "castings", replace(TARGET, serving_account="nobody"), say=print)
    assert site.cluster.get(INFERENCE_SERVICES, "castings") is None
    # Nothing was touched, so there is nothing to tell of the service.
    assert deployments_of(store, "castings") == ()


@pytest.fixture
def nights(store: Store, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Parameters of a training that deploys."""
    from yololine import pipeline_package
    from yololine.runs.package import read_package

    monkeypatch.setenv(RUN_ID_VARIABLE, "night")
    store.write_bytes("source/a.jpg", b"a picture, for all that preflight looks at")
    store.write_bytes("source/a.txt", b"")
    package = read_package(Path(pipeline_package("training")))
    return {parameter.name: parameter.default for parameter in package.parameters} | {
        "source_uri": f"{store.uri}/source",
        "model_name": "castings",
        "store_uri": f"{store.uri}/store",
        "deploy": True,
    }


def test_preflight_asks_the_cluster_before_anything_is_trained(
    site: Site,  # noqa: F811
    nights: dict[str, Any],
    tmp_path: Path,
) -> None:
    preflight(str(tmp_path / "page"), parameters=nights)
    record = read_record(open_store(nights["store_uri"]), "night", "preflight")
    assert record
    assert {"name": "deployment", "ok": True, "detail": "castings"} in record.facts["checks"]
    site.cluster.delete(SERVICE_ACCOUNTS, "yololine-serving")
    with pytest.raises(SystemExit):
        preflight(str(tmp_path / "page"), parameters=nights)
    record = read_record(open_store(nights["store_uri"]), "night", "preflight")
    assert record
    assert record.error
    assert "ServiceAccount yololine-serving in namespace" in record.error.message


def test_preflight_looks_for_recorded_requests(
    site: Site,  # noqa: F811
    store: Store,
    nights: dict[str, Any],
    tmp_path: Path,
) -> None:
    assert site
    asked = {"deploy_strategy": "shadow", "deploy_requests_uri": f"{store.uri}/recorded"}
    with pytest.raises(SystemExit):
        preflight(str(tmp_path / "page"), parameters=nights | asked)
    record = read_record(open_store(nights["store_uri"]), "night", "preflight")
    assert record
    assert record.error
    assert "/recorded': holds no file, hidden ones apart" in record.error.message
    store.write_bytes("recorded/a.jpg", picture(1))
    preflight(str(tmp_path / "page"), parameters=nights | asked)
    record = read_record(open_store(nights["store_uri"]), "night", "preflight")
    assert record
    row = {"name": "recorded requests", "ok": True, "detail": asked["deploy_requests_uri"]}
    assert row in record.facts["checks"]


def test_without_a_cluster_that_is_what_is_said(
    store: Store, registers: Register, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registers(FIRST, golden=golden_of())
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    record = step(store, tmp_path, "run-1", "castings")
    assert record.state is StepState.FAILED
    assert record.error
    assert record.error.kind == "ClusterError"
    assert "is no usable kubeconfig" in record.error.message
    with pytest.raises(ClusterError):
        go_live(store, "castings", TARGET, rollback=True, say=print)


@pytest.mark.parametrize(
    ("model", "changes", "words"),
    [
        ("casting", {}, "did you mean castings?"),
        ("castings@0", {}, "there are: aaaaaaaaaaaa"),
        ("castings", {"deploy_service": "2nd"}, "deploy_service='2nd': must be 1 to 41"),
        ("castings", {"deploy_service": "a-shadow"}, "and not in -shadow"),
    ],
)
def test_a_version_or_service_that_cannot_be_is_told_without_a_cluster(
    store: Store, registers: Register, model: str, changes: dict[str, str], words: str
) -> None:
    registers(FIRST, golden=golden_of())
    with pytest.raises(UsageError) as raised:
        go_live(store, model, replace(TARGET, **changes), say=print)
    assert words in str(raised.value)


def test_a_golden_set_that_is_damaged_stops_it(
    site: Site,  # noqa: F811
    store: Store,
    answering: Register,
) -> None:
    version = answering(FIRST)
    store.write_bytes(version.files["golden.parquet"].path, b"another one")
    with pytest.raises(YololineError, match=r"golden\.parquet: \d+ bytes, published with"):
        go_live(store, "castings", TARGET, say=print)
    assert site.cluster.get(INFERENCE_SERVICES, "castings") is None


# Without any server.


@pytest.mark.parametrize(
    ("model", "target", "kind", "words"),
    [
        ("castings", TARGET, UsageError, "is no bucket, and the pods that serve a version read it"),
        ("castings", replace(TARGET, deploy_replicas=0), UsageError, "must be 1 to 1000"),
        ("castings", replace(TARGET, deploy_replicas=1.5), UsageError, "deploy_replicas=1.5"),
        (
            "castings",
            replace(TARGET, deploy_strategy="canary", deploy_gpu_count="many"),
            Faults,
            "use one of: rolling, shadow",
        ),
        ("castings", replace(TARGET, deploy_gpu_count="many"), UsageError, "to serve on the"),
        ("castings", replace(TARGET, deploy_namespace="A B"), UsageError, "kubectl get namespaces"),
        ("castings", replace(TARGET, predictor_image=" "), UsageError, "is no name of an image"),
        (
            "castings",
            replace(TARGET, deploy_requests_uri="s3://camera/line-1"),
            UsageError,
            "deploy_requests_uri='s3://camera/line-1': would be asked of nobody",
        ),
    ],
)
def test_what_is_wrong_is_told_without_a_cluster(
    tmp_path: Path, model: str, target: Target, kind: type[YololineError], words: str
) -> None:
    folder = open_store(str(tmp_path / "store"))
    _registers(folder, tmp_path)(FIRST, golden=golden_of())
    with pytest.raises(kind) as raised:
        go_live(folder, model, target, say=print)
    assert words in str(raised.value)


def test_numbers_may_be_floats_as_kfp_sends_them() -> None:
    target = Target(deploy_replicas=2.0, deploy_max_replicas=3.0, deploy_timeout_seconds=600.0)
    assert list(target.faults()) == []
    (fault,) = replace(target, deploy_max_replicas=1.0).faults()
    assert "deploy_max_replicas=1.0: is less than deploy_replicas=2" in str(fault)
