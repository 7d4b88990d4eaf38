from __future__ import annotations

import pytest

from tests.deployment.site import Site, answers_of, golden_of, request_of
from yololine.cluster.resources import INFERENCE_SERVICES
from yololine.deployment import rollback, rollback_target
from yololine.errors import DeploymentError

pytestmark = pytest.mark.server


def test_back_to_the_last_good_version(site: Site) -> None:
    golden = golden_of()
    site.kserve.models = {"v1": answers_of(golden), "v2": answers_of(golden)}
    site.deploy(request_of("v1"), golden)
    site.deploy(request_of("v2"), golden)
    target = rollback_target("castings", to_version=None, cluster=site.cluster)
    assert (target.model, target.version) == ("castings", "v1")
    assert target.storage_uri == "s3://bucket/line/models/castings/v1"
    outcome = rollback(
        "castings",
        to_version=None,
        cluster=site.cluster,
        golden=golden,
        progress=site.said.append,
        timeout_seconds=20,
    )
    assert (outcome.version, outcome.previous_version) == ("v1", "v2")
    assert outcome.golden_checked == 2
    assert site.answering() == "v1"


def test_back_to_a_named_one_deployed_before_or_not(site: Site) -> None:
    for version in ("v1", "v2", "v3"):
        site.deploy(request_of(version, cpu="250m"))
    assert rollback_target("castings", to_version="v1", cluster=site.cluster).version == "v1"
    other = rollback_target("castings", to_version="v0", cluster=site.cluster)
    assert other.storage_uri == "s3://bucket/line/models/castings/v0"
    outcome = rollback(
        "castings",
        to_version="v0",
        cluster=site.cluster,
        golden=None,
        progress=site.said.append,
        timeout_seconds=20,
    )
    assert (outcome.version, outcome.previous_version) == ("v0", "v3")
    service = site.cluster.get(INFERENCE_SERVICES, "castings")
    assert service is not None
    assert service["spec"]["predictor"]["model"]["resources"]["limits"]["cpu"] == "250m"


def test_a_rollback_that_fails_goes_back_as_well(site: Site) -> None:
    site.deploy(request_of("v1"))
    site.deploy(request_of("v2"))
    site.kserve.fates["v1"] = "crashes"
    with pytest.raises(DeploymentError, match="version v2 was restored, and answers"):
        rollback(
            "castings",
            to_version=None,
            cluster=site.cluster,
            golden=None,
            progress=site.said.append,
            timeout_seconds=20,
        )
    assert site.answering() == "v2"


def test_there_must_be_something_to_go_back_to(site: Site) -> None:
    with pytest.raises(DeploymentError, match="nothing was deployed under this name"):
        rollback_target("castings", to_version=None, cluster=site.cluster)
    site.deploy(request_of("v1"))
    with pytest.raises(DeploymentError, match="no other than v1 was ever good"):
        rollback_target("castings", to_version=None, cluster=site.cluster)
