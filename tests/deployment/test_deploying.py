"""Rows 20 to 24 of the faults, on a real API server with a stand-in for KServe's controller."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client

from tests.api_proxy import CUT, GONE, ApiProxy
from tests.deployment.site import Site, answers_of, golden_of, request_of
from tests.deployment.webhook import admission
from tests.kserve_controller import wait_until
from tests.kubernetes_api import KubernetesApi
from yololine.cluster.resources import DEPLOYMENTS, INFERENCE_SERVICES, LEASES, PODS
from yololine.deployment import deploy
from yololine.deployment.ledger import read_history
from yololine.errors import DeploymentError, Faults, Terminated

pytestmark = pytest.mark.server


def test_a_first_version_goes_live_and_is_checked(site: Site) -> None:
    golden = golden_of()
    site.kserve.models["v1"] = answers_of(golden)
    outcome = site.deploy(request_of("v1"), golden)
    assert (outcome.version, outcome.previous_version, outcome.golden_checked) == ("v1", None, 2)
    assert outcome.url == site.kserve.url_of("castings")
    assert outcome.namespace == site.cluster.namespace
    service = site.cluster.get(INFERENCE_SERVICES, "castings")
    assert service is not None
    assert service["metadata"]["generation"] == outcome.generation
    assert service["metadata"]["annotations"]["yololine/run-id"] == "run-of-v1"
    (entry,) = read_history(site.cluster, "castings")
    assert (entry.version, entry.verified) == ("v1", True)
    assert site.said[-1] == f"live: version v1 at {outcome.url}"


def test_its_pods_are_admitted_where_only_restricted_ones_are(site: Site) -> None:
    site.deploy(request_of("v1"))
    (pod,) = site.cluster.find(PODS)
    (container,) = pod["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert pod["spec"]["automountServiceAccountToken"] is False
    assert pod["spec"]["terminationGracePeriodSeconds"] == 60
    assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/tmp"}
    assert "--model-name=castings" in container["args"]


def test_the_next_version_takes_over(site: Site) -> None:
    golden = golden_of()
    site.kserve.models = {"v1": answers_of(golden), "v2": answers_of(golden)}
    site.deploy(request_of("v1"), golden)
    outcome = site.deploy(request_of("v2"), golden)
    assert (outcome.version, outcome.previous_version) == ("v2", "v1")
    assert site.answering() == "v2"


def test_the_same_again_changes_nothing(site: Site) -> None:
    first = site.deploy(request_of("v1"))
    (before,) = site.cluster.find(PODS)
    again = site.deploy(request_of("v1", lineage={"run_id": "another"}))
    (after,) = site.cluster.find(PODS)
    assert before["metadata"]["uid"] == after["metadata"]["uid"]
    assert again.generation == first.generation
    assert "castings has this specification already" in site.said


@pytest.mark.parametrize(
    ("fate", "words"),
    [
        ("crashes", ["ends again and again with exit code 1", "does not have the sha256"]),
        ("out-of-memory", ["was killed for memory", "OOMKilled"]),
        ("no-image", ["ImagePullBackOff"]),
        ("no-model", ["container storage-initializer", "does not have the sha256"]),
    ],
)
def test_row_22_a_version_that_does_not_come_up_gives_way_to_the_one_before(
    site: Site, fate: str, words: list[str]
) -> None:
    golden = golden_of()
    site.kserve.models["v1"] = answers_of(golden)
    site.deploy(request_of("v1"), golden)
    site.kserve.fates["v2"] = fate
    with pytest.raises(DeploymentError) as raised:
        site.deploy(request_of("v2"), golden)
    for part in words:
        assert part in str(raised.value)
    assert "version v1 was restored, and answers" in str(raised.value)
    assert site.answering() == "v1"
    assert [entry.version for entry in read_history(site.cluster, "castings")] == ["v1"]


def test_row_22_so_does_one_that_answers_wrongly(site: Site) -> None:
    golden = golden_of()
    site.kserve.models["v1"] = answers_of(golden)
    site.kserve.models["v2"] = answers_of(golden_of(box=(10, 10, 30, 22)))
    site.deploy(request_of("v1"), golden)
    with pytest.raises(DeploymentError) as raised:
        site.deploy(request_of("v2"), golden)
    assert "a.jpg: pore 0.90 at (4, 4, 20, 16) is not found" in str(raised.value)
    assert "version v1 was restored, and answers" in str(raised.value)
    assert site.answering() == "v1"


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (lambda *_: {"status": 500, "error": "boom"}, "answers 500"),
        (lambda *_: {"scores": [0.5]}, "answers with no detections"),
        (lambda *_: {"status": 302, "location": "http://127.0.0.1:1/"}, "answers 302"),
    ],
)
def test_row_22_so_does_one_that_answers_with_errors(
    site: Site, model: Callable[..., dict[str, Any]], words: str
) -> None:
    golden = golden_of()
    site.kserve.models = {"v1": answers_of(golden), "v2": model}
    site.deploy(request_of("v1"), golden)
    with pytest.raises(DeploymentError, match=words) as raised:
        site.deploy(request_of("v2"), golden)
    assert "version v1 was restored, and answers" in str(raised.value)


def test_an_old_pod_that_still_answers_is_noticed(site: Site) -> None:
    golden = golden_of()
    site.kserve.models = {"v1": answers_of(golden), "v2": answers_of(golden)}
    site.deploy(request_of("v1"), golden)
    site.kserve.answers_as["v2"] = "v1"
    with pytest.raises(DeploymentError, match="is answered by version v1, not v2"):
        site.deploy(request_of("v2"), golden)


def test_ready_is_not_believed(site: Site) -> None:
    site.deploy(request_of("v1"))
    site.kserve.lies = True
    site.kserve.fates["v2"] = "crashes"
    with pytest.raises(DeploymentError, match="ends again and again"):
        site.deploy(request_of("v2"))
    assert site.answering() == "v1"


def test_a_first_version_that_fails_is_removed(site: Site) -> None:
    site.kserve.fates["v1"] = "crashes"
    with pytest.raises(DeploymentError, match="had no version before, and was removed again"):
        site.deploy(request_of("v1"))
    assert site.cluster.get(INFERENCE_SERVICES, "castings") is None
    wait_until(lambda: site.cluster.get(DEPLOYMENTS, "castings-predictor") is None)


def test_both_facts_are_told_where_the_one_before_does_not_come_back(site: Site) -> None:
    site.deploy(request_of("v1"))
    site.kserve.fates = {"v1": "no-image", "v2": "crashes"}
    with pytest.raises(DeploymentError) as raised:
        site.deploy(request_of("v2"))
    assert "ends again and again" in str(raised.value)
    assert "version v1 could NOT be restored" in str(raised.value)
    assert "ImagePullBackOff" in str(raised.value)


def test_row_23_fields_of_somebody_else_are_not_taken(site: Site) -> None:
    site.deploy(request_of("v1"))
    site.edit("kubectl-edit", {"spec": {"predictor": {"model": {"image": "theirs:1"}}}})
    with pytest.raises(Faults) as raised:
        site.deploy(request_of("v2", predictor_image="ours:2"))
    assert "kubectl-edit (.spec.predictor.model.image)" in str(raised.value)
    service = site.cluster.get(INFERENCE_SERVICES, "castings")
    assert service is not None
    assert service["spec"]["predictor"]["model"]["image"] == "theirs:1"
    assert service["metadata"]["labels"]["yololine/version"] == "v1"


def test_row_23_an_edit_in_mid_rollout_is_reported_and_left_alone(site: Site) -> None:
    site.deploy(request_of("v1"))
    site.kserve.asleep = True
    theirs = {"spec": {"predictor": {"model": {"storageUri": "s3://theirs/x"}}}}
    with site.deploying(request_of("v2")) as ended:
        wait_until(lambda: site.labelled() == "v2")
        site.edit("kubectl-edit", theirs)
    (error,) = ended
    assert "was changed while it was rolled out, by kubectl-edit" in str(error)
    assert ".spec.predictor.model.storageUri" in str(error)
    assert "nothing was restored" in str(error)
    service = site.cluster.get(INFERENCE_SERVICES, "castings")
    assert service is not None
    assert service["spec"]["predictor"]["model"]["storageUri"] == "s3://theirs/x"


def test_row_23_so_is_one_while_the_golden_images_are_answered(site: Site) -> None:
    golden = golden_of()
    answer = answers_of(golden)

    def edited(image: bytes, query: Mapping[str, str]) -> dict[str, Any]:
        site.edit("kubectl-edit", {"spec": {"predictor": {"model": {"image": "theirs:1"}}}})
        return answer(image, query)

    site.kserve.models["v1"] = edited
    with pytest.raises(DeploymentError, match="was changed while it was rolled out") as raised:
        site.deploy(request_of("v1"), golden)
    assert "kubectl-edit (.spec.predictor.model.image)" in str(raised.value)
    service = site.cluster.get(INFERENCE_SERVICES, "castings")
    assert service is not None
    assert service["spec"]["predictor"]["model"]["image"] == "theirs:1"


def test_row_24_without_a_free_gpu_the_schedulers_reason_is_told(
    site: Site, kubernetes_api: KubernetesApi
) -> None:
    node = kubernetes_api.make_node(gpus=1)
    tolerations = [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    selector = {"kubernetes.io/hostname": node}
    on_gpu = {"gpu_count": "1", "node_selector": selector, "tolerations": tolerations}
    site.deploy(request_of("v1", service_name="others", **on_gpu))
    with pytest.raises(DeploymentError) as raised:
        site.deploy(request_of("v1", timeout_seconds=2, **on_gpu))
    assert "after 2 s" in str(raised.value)
    assert "Insufficient nvidia.com/gpu" in str(raised.value)
    # And where the GPU is its own, the next version needs no second one.
    assert site.deploy(request_of("v2", service_name="others", **on_gpu)).version == "v2"


def test_a_refused_pod_is_told_in_its_words(new_site: Callable[..., Site]) -> None:
    site = new_site()
    with site.api.api_client() as api:
        client.CoreV1Api(api).create_namespaced_limit_range(
            site.cluster.namespace,
            {
                "metadata": {"name": "small"},
                "spec": {"limits": [{"type": "Container", "max": {"memory": "1Gi"}}]},
            },
        )
    with pytest.raises(DeploymentError, match="no pod could be made") as raised:
        site.deploy(request_of("v1", memory="3Gi"))
    assert "maximum memory usage per Container is 1Gi" in str(raised.value)


def test_a_controller_that_sleeps_is_told(site: Site) -> None:
    site.kserve.asleep = True
    with pytest.raises(DeploymentError, match="KServe has not taken up the specification"):
        site.deploy(request_of("v1", timeout_seconds=1))


def test_a_mode_that_cannot_be_followed_is_told(site: Site) -> None:
    site.kserve.mode = "Knative"
    with pytest.raises(DeploymentError, match="mode Knative, not Standard"):
        site.deploy(request_of("v1"))


def test_row_20_a_metadata_address_is_never_asked(site: Site) -> None:
    site.kserve.address = "http://169.254.169.254"
    with pytest.raises(DeploymentError, match="is never asked"):
        site.deploy(request_of("v1"))


def test_row_21_watches_and_reads_may_fail(new_site: Callable[..., Site], proxy: ApiProxy) -> None:
    site = new_site(server=proxy.url)
    proxy.watch_faults.extend([500, GONE, 409, CUT, 410, 503, CUT, GONE])
    proxy.read_faults.extend([503, CUT, 500])
    proxy.write_faults.extend([503, 429])
    outcome = site.deploy(request_of("v1"))
    assert outcome.version == "v1"
    assert not proxy.read_faults
    assert not proxy.write_faults
    assert len(proxy.watch_faults) < 8


def test_row_21_so_may_the_whole_api_server(
    new_site: Callable[..., Site], kubernetes_api: KubernetesApi
) -> None:
    site = new_site()
    site.kserve.asleep = True
    with site.deploying(request_of("v1")) as ended:
        wait_until(lambda: site.labelled() == "v1")
        kubernetes_api.stop_api_server()
        try:
            time.sleep(0.5)
        finally:
            kubernetes_api.start_api_server()
        site.kserve.asleep = False
    assert [outcome.version for outcome in ended] == ["v1"]


def test_two_at_once_are_refused(site: Site) -> None:
    site.kserve.asleep = True
    with site.deploying(request_of("v1")) as ended:
        wait_until(lambda: site.labelled() == "v1")
        with pytest.raises(DeploymentError, match="is being deployed by run-of-v1 on"):
            site.deploy(request_of("v2"))
        site.kserve.asleep = False
    assert [outcome.version for outcome in ended] == ["v1"]
    # And the lock is free again.
    assert site.deploy(request_of("v2")).version == "v2"


def test_a_lock_of_a_dead_deployment_runs_out(site: Site) -> None:
    site.deploy(request_of("v1"))
    lease = site.cluster.get(LEASES, "yololine-castings")
    assert lease is not None
    lease["spec"] |= {"holderIdentity": "a pod that was killed"}
    site.cluster.replace(LEASES, lease)
    run_out(site)
    assert site.deploy(request_of("v2")).version == "v2"


INTERRUPTED = """
import sys
from tests.deployment.site import request_of
from yololine.cluster import connect
from yololine.deployment import deploy
from yololine.steps.perform import terminable

