from __future__ import annotations

from pathlib import Path

import pytest

from yololine.storage import Store
from yololine.storage.local import LocalStore
from yololine.storage.s3 import S3Store


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.server)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind: what holds for one holds for the other."""
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    server = request.getfixturevalue("minio_server")
    return S3Store.from_uri(f"s3://{server.make_bucket()}/some/prefix", server.environ)
