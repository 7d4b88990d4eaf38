from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.deployment.site import (
    Site,
    answers_of,
    golden_of,
    picture,
    renumbered,
    request_of,
)
from tests.kserve_controller import Model, wait_until
from yololine.cluster.resources import INFERENCE_SERVICES
from yololine.deployment import RecordedRequest, ShadowReport
from yololine.errors import DeploymentError
from yololine.evaluation.golden import Golden

pytestmark = pytest.mark.server


def recorded(**shades: int) -> list[RecordedRequest]:
    """Pictures by their names."""
    return [
        RecordedRequest(name=name, image_bytes=picture(shade), width=32, height=24)
        for name, shade in shades.items()
    ]


def failing_on(image_bytes: bytes) -> Model:
    """A model that answers as evaluated, but for one picture, on which it fails."""
    good = answers_of(golden_of())

    def answer(sent: bytes, query: Mapping[str, str]) -> dict[str, Any]:
        return {"status": 500, "error": "no"} if sent == image_bytes else good(sent, query)

    return answer


def tried(site: Site, golden: Golden, requests: list[RecordedRequest]) -> ShadowReport:
    """How v2 answered recorded requests as a shadow, before it went live."""
    reports: list[ShadowReport] = []
    outcome = site.deploy(
        request_of("v2", strategy="shadow"), golden, recorded=requests, compared=reports.append
    )
    assert outcome.version == "v2"
    (report,) = reports
    return report


def test_a_version_is_tried_beside_the_live_one_and_then_takes_over(site: Site) -> None:
    golden = golden_of()
    # Classes in another order are no difference.
    other = renumbered(golden_of(), ("pore", "scratch"), class_id=0)
    site.kserve.models = {"v1": answers_of(golden), "v2": answers_of(other)}
    site.deploy(request_of("v1"), golden)
    site.kserve.requests.clear()
    report = tried(site, other, recorded(one=90, two=10))
    assert (report.answered, report.compared, report.alike, report.examples) == (2, 2, 2, [])
    assert "recorded requests: 2 answered, 2 as the live version does, 0 otherwise" in site.said
    asked = site.kserve.requests
    assert asked.count(("castings-shadow", "v2")) == 4
    # While it was a shadow; then an old pod may answer once more before it is gone.
    shadowed = len(asked) - asked[::-1].index(("castings-shadow", "v2"))
    assert asked[:shadowed].count(("castings", "v1")) == 2
    assert asked.count(("castings", "v2")) == 2
    wait_until(lambda: site.cluster.get(INFERENCE_SERVICES, "castings-shadow") is None)


def test_what_a_new_version_sees_otherwise_is_told_and_refuses_nothing(site: Site) -> None:
    before, after = golden_of(), golden_of(box=(20, 4, 31, 16))
    site.kserve.models = {"v1": answers_of(before), "v2": answers_of(after)}
    site.deploy(request_of("v1"), before)
    report = tried(site, after, recorded(night=90, day=10))
    assert (report.alike, report.otherwise) == (1, ["day"])
    (shown,) = report.examples
    assert shown.differences == (
        "pore 0.90 at (4, 4, 20, 16) is not found",
        "pore 0.90 at (20, 4, 31, 16) is found, and was not by the live version",
    )


def test_a_shadow_that_fails_where_the_live_one_answers_is_refused(site: Site) -> None:
    golden = golden_of()
    site.kserve.models = {"v1": answers_of(golden), "v2": failing_on(picture(70))}
    site.deploy(request_of("v1"), golden)
    reports: list[ShadowReport] = []
    with pytest.raises(
        DeploymentError,
        match=r"answers 500 .* to the recorded request bad, which the live version answers\. "
        "It was a shadow: castings was not touched",
    ):
        site.deploy(
            request_of("v2", strategy="shadow"),
            golden,
            recorded=recorded(good=90, bad=70),
            compared=reports.append,
        )
    assert (reports[0].failed, reports[0].answered) == ("bad", 1)
    assert site.answering() == "v1"
    wait_until(lambda: site.cluster.get(INFERENCE_SERVICES, "castings-shadow") is None)


def test_what_no_live_version_answers_is_compared_with_nothing(site: Site) -> None:
    golden = golden_of()
    broken = failing_on(picture(70))
    site.kserve.models = {"v1": broken, "v2": broken}
    first = request_of("v1", strategy="shadow")
    # The first version of all must answer by itself.
    with pytest.raises(DeploymentError, match=r"to the recorded request bad\. It was a shadow"):
        site.deploy(first, golden, recorded=recorded(bad=70))
    reports: list[ShadowReport] = []
    site.deploy(first, golden, recorded=recorded(good=90), compared=reports.append)
    # And what the live one fails on proves nothing of the next.
    site.deploy(
        request_of("v2", strategy="shadow"),
        golden,
        recorded=recorded(good=90, bad=70),
        compared=reports.append,
    )
    assert [(one.answered, one.compared) for one in reports] == [(1, 0), (1, 1)]
    assert reports[1].unanswered == ["bad"]


def test_a_live_version_that_answers_nothing_holds_no_better_one_up(site: Site) -> None:
    golden = golden_of()
    site.kserve.models = {"v1": answers_of(golden), "v2": answers_of(golden)}
    site.deploy(request_of("v1"), golden)
    site.kserve.models["v1"] = lambda *_: {"status": 503, "error": "busy"}
    reports: list[ShadowReport] = []
    outcome = site.deploy(
        request_of("v2", strategy="shadow"),
        golden,
        recorded=recorded(a=1, b=2, c=3, d=4, e=5, f=6, g=7),
        compared=reports.append,
    )
    assert outcome.version == "v2"
    assert (reports[0].unanswered, reports[0].answered) == (["a", "b", "c", "d", "e"], 2)
    assert "the live version answered none of the last 5, and is not asked any more" in site.said


def test_a_live_version_that_is_not_there_is_asked_nothing(site: Site) -> None:
    golden = golden_of()
    site.kserve.models = {"v1": answers_of(golden), "v2": answers_of(golden)}
    site.deploy(request_of("v1"), golden)
    front = site.kserve._fronts["castings"]
    front.shutdown()
    front.server_close()
    reports: list[ShadowReport] = []
    # It is good as a shadow; that the service's own address answers, nobody can say.
    with pytest.raises(DeploymentError, match="cannot be reached from here"):
        site.deploy(
            request_of("v2", strategy="shadow"),
            golden,
            recorded=recorded(good=90),
            compared=reports.append,
        )
    assert (reports[0].answered, reports[0].compared) == (1, 0)
    assert any(said.startswith("nothing to compare with: ") for said in site.said)


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
