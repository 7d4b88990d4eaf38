"""What tests of several rooms share: real servers and real images."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from uuid import uuid4

import pytest
import urllib3
from minio import Minio
from minio.error import MinioException
from xdist.scheduler import LoadFileScheduling

from scripts import servers

if TYPE_CHECKING:
    from tests.kubernetes_api import KubernetesApi

# Before any test imports torch. Threads that wait by spinning slow a training on all cores tenfold
# as soon as another process takes one of them.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Keep on one worker what shares a costly fixture: a file's tests, and all that need images."""

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            images = "tests/containers/"
            return images if nodeid.startswith(images) else str(super()._split_scope(nodeid))

    return Scheduling(config, log)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Take away the handlers a test left: they write to its captured output, which is closed."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    for handler in [handler for handler in root.handlers if handler not in handlers]:
        root.removeHandler(handler)
    root.setLevel(level)


class MinioServer:
    """A real MinIO on a port and a folder of its own."""

    def __init__(
        self,
        binary: Path,
        folder: Path,
        *,
        https: bool = False,
        console: bool = False,
        settings: Mapping[str, str] | None = None,
    ) -> None:
        """Prepare one.

        Args:
            binary: Of the server.
            folder: For its data, and its log.
            https: public.crt and private.key lie in `folder/certs`.
            console: Serve the web console too, at `console_port`.
            settings: Variables of the server's environment, such as MINIO_DOMAIN.
        """
        with (
            socket.create_server(("127.0.0.1", 0)) as free,
            socket.create_server(("127.0.0.1", 0)) as other,
        ):
            self.port: int = free.getsockname()[1]
            self.console_port: int = other.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        self.access_key = "tests-access-key"
        self.secret_key = "tests-secret-key"  # of nothing but this server
        self.folder = folder
        self._binary = binary
        self._https = https
        self._console = console
        self._settings = settings or {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environ(self) -> dict[str, str]:
        """The environment of a program that uses it."""
        return {
            "AWS_ENDPOINT_URL": f"{'https' if self._https else 'http'}://{self.host}",
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
        }

    @property
    def client(self) -> Minio:
        """A client beside the code under test."""
        return self._client(retries=True)

    def make_bucket(self) -> str:
        """A new bucket's name."""
        bucket = f"bucket-{uuid4().hex[:12]}"
        self.client.make_bucket(bucket_name=bucket)
        return bucket

    def upload(self, folder: Path, bucket: str, prefix: str) -> str:
        """Put a folder's files into a bucket below a prefix; return its URI."""
        for path in folder.rglob("*"):
            if path.is_file():
                name = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self.client.fput_object(bucket_name=bucket, object_name=name, file_path=str(path))
        return f"s3://{bucket}/{prefix}"

    def start(self) -> None:
        """Return once it serves."""
        command = [self._binary, "server", "--quiet", "--address", self.host]
        command += ["--console-address", f"127.0.0.1:{self.console_port}"]
        command += ["--certs-dir", self.folder / "certs", self.folder / "data"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={
                    "HOME": str(self.folder),
                    "MINIO_ROOT_USER": self.access_key,
                    "MINIO_ROOT_PASSWORD": self.secret_key,
                    "MINIO_BROWSER": "on" if self._console else "off",
                    "MINIO_UPDATE": "off",
                    **self._settings,
                },
                stdout=log,
                stderr=log,
            )
        for _ in range(600):
            if self._process.poll() is None and self._ready():
                return
            time.sleep(0.05)
        self.stop()
        raise RuntimeError((self.folder / "log").read_text())

    def stop(self) -> None:
        """Return once its port is closed; the data stay, and it may be started again."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _ready(self) -> bool:
        # By what a client does: its health check says ready before it knows its own keys, and who
        # asks in between is told to come again in a minute.
        try:
            self._client(retries=False).list_buckets()
        except (MinioException, urllib3.exceptions.HTTPError):
            return False
        return True

    def _client(self, *, retries: bool) -> Minio:
        return Minio(
            endpoint=self.host,
            access_key=self.access_key,
            secret_key=self.secret_key,
            secure=self._https,
            region=self._settings.get("MINIO_SITE_REGION"),
            http_client=urllib3.PoolManager(
                ca_certs=str(self.folder / "certs" / "public.crt") if self._https else None,
                timeout=5,
                retries=None if retries else False,
            ),
        )


@pytest.fixture(scope="session")
def new_minio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., MinioServer]]:
    """Makes a MinIO of a test's own, not started; its keywords are MinioServer's."""
    binary = servers.folder() / "minio"
    if not binary.exists():
        _unavailable(f"{binary} is missing: run `make servers`")
    with ExitStack() as started:

        def new(**options: Any) -> MinioServer:
            server = MinioServer(binary, tmp_path_factory.mktemp("minio"), **options)
            started.callback(server.stop)
            return server

        yield new


@pytest.fixture(scope="session")
def minio_server(new_minio: Callable[..., MinioServer]) -> MinioServer:
    """A MinIO that all tests share: each takes a bucket of its own."""
    server = new_minio()
    server.start()
    return server


@pytest.fixture(scope="session")
def kubernetes_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KubernetesApi]:
    """A Kubernetes API that knows KServe's kinds: each test takes a namespace of its own."""
    default = Path(__file__).parents[2] / "shared" / "schemas"
    schemas = Path(os.environ.get("YOLOLINE_SCHEMAS") or default) / "kserve"
    if not schemas.is_dir():
        _unavailable(f"no KServe schemas at {schemas}: set YOLOLINE_SCHEMAS to the folder above it")
    binaries = servers.kubernetes_folder()
    for name in servers.KUBERNETES:
        if not (binaries / name).exists():
            _unavailable(f"{binaries / name} is missing: run `make servers`")
    from tests.kubernetes_api import KubernetesApi  # loads slowly; few tests need it

    api = KubernetesApi(tmp_path_factory.mktemp("kubernetes"), schemas=schemas)
    try:
        api.start()
        yield api
    finally:
        api.stop()


@pytest.fixture(scope="session")
def bccd() -> Path:
    """The BCCD dataset: 364 photographs of blood cells with Pascal VOC labels."""
    default = Path(__file__).parents[2] / "shared" / "datasets" / "bccd"
    folder = Path(os.environ.get("YOLOLINE_BCCD") or default)
    if not (folder / "Annotations").is_dir():
        _unavailable(f"no BCCD dataset at {folder}: set YOLOLINE_BCCD to its folder")
    return folder


def _unavailable(reason: str) -> NoReturn:
    """Skip the test; where nothing may be skipped, fail it."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
