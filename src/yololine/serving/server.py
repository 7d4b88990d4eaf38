"""Start a predictor, and stay until it is told to stop."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from yololine.serving import logs
from yololine.serving.loading import load
from yololine.serving.service import Service
from yololine.serving.settings import Settings


def serve(settings: Settings, *, announce: Callable[[str], None] | None = None) -> None:
    """Serve a version until SIGTERM or SIGINT.

    Args:
        settings: What, where and within which limits.
        announce: Told the URL once the model is ready.

    Raises:
        YololineError: The version does not verify, the model cannot be run, a port is taken.
    """
    # Settings of an ONNX Runtime or OpenVINO that would report its use.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    # Nothing of what is imported is garbage: looking for some would take a fifth of the start.
    gc.disable()
    with logs.in_one_form(settings.log_level), ThreadPoolExecutor(1, "loading") as pool:
        # kserve imports for a second, most of it for its Kubernetes client: meanwhile the model's
        # files are verified and its graph is compiled.
        loading = pool.submit(load, settings)
        from yololine.serving.predictor import Predictor

        Predictor(Service(settings), loading, announce=announce).run()
