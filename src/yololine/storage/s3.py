"""A bucket as a store: MinIO, SeaweedFS, AWS or any other S3."""

# ruff: noqa: D102 (what a method promises stands once, in Store)

from __future__ import annotations

import os
import random
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from xml.etree.ElementTree import ParseError

import certifi
from minio import Minio
from minio.datatypes import Object
from minio.error import MinioException
from minio.helpers import check_bucket_name
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, ProtocolError

from yololine.errors import IntegrityError, NotFound, StoreRefused, UsageError
from yololine.storage.base import (
    CHUNK_BYTES,
    Entry,
    Store,
    is_hidden,
    safe_path,
    sha256_bytes,
    sha256_file,
)
from yololine.storage.disk import disk_in_words
from yololine.storage.endpoint import Endpoint, find_endpoint, refuse_metadata_host
from yololine.storage.http import TRANSIENT, S3Http
from yololine.storage.s3_errors import CREDENTIALS_REMEDY, s3_in_words
from yololine.storage.transfer import THREADS

PART_BYTES = 64 << 20
"""Larger objects are sent in parts of this size. A part is held in memory by each thread that
uploads, so THREADS of them bound what publishing takes."""
_MAX_PARTS = 10_000  # S3's own limit
_FRUITLESS_ATTEMPTS = 5
_REQUIRED = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_OPTIONAL = ("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION")


