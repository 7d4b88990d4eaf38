"""A registered version on this machine, straight from its store."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from yololine.registry.versions import WEIGHTS, fetch_version, resolve_version
from yololine.serving.server import serve
from yololine.serving.settings import settings
from yololine.storage import open_store


def serve_from_store(
    store_uri: str,
    what: str,
    *,
    port: int = 8080,
    host: str = "127.0.0.1",
    announce: Callable[[str], None],
    **given: Any,
) -> None:
    """Fetch a version and serve it until Ctrl-C.

    Args:
        store_uri: Where models are registered.
        what: `NAME`, its champion, or `NAME@VERSION`.
        port: For HTTP; 0 takes a free one. No gRPC is served unless `grpc_port` is given.
        host: 127.0.0.1 lets this machine alone in.
        announce: Told what is served, and the URL once it is ready.
        given: More of `Settings`.

    Raises:
        YololineError: There is no such version, it does not verify, or the port is taken.
    """
    store = open_store(store_uri)
    version = resolve_version(store, what)
    with tempfile.TemporaryDirectory(prefix="yololine-") as folder:
        wanted = {
            "grpc_port": None,
            "drain_seconds": 0,
            "log_level": "WARNING",
            **given,
            "model_dir": Path(folder),
            "host": host,
            "http_port": port,
        }
        checked = settings(**wanted)
        fetch_version(
            store, version, Path(folder), files=[name for name in version.files if name != WEIGHTS]
        )

        def ready(url: str) -> None:
            announce(f"{version.reference}: {url}")

        serve(checked, announce=ready)