with terminable():
    deploy(
        request_of("v2"),
        cluster=connect(),
        golden=None,
        progress=lambda words: print(words, flush=True),
    )
"""


def begin(site: Site) -> subprocess.Popen[str]:
    """Begin to deploy v2 in a process of its own, while KServe sleeps."""
    site.kserve.asleep = True
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_until(lambda: site.labelled() == "v2")
    return process


def test_what_was_live_is_put_back_where_it_is_told_to_stop(site: Site) -> None:
    site.deploy(request_of("v1"))
    process = begin(site)
    process.send_signal(signal.SIGTERM)
    said, error = process.communicate()
    assert process.returncode
    assert "interrupted: version v1 was put back, and is not checked yet" in said
    assert "was told to stop (SIGTERM); version v1 was put back" in error
    assert site.labelled() == "v1"
    lease = site.cluster.get(LEASES, "yololine-castings")
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == ""
    site.kserve.asleep = False
    assert site.deploy(request_of("v2")).previous_version == "v1"


def test_a_first_version_is_taken_away_where_it_is_told_to_stop(site: Site) -> None:
    process = begin(site)
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate()
    assert "interrupted: castings had no version before, and is being removed again" in said
    wait_until(lambda: site.cluster.get(INFERENCE_SERVICES, "castings") is None)
    site.kserve.asleep = False
    assert site.deploy(request_of("v2")).previous_version is None


def test_what_was_killed_in_mid_rollout_is_not_what_is_gone_back_to(site: Site) -> None:
    site.deploy(request_of("v1"))
    process = begin(site)
    process.kill()
    process.communicate()
    with pytest.raises(DeploymentError, match="is being deployed by run-of-v2 on"):
        site.deploy(request_of("v2"))
    run_out(site)
    site.kserve.asleep = False
    site.kserve.models["v2"] = lambda *_: {"status": 500}
    with pytest.raises(DeploymentError, match="version v1 was restored, and answers"):
        site.deploy(request_of("v2"), golden_of())
    site.kserve.models.clear()
    assert site.deploy(request_of("v2")).version == "v2"


def test_an_api_server_that_is_away_keeps_nobody_from_stopping(
    new_site: Callable[..., Site], proxy: ApiProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("live", "ledger"):
        monkeypatch.setattr(f"yololine.deployment.{module}.HURRY_SECONDS", 0.3)
    site = new_site(server=proxy.url)
    site.deploy(request_of("v1"))
    site.kserve.asleep = True

    def stop(words: str) -> None:
        if words == "waiting for KServe to change the Deployment":
            proxy.write_faults.extend([503] * 1000)
            raise Terminated("step", rule="was told to stop (SIGTERM)", remedy="run it again")

    words = "castings may be on its way to version v2, unchecked, as it could NOT be put back"
    with pytest.raises(Terminated, match=words):
        deploy(request_of("v2"), cluster=site.cluster, golden=None, progress=stop)
    proxy.write_faults.clear()
    site.kserve.asleep = False
    with pytest.raises(DeploymentError, match="is being deployed by run-of-v2 on"):
        site.deploy(request_of("v2"))
    run_out(site)
    assert site.deploy(request_of("v2")).version == "v2"


def run_out(site: Site) -> None:
    """Let the time of a dead deployment's lock have passed."""
    lease = site.cluster.get(LEASES, "yololine-castings")
    assert lease is not None
    lease["spec"]["renewTime"] = "2026-01-01T00:00:00.000000Z"
    site.cluster.replace(LEASES, lease)


