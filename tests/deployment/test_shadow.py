from __future__ import annotations

import pytest

from tests.deployment.site import Site, answers_of, golden_of, picture, request_of
from tests.kserve_controller import wait_until
from yololine.cluster.resources import INFERENCE_SERVICES
from yololine.errors import DeploymentError

pytestmark = pytest.mark.server


def test_a_version_is_tried_beside_the_live_one_and_then_takes_over(site: Site) -> None:
    golden = golden_of()
    site.kserve.models = {"v1": answers_of(golden), "v2": answers_of(golden)}
    site.deploy(request_of("v1"), golden)
    site.kserve.requests.clear()
    recorded = [picture(90), picture(10)]
    outcome = site.deploy(request_of("v2", strategy="shadow"), golden, recorded=recorded)
    assert outcome.version == "v2"
    assert outcome.shadow is not None
    assert (outcome.shadow.recorded, outcome.shadow.agreeing) == (2, 2)
    asked = site.kserve.requests
    assert asked.count(("castings-shadow", "v2")) == 4
    # While it was a shadow; then an old pod may answer once more before it is gone.
    shadowed = len(asked) - asked[::-1].index(("castings-shadow", "v2"))
    assert asked[:shadowed].count(("castings", "v1")) == 2
    assert asked.count(("castings", "v2")) == 2
    wait_until(lambda: site.cluster.get(INFERENCE_SERVICES, "castings-shadow") is None)


def test_a_shadow_that_answers_wrongly_leaves_the_live_one_alone(site: Site) -> None:
    golden = golden_of()
    site.kserve.models = {"v1": answers_of(golden), "v2": answers_of(golden_of(score=0.5))}
    site.deploy(request_of("v1"), golden)
    before = site.cluster.get(INFERENCE_SERVICES, "castings")
    assert before is not None
    with pytest.raises(DeploymentError, match="It was a shadow: castings was not touched"):
        site.deploy(request_of("v2", strategy="shadow"), golden)
    after = site.cluster.get(INFERENCE_SERVICES, "castings")
    assert after is not None
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    wait_until(lambda: site.cluster.get(INFERENCE_SERVICES, "castings-shadow") is None)