class S3Store(Store):
    """Objects of a bucket below a prefix. Safe to share between threads, not processes."""

    def __init__(self, client: Minio, endpoint: Endpoint, *, bucket: str, prefix: str = "") -> None:
        self.uri = f"s3://{bucket}/{prefix}".rstrip("/")
        self._client = client
        self._endpoint = endpoint
        self._bucket = bucket
        self._root = f"{prefix}/" if prefix else ""

    @classmethod
    def from_uri(cls, uri: str, environ: Mapping[str, str] = os.environ) -> S3Store:
        """The store behind `s3://bucket/prefix`; `minio://`, as Kubeflow writes it, is the same.

        Service, credentials, region and CA come from the environment, by AWS's names.

        Raises:
            UsageError: The URI, or an address or file that the environment names, is none.
            StoreRefused: Credentials are missing.
        """
        bucket, prefix = _bucket_and_prefix(uri)
        endpoint = find_endpoint(environ)
        # Stripped, for a secret made with `echo` ends in a newline.
        given = {name: environ.get(name, "").strip() for name in _REQUIRED + _OPTIONAL}
        if missing := [name for name in _REQUIRED if not given[name]]:
            raise StoreRefused(
                f"s3://{bucket}/{prefix}".rstrip("/"),
                rule=f"{' and '.join(missing)} not set, and {endpoint} answers nobody without",
                remedy=CREDENTIALS_REMEDY,
            )
        try:
            client = Minio(
                endpoint=endpoint.host,
                access_key=given["AWS_ACCESS_KEY_ID"],
                secret_key=given["AWS_SECRET_ACCESS_KEY"],
                session_token=given["AWS_SESSION_TOKEN"] or None,
                secure=endpoint.secure,
                # Without one, the bucket itself is asked for it.
                region=given["AWS_REGION"] or given["AWS_DEFAULT_REGION"] or None,
                http_client=S3Http(connections=THREADS, ca_file=_ca_file(environ)),
            )
        except ValueError as error:
            raise UsageError(
                str(endpoint), rule=str(error), remedy="mend AWS_ENDPOINT_URL and AWS_REGION"
            ) from error
        return cls(client, endpoint, bucket=bucket, prefix=prefix)

    def chunks(self, path: str) -> Iterator[bytes]:
        position, size_bytes, version, fruitless = 0, -1, "", 0
        while position != size_bytes:
            before = position
            # Opening it is repeated, where that helps, by S3Http.
            with self._in_words(path), closing(self._object(path, position, version)) as response:
                try:
                    if size_bytes < 0:
                        size_bytes, version = _announced(response)
                    elif response.status != HTTPStatus.PARTIAL_CONTENT:
                        raise ProtocolError("the rest was asked for, and all was answered")
                    # As stored: an object's Content-Encoding is its owner's business.
                    for chunk in response.stream(CHUNK_BYTES, decode_content=False):
                        position += len(chunk)
                        yield chunk
                    response.release_conn()
                    if position != size_bytes:
                        raise ProtocolError("ended early")
                except TRANSIENT:
                    # Go on from where the connection broke; in vain only so many times in a row.
                    fruitless = 0 if position > before else fruitless + 1
                    if fruitless == _FRUITLESS_ATTEMPTS:
                        raise
                    time.sleep(random.uniform(0, 0.1 * 2**fruitless))

    def write_bytes(self, path: str, data: bytes) -> None:
        self._put(path, BytesIO(data), size_bytes=len(data), sha256=sha256_bytes(data))

    def upload(self, source: Path, path: str) -> None:
        with disk_in_words(source), source.open("rb") as stream:
            size_bytes = os.fstat(stream.fileno()).st_size
            self._put(path, stream, size_bytes=size_bytes, sha256=sha256_file(source))

    def size_bytes(self, path: str) -> int | None:
        try:
            with self._in_words(path):
                return self._client.stat_object(
                    bucket_name=self._bucket, object_name=self._key(path)
                ).size
        except NotFound:
            return None

    def entries(self, prefix: str = "") -> Iterator[Entry]:
        for path, found in self._listed(prefix):
            yield Entry(path=path, size_bytes=found.size or 0, md5=found.etag or "")

    def paths(self, prefix: str = "") -> Iterator[str]:
        for path, _ in self._listed(prefix):
            yield path

    def delete(self, path: str) -> None:
        with self._in_words(path):
            self._client.remove_object(bucket_name=self._bucket, object_name=self._key(path))

    def _key(self, path: str) -> str:
        return self._root + safe_path(path)

    def _object(self, path: str, position: int, version: str) -> BaseHTTPResponse:
        return self._client.get_object(
            bucket_name=self._bucket,
            object_name=self._key(path),
            offset=position,
            # Another version's rest would not fit.
            request_headers={"If-Match": version} if version else None,
        )

    def _put(self, path: str, stream: BinaryIO, *, size_bytes: int, sha256: str) -> None:
        with self._in_words(path):
            written = self._client.put_object(
                bucket_name=self._bucket,
                object_name=self._key(path),
                data=stream,
                length=size_bytes,
                metadata={"x-amz-meta-sha256": sha256},
                part_size=max(PART_BYTES, -(-size_bytes // _MAX_PARTS)),
                # transfer already sends THREADS files side by side.
                num_parallel_uploads=1,
            )
        # S3 may answer the end of a multipart upload with status 200 and an error inside.
        if not written.etag:
            raise IntegrityError(
                f"{self.uri}/{path}",
                rule=f"{self._endpoint} did not confirm what it stored",
                remedy="run again; if it persists, check that the address is the S3 API's",
            )

    def _listed(self, prefix: str) -> Iterator[tuple[str, Object]]:
        top = prefix.rstrip("/")
        above = f"{self._key(top)}/" if top else self._root
        with self._in_words(prefix):
            for found in self._client.list_objects(
                bucket_name=self._bucket, prefix=above, recursive=True
            ):
                key = found.object_name or ""
                # Consoles mark an empty folder with an object whose name ends in a slash.
                if not key.endswith("/") and not is_hidden(key.removeprefix(above)):
                    yield key.removeprefix(self._root), found

    @contextmanager
    def _in_words(self, path: str) -> Iterator[None]:
        try:
            yield
        # ParseError and ValueError: minio-py met XML, or none, that no S3 service sends.
        except (MinioException, HTTPError, ParseError, ValueError) as error:
            raise s3_in_words(
                error, f"{self.uri}/{path}".rstrip("/"), self._endpoint, bucket=self._bucket
            ) from error


def _announced(response: BaseHTTPResponse) -> tuple[int, str]:
    """Size in bytes and version of an object whose content follows."""
    try:
        return int(response.headers["Content-Length"]), response.headers["ETag"]
    except (KeyError, ValueError) as error:
        # A connection that breaks within the headers looks like an answer with fewer of them.
        raise ProtocolError("the headers are incomplete") from error


def _bucket_and_prefix(uri: str) -> tuple[str, str]:
    # Not urlsplit: it ends the prefix at `#`, and lowers the bucket's letters.
    _, _, rest = uri.partition("://")
    bucket, _, prefix = rest.partition("/")
    prefix = prefix.strip("/")
    if not {"@", ":"}.isdisjoint(bucket):
        raise UsageError(
            "s3://***",
            rule="holds a user, password or port, which is no part of a bucket's name",
            remedy="set AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_ENDPOINT_URL, and write "
            "s3://bucket/prefix",
        )
    refuse_metadata_host(bucket)
    try:
        check_bucket_name(bucket)
    except ValueError as error:
        raise UsageError(
            repr(uri),
            rule=f"names no bucket ({error})",
            remedy="write s3://bucket/prefix",
        ) from error
    if "?" in prefix:
        raise UsageError(
            repr(uri),
            rule="holds a question mark: options are not read from the URI",
            remedy="set AWS_ENDPOINT_URL and AWS_REGION instead",
        )
    return bucket, safe_path(prefix) if prefix else ""


def _ca_file(environ: Mapping[str, str]) -> str:
    for variable in ("AWS_CA_BUNDLE", "SSL_CERT_FILE"):
        if file := environ.get(variable, "").strip():
            try:
                ssl.create_default_context(cafile=file)
            except OSError as error:  # an SSLError is one
                raise UsageError(
                    f"{variable}={file}",
                    rule=f"is no file of certificates ({error.strerror or error})",
                    remedy="mount the authority's certificate in PEM form, and name that file",
                ) from error
            return file
    return certifi.where()
