from __future__ import annotations

import pytest

from tests.deployment.site import Site, request_of
from yololine.cluster.resources import LEASES
from yololine.deployment.ledger import holding, lease_name, read_history
from yololine.deployment.live import before, target
from yololine.deployment.specification import digest_of, specification
from yololine.errors import DeploymentError

pytestmark = pytest.mark.server


def test_only_one_holds_it(site: Site) -> None:
    with holding(site.cluster, "castings", who="run-1"):
        with (
            pytest.raises(DeploymentError, match="is being deployed by run-1") as raised,
            holding(site.cluster, "castings", who="run-2"),
        ):
            pass
        assert raised.value.retryable
        with holding(site.cluster, "another"):
            pass
    with holding(site.cluster, "castings", who="run-2"):
        pass


def test_who_has_lost_it_writes_nothing_more(site: Site) -> None:
    with holding(site.cluster, "castings") as ledger:
        lease = site.cluster.get(LEASES, lease_name("castings"))
        assert lease is not None
        lease["spec"]["holderIdentity"] = "somebody else"
        site.cluster.replace(LEASES, lease)
        ledger.renew()
        with pytest.raises(DeploymentError, match="is no longer held by this deployment"):
            ledger.note(specification(request_of("v1")), verified=True)
    assert read_history(site.cluster, "castings") == ()
    lease = site.cluster.get(LEASES, lease_name("castings"))
    assert lease is not None
    assert lease["spec"]["holderIdentity"] == "somebody else"


def test_its_own_write_whose_answer_was_lost_is_no_loss(site: Site) -> None:
    with holding(site.cluster, "castings") as ledger:
        lease = site.cluster.get(LEASES, lease_name("castings"))
        assert lease is not None
        site.cluster.replace(LEASES, lease)
        ledger.note(specification(request_of("v1")), verified=True)
        assert [entry.version for entry in ledger.history] == ["v1"]


def test_the_last_five_good_ones_are_kept(site: Site) -> None:
    with holding(site.cluster, "castings") as ledger:
        for number in range(7):
            ledger.note(specification(request_of(f"v{number}")), verified=number != 4)
    kept = [entry.version for entry in read_history(site.cluster, "castings")]
    assert kept == ["v1", "v2", "v3", "v5", "v6"]


def test_a_damaged_history_is_an_empty_one(site: Site) -> None:
    with holding(site.cluster, "castings"):
        pass
    lease = site.cluster.get(LEASES, lease_name("castings"))
    assert lease is not None
    lease["metadata"]["annotations"] = {"yololine/history": "[{"}
    site.cluster.replace(LEASES, lease)
    assert read_history(site.cluster, "castings") == ()


def test_what_is_gone_back_to(site: Site) -> None:
    v1, v2, v3 = (specification(request_of(version)) for version in ("v1", "v2", "v3"))
    by_hand = {
        "apiVersion": v1["apiVersion"],
        "kind": v1["kind"],
        "metadata": {
            "name": "castings",
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}", "a": "b"},
            "managedFields": [],
        },
        "spec": {"predictor": {"model": {"storageUri": "s3://by-hand"}}},
        "status": {},
    }
    with holding(site.cluster, "castings") as ledger:
        assert before(ledger, None, v1) is None
        # Not of this code: as it stands.
        found = before(ledger, by_hand, v1)
        assert found is not None
        assert found["spec"] == by_hand["spec"]
        assert found["metadata"] == {"name": "castings", "labels": {}, "annotations": {"a": "b"}}
        ledger.note(v1, verified=True)
        assert before(ledger, v1, v2) == v1
        # Cut off before it was checked: never gone back to.
        ledger.note(v2, verified=False)
        assert before(ledger, v2, v2) == v1
        assert before(ledger, v2, v3) == v1
        ledger.note(v2, verified=True)
        ledger.note(v2, verified=False)
        assert before(ledger, v2, v3) == v2
        # It is live and good already: nothing else is gone back to.
        assert before(ledger, v2, v2) == v2
        # No attempt of this code is unknown to its history: so it was good, before that was lost.
        found = before(ledger, v3, v3)
        assert found is not None
        assert found["spec"] == v3["spec"]
        ledger.note(v3, verified=False)
        ledger.forget(digest_of(v1))
        ledger.forget(digest_of(v2))
        assert before(ledger, v3, v3) is None
        assert target(ledger.history, digest_of(v3), None) is None
