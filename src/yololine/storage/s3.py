"""A bucket as a store: MinIO, SeaweedFS, AWS or any other S3."""

# ruff: noqa: D102 (what a method promises stands once, in Store)

from __future__ import annotations

import os
import random
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast
from xml.etree.ElementTree import ParseError

import certifi
from minio import Minio
from minio.datatypes import Object
from minio.error import MinioException
from minio.helpers import check_bucket_name
from urllib3 import BaseHTTPResponse
from urllib3.exceptions import HTTPError, ProtocolError

from yololine.errors import IntegrityError, NotFound, StoreError, StoreRefused, UsageError
from yololine.storage import http
from yololine.storage.base import (
    CHUNK_BYTES,
    Entry,
    FileRef,
    Store,
    is_hidden,
    safe_path,
    sha256_bytes,
    sha256_file,
)
from yololine.storage.disk import disk_in_words
from yololine.storage.endpoint import Endpoint, find_endpoint, refuse_metadata_host
from yololine.storage.s3_errors import CREDENTIALS_REMEDY, s3_in_words
from yololine.storage.transfer import THREADS

PART_BYTES = 16 << 20
"""Larger objects are sent in parts of this size; a part that does not arrive is sent again alone.

A part is held in memory by each thread that uploads, so THREADS of them bound what publishing
takes.
"""
_MAX_PARTS = 10_000  # S3's own limit
_HEADLESS_ATTEMPTS = 4
_SHA256 = "x-amz-meta-sha256"
_REQUIRED = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
_STYLE = "AWS_S3_ADDRESSING_STYLE"
_OPTIONAL = ("AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION", _STYLE)


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

        Service, credentials, region, CA and addressing style come from the environment, by AWS's
        names.

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
                http_client=http.S3Http(connections=THREADS, ca_file=_ca_file(environ)),
            )
        except ValueError as error:
            raise UsageError(
                str(endpoint), rule=str(error), remedy="mend AWS_ENDPOINT_URL and AWS_REGION"
            ) from error
        _set_style(client, endpoint, given[_STYLE])
        return cls(client, endpoint, bucket=bucket, prefix=prefix)

    def chunks(self, path: str) -> Iterator[bytes]:
        position, size_bytes, version = 0, -1, ""
        fruitless, last_gain = 0, time.monotonic()
        while position != size_bytes:
            before = position
            # Opening it is repeated, where that helps, by S3Http.
            with self._in_words(path), closing(self._object(path, position, version)) as response:
                try:
                    if size_bytes < 0:
                        size_bytes, version = _announced(response)
                    elif response.status != HTTPStatus.PARTIAL_CONTENT:
                        raise ProtocolError("the rest was asked for, and all was answered")
                    while position != size_bytes:
                        # As stored: an object's Content-Encoding is its owner's business.
                        chunk = response.read1(CHUNK_BYTES, decode_content=False)
                        if not chunk:
                            raise ProtocolError("ended early")
                        position += len(chunk)
                        yield chunk
                    response.release_conn()
                except HTTPError as error:
                    # Go on from where the connection broke, unless that brings nothing any more.
                    if position - before >= http.LEAST_BYTES:
                        fruitless, last_gain = 0, time.monotonic()
                    waited_seconds = time.monotonic() - last_gain
                    if not http.is_transient(error) or waited_seconds > http.PATIENCE_SECONDS:
                        raise
                    if size_bytes < 0 and fruitless == _HEADLESS_ATTEMPTS:
                        raise http.NotS3("gives an object without its size and ETag") from error
                    fruitless += 1
                    time.sleep(random.uniform(0, min(10, 0.1 * 2**fruitless)))

    def write_bytes(self, path: str, data: bytes) -> None:
        self._put(path, BytesIO(data), size_bytes=len(data), sha256=sha256_bytes(data))

    def upload(
        self, source: Path, path: str, *, sending: Callable[[int], None] | None = None
    ) -> None:
        with disk_in_words(source), source.open("rb") as stream:
            size_bytes = os.fstat(stream.fileno()).st_size
            sha256 = sha256_file(source)
            watched = _Watched(stream, sending) if sending else stream
            self._put(path, cast(BinaryIO, watched), size_bytes=size_bytes, sha256=sha256)

    def size_bytes(self, path: str) -> int | None:
        found = self._stat(path)
        return found.size if found else None

    def verified(self, ref: FileRef) -> bool:
        found = self._stat(ref.path)
        if found is None or found.size != ref.size_bytes:
            return False
        # Written by `_put` alone, of which S3 has held each request against its digest; whatever
        # other program replaces the object takes it away.
        kept = (found.metadata or {}).get(_SHA256)
        return kept == ref.sha256 if kept else super().verified(ref)

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
        """An object from a position on; `version`, as told by the first answer, where it goes on.

        Another version's rest would not fit.
        """
        try:
            with self._in_words(path):
                return self._client.get_object(
                    bucket_name=self._bucket,
                    object_name=self._key(path),
                    offset=position,
                    request_headers={"If-Match": version} if version else None,
                )
        except NotFound as error:
            if version:
                raise NotFound(
                    error.value,
                    rule="was deleted while it was read",
                    remedy="run again, with nothing beside it that deletes from the store",
                ) from error
            raise

    def _stat(self, path: str) -> Object | None:
        try:
            with self._in_words(path):
                found = self._client.stat_object(
                    bucket_name=self._bucket, object_name=self._key(path)
                )
                if not found.etag:
                    raise http.NotS3("knows an object without an ETag")
                return found
        except NotFound:
            return None

    def _put(self, path: str, stream: BinaryIO, *, size_bytes: int, sha256: str) -> None:
        part_bytes = max(PART_BYTES, -(-size_bytes // _MAX_PARTS))
        with self._in_words(path):
            written = self._client.put_object(
                bucket_name=self._bucket,
                object_name=self._key(path),
                data=stream,
                length=size_bytes,
                metadata={_SHA256: sha256},
                part_size=part_bytes,
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
        if size_bytes > part_bytes:
            self._drop_leftovers(path)

    def _drop_leftovers(self, path: str) -> None:
        """Give back what other uploads of an object, now whole, have sent so far.

        Parts of an upload whose process died are invisible, and take space for ever. One that
        still lives starts again, and then finds the object there.
        """
        key = self._key(path)
        # minio-py has no public method for it. Not everyone may do this: it is no part of the
        # object, and a lifecycle rule does the same a day later.
        with suppress(StoreError), self._in_words(path):
            found = self._client._list_multipart_uploads(self._bucket, prefix=key)
            for left in found.uploads:
                if left.object_name == key and left.upload_id:
                    self._client._abort_multipart_upload(self._bucket, key, left.upload_id)

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


class _Watched:
    """A file that says how much is read of it."""

    def __init__(self, stream: BinaryIO, reading: Callable[[int], None]) -> None:
        self._stream = stream
        self._reading = reading

    def read(self, size_bytes: int) -> bytes:
        data = self._stream.read(size_bytes)
        self._reading(len(data))
        return data


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


def _set_style(client: Minio, endpoint: Endpoint, style: str) -> None:
    """Ask for buckets as `host/bucket` or `bucket.host`; minio-py's own choice fits most."""
    shown = f"{_STYLE}={style}"
    match style.lower():
        case "" | "auto":
            pass
        case "path":
            client.disable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        case "virtual" if endpoint.is_address:
            raise UsageError(
                f"{shown} with {endpoint}",
                rule="an address has no names below it, as bucket.host needs",
                remedy=f"name the store's host in AWS_ENDPOINT_URL, or write {_STYLE}=path",
            )
        case "virtual":
            client.enable_virtual_style_endpoint()  # type: ignore[no-untyped-call]
        case _:
            raise UsageError(
                shown,
                rule="is no addressing style",
                remedy="write path or virtual, or leave it out",
            )


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
