"""What tests of the pages share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.docs.kfp_server import KfpServer


@pytest.fixture
def kfp_server() -> Iterator[KfpServer]:
    """An API server of Kubeflow that has seen nothing yet."""
    server = KfpServer()
    server.start()
    yield server
    server.stop()
