from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from yololine.registry.deployments import Deployed, deployments_of, find_deployed, keep_deployed
from yololine.registry.versions import versions_by_model
from yololine.storage.local import LocalStore

AT = datetime(2025, 5, 3, 2, 0, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


def deployed(service: str, *, namespace: str = "vision", version: str = "0123456789ab") -> Deployed:
    return Deployed(
        name="sheet", namespace=namespace, service=service, version=version, url="http://x", at=AT
    )


def test_what_was_put_live_last_is_known_by_service(store: LocalStore) -> None:
    assert deployments_of(store, "sheet") == ()
    assert find_deployed(store, "sheet", "vision", "b") is None
    for one in (deployed("b"), deployed("a"), deployed("b", namespace="lab")):
        keep_deployed(store, one)
    assert [(one.namespace, one.service) for one in deployments_of(store, "sheet")] == [
        ("lab", "b"),
        ("vision", "a"),
        ("vision", "b"),
    ]
    newer = deployed("b", version="fedcba987654")
    keep_deployed(store, newer)
    assert find_deployed(store, "sheet", "vision", "b") == newer
    assert deployments_of(store, "sheets") == ()


def test_a_service_of_any_name_is_no_version(store: LocalStore) -> None:
    keep_deployed(store, deployed("manifest"))
    assert versions_by_model(store) == {}


def test_a_damaged_record_hides_no_other(store: LocalStore) -> None:
    keep_deployed(store, deployed("a"))
    keep_deployed(store, deployed("b"))
    (store.root / "models/sheet/deployments/vision/a.json").write_text("{")
    assert deployments_of(store, "sheet") == (deployed("b"),)
