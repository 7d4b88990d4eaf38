"""kserve's ModelServer with our model: what it is asked about, how it starts and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import math
import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import kserve
import uvicorn
import uvloop
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.rest.server import RESTServer

from yololine import __version__
from yololine.errors import UsageError
from yololine.serving import grpc, tensors
from yololine.serving.connections import Connection
from yololine.serving.http import Front
from yololine.serving.loading import Loaded
from yololine.serving.logs import event
from yololine.serving.page_files import read_page
from yololine.serving.service import Service

_BACKLOG = 2048


class DetectorModel(kserve.Model):  # type: ignore[misc]  # kserve publishes no types
    """What kserve's endpoints tell of the model."""

    def __init__(self, service: Service) -> None:
        super().__init__(service.name)
        self._service = service

    async def healthy(self) -> bool:
        """Whether it may be asked."""
        return self._service.ready

    def get_input_types(self) -> list[dict[str, Any]]:
        """Tensors that go in; one of them in a request."""
        return list(tensors.INPUTS)

    def get_output_types(self) -> list[dict[str, Any]]:
        """Tensors that come out."""
        return list(tensors.OUTPUTS)


class _DataPlane(DataPlane):  # type: ignore[misc]
    """kserve's, which knows of no readiness of a server, and of no model's version."""

    def __init__(self, registered: Any, service: Service) -> None:
        super().__init__(model_registry=registered)
        self._service = service

    async def ready(self) -> bool:
        return self._service.ready

    def metadata(self) -> dict[str, Any]:
        return {
            "name": "yololine",
            "version": __version__,
            "extensions": ["binary_tensor_data"],
        }

    async def model_metadata(self, model_name: str) -> dict[str, Any]:
        told: dict[str, Any] = await super().model_metadata(model_name)
        version = self._service.version.version
        return {**told, "platform": self._service.platform, "versions": [version]}


class _Uvicorn(uvicorn.Server):
    """One that leaves signals to us: it would stop listening at once."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Predictor(kserve.ModelServer):  # type: ignore[misc]
    """A server for one model, which may still be loading when it starts."""

    def __init__(
        self,
        service: Service,
        loading: Future[Loaded],
        *,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        """Prepare one.

        Args:
            service: Has the settings.
            loading: The model, or why there is none.
            announce: Told the URL once it is ready.
        """
        settings = service.settings
        super().__init__(
            http_port=settings.http_port,
            grpc_port=settings.grpc_port or 0,
            enable_grpc=settings.grpc_port is not None,
            enable_latency_logging=False,
        )
        self.dataplane = _DataPlane(self.registered_models, service)
        self._service = service
        self._loading = loading
        self._announce = announce
        self._stopping = asyncio.Event()

    def run(self) -> None:
        """Serve until told to stop.

        Raises:
            YololineError: The model could not be loaded, or a port is taken.
        """
        listener = listen(self._service.settings.host, self._service.settings.http_port)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(self._serve_until_stopped(listener))

    async def _serve_until_stopped(self, listener: socket.socket) -> None:
        settings = self._service.settings
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        web = _Uvicorn(
            uvicorn.Config(
                self._front(),
                loop="none",
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                backlog=_BACKLOG,
                timeout_keep_alive=self.timeout_keep_alive,
                timeout_graceful_shutdown=math.ceil(settings.grace_seconds),
            )
        )
        serving = asyncio.create_task(web.serve(sockets=[listener]))
        grpc_server, grpc_port = None, None
        http_port = listener.getsockname()[1]
        try:
            if settings.grpc_port is not None:
                grpc_server, grpc_port = await grpc.start(
                    self._service,
                    self.dataplane,
                    self.model_repository_extension,
                    address=f"{_bracketed(settings.host)}:{settings.grpc_port}",
                )
            event("listening", host=settings.host, http_port=http_port, grpc_port=grpc_port)
            if await self._loaded():
                event("ready", http_port=http_port, grpc_port=grpc_port)
                if self._announce:
                    shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
                    self._announce(f"http://{_bracketed(shown)}:{http_port}/")
                await self._stopping.wait()
                await self._leave()
        finally:
            web.should_exit = True
            if grpc_server:
                await asyncio.gather(grpc_server.stop(grace=settings.grace_seconds), serving)
            await serving
            await loop.run_in_executor(None, self._service.close)
            event("stopped")

    async def _loaded(self) -> bool:
        """Whether the model came, before it was told to stop."""
        loading = asyncio.wrap_future(self._loading)
        stopping = asyncio.create_task(self._stopping.wait())
        both: set[asyncio.Future[Any]] = {loading, stopping}
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not loading.done():
            return False
        loaded = loading.result()
        # All that was imported stays. Looking through it, the collector, off since the start, would
        # stop every request for a tenth of a second now and then.
        gc.freeze()
        gc.enable()
        self._service.start(loaded)
        self.register_model(DetectorModel(self._service))
        return True

    async def _leave(self) -> None:
        """Not ready any more; answer those who do not know it yet. A second signal ends that."""
        settings = self._service.settings
        self._service.leave()
        event("draining", seconds=settings.drain_seconds)
        self._stopping.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), settings.drain_seconds)

    def _front(self) -> Front:
        # kserve has one application for the process, and registers its routes with it here.
        rest = RESTServer(
            "kserve.model_server:app", self.dataplane, self.model_repository_extension, 0
        )
        app = kserve.model_server.app
        rest._register_endpoints(app)
        rest._add_exception_handlers(app)
        return Front(self._service, app, read_page())


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        UsageError: The port is taken, or the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        # create_server's own words end in the address once more.
        number = error.errno if isinstance(error, OSError) else None
        reason = os.strerror(number) if number and number > 0 else str(error)
        raise UsageError(
            f"{host}:{port}",
            rule=f"cannot be listened on ({reason})",
            remedy="choose another --host or --http-port",
        ) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