@pytest.mark.parametrize("versions", [["v1"], ["v0", "v1"]])
def test_a_check_that_fails_takes_nothing_away_from_what_was_good(
    site: Site, versions: list[str]
) -> None:
    """A nightly run finds its version live; whatever it then meets, people keep their answers."""
    golden = golden_of()
    for version in versions:
        site.kserve.models[version] = answers_of(golden)
        site.deploy(request_of(version), golden)
    before = site.cluster.get(INFERENCE_SERVICES, "castings")
    site.kserve.models["v1"] = answers_of(golden_of(score=0.5))
    with pytest.raises(DeploymentError, match="version v1 stayed, and answers"):
        site.deploy(request_of("v1"), golden)
    after = site.cluster.get(INFERENCE_SERVICES, "castings")
    assert before is not None
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert [entry.version for entry in read_history(site.cluster, "castings")] == versions


def test_a_service_of_somebody_else_is_left_to_them(site: Site) -> None:
    body = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": "castings"},
        "spec": {
            "predictor": {
                "model": {
                    "modelFormat": {"name": "yololine"},
                    "runtime": "yololine-predictor",
                    "storageUri": "s3://bucket/by-hand",
                }
            }
        },
    }
    with site.api.api_client() as api:
        client.CustomObjectsApi(api).create_namespaced_custom_object(
            "serving.kserve.io",
            "v1beta1",
            site.cluster.namespace,
            "inferenceservices",
            body,
            field_manager="kubectl-create",
        )
    with pytest.raises(Faults, match=r"kubectl-create \(.spec.predictor.model.storageUri\)"):
        site.deploy(request_of("v1"))


