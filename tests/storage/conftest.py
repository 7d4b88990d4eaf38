from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from yololine.storage import Store
from yololine.storage.local import LocalStore
from yololine.storage.s3 import S3Store

if TYPE_CHECKING:
    from tests.conftest import MinioServer


@pytest.fixture(params=["local", pytest.param("s3", marks=pytest.mark.server)])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind: what holds for one holds for the other."""
    if request.param == "local":
        return LocalStore(tmp_path / "store")
    server = request.getfixturevalue("minio_server")
    return S3Store.from_uri(f"s3://{server.make_bucket()}/some/prefix", server.environ)


@pytest.fixture(scope="session")
def odd_server(new_minio: Callable[..., MinioServer]) -> MinioServer:
    """A MinIO whose buckets are hosts below localhost too, in a region, with its web console."""
    server = new_minio(
        console=True,
        settings={"MINIO_DOMAIN": "localhost", "MINIO_SITE_REGION": "eu-central-1"},
    )
    server.start()
    return server