@pytest.mark.parametrize("dry_run", [True, False], ids=["beforehand", "afterwards"])
def test_a_webhook_that_refuses_is_told_in_its_words(site: Site, dry_run: bool) -> None:
    """Somebody's policy, or KServe's own check: nothing is touched."""
    site.deploy(request_of("v1"))

    def answer(asked: dict[str, Any]) -> str:
        """Let through what is not meant: a webhook takes a moment to be known everywhere."""
        version = asked["object"]["metadata"].get("labels", {}).get("yololine/version")
        seen.append(version)
        return "not on Fridays" if version == "v2" and (dry_run or not asked["dryRun"]) else ""

    seen: list[str] = []
    with admission(site.api, site.cluster.namespace, answer):
        wait_until(lambda: site.edit("a-person", {"metadata": {"labels": {"a": "b"}}}) or seen)
        with pytest.raises(Faults if dry_run else DeploymentError) as raised:
            site.deploy(request_of("v2"))
    assert "denied the request: not on Fridays" in str(raised.value)
    if not dry_run:
        assert "version v1 stayed, and answers" in str(raised.value)
    assert site.labelled() == "v1"


def test_a_webhook_that_is_down_is_waited_for(site: Site) -> None:
    """Such as KServe's own, while its controller starts anew."""
    asked: list[str] = []

    def answer(request: dict[str, Any]) -> str:
        asked.append(request["operation"])
        if len(asked) < 3:
            raise ConnectionError
        return ""

    with admission(site.api, site.cluster.namespace, answer):
        site.deploy(request_of("v1"))
