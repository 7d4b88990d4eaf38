"""HTTP: the front of the server, before kserve's own application.

kserve reads a v2 tensor into a list of Python numbers, and answers a JPEG in a BYTES tensor with
500. So predictions are read and answered here, and so is every refusal; what is only asked about
the server and its model goes on to kserve.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from yololine.serving import metrics, v1, v2
from yololine.serving.connections import MAX_HEAD_BYTES, head_too_large
from yololine.serving.documents import dump
from yololine.serving.logs import LOGGER, event
from yololine.serving.page_files import PAGE_CONFIG, PAGE_HEADERS, PageFiles
from yololine.serving.parameters import Parameters
from yololine.serving.refusals import (
    BadRequest,
    Disconnected,
    HeadTooLarge,
    InternalError,
    Refusal,
    TooLarge,
    TooSlow,
    Unavailable,
    UnknownModel,
    WrongContent,
    WrongMethod,
    internal_error,
)
from yololine.serving.service import Service, State
from yololine.serving.workers import Found, Picture

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_JSON = (b"content-type", b"application/json")
_BINARY = (b"content-type", b"application/octet-stream")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_STATUS_OF_THE_GONE = 499
"""nginx's word for a sender that did not wait; in metrics and logs only."""
_VERSIONED = re.compile(r"/v2/models/([^/]+)/versions/([^/]+)(/ready|/infer)?")
_ROUTINE = frozenset({"health", "metrics"})
_PREDICTIONS = frozenset({"v1 predict", "v2 infer"})
_DEADLINE_HEADER = b"x-deadline-seconds"
_DISCARD_SECONDS = 2
_OK = 200


@dataclass(slots=True)
class Answer:
    """What goes back."""

    body: bytes
    status: int = _OK
    headers: list[tuple[bytes, bytes]] = field(default_factory=lambda: [_JSON])


@dataclass(slots=True)
class Exchange:
    """One request on its way."""

    scope: Scope
    receive: Receive
    send: Send
    headers: dict[bytes, bytes]
    id: bytes
    started: float
    route: str = "other"
    held_bytes: int = 0
    body_read: bool = False
    close: bool = False
    """End the connection behind the answer."""
    fields: dict[str, Any] = field(default_factory=dict)
    """For the log."""


class Front:
    """The ASGI application."""

    def __init__(self, service: Service, kserve: App, page: PageFiles) -> None:
        self._service = service
        self._kserve = kserve
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = dict(scope["headers"])
        request_id = headers.get(b"x-request-id", b"")
        exchange = Exchange(
            scope=scope,
            receive=receive,
            send=send,
            headers=headers,
            # What cannot be repeated in a header or a log is not.
            id=request_id if _REQUEST_ID.fullmatch(request_id) else uuid4().hex.encode(),
            started=time.monotonic(),
        )
        self._service.in_flight += 1
        status = _STATUS_OF_THE_GONE
        try:
            answer = await self._answer(exchange)
            status = answer.status
            await self._send(exchange, answer)
        except Disconnected:
            pass
        finally:
            self._service.in_flight -= 1
            self._service.release(exchange.held_bytes)
            self._note(exchange, status)

    async def _answer(self, exchange: Exchange) -> Answer:
        try:
            return await self._route(exchange)
        except Refusal as refusal:
            exchange.fields["reason"] = refusal.reason
            await self._discard(exchange)
            return _refused(refusal)
        except (Disconnected, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 (the last resort: nothing of it may reach the sender)
            LOGGER.exception(
                "a request could not be answered",
                extra={"fields": {"request_id": exchange.id.decode()}},
            )
            exchange.close = True
            return _refused(internal_error(exchange.id.decode()))

    async def _route(self, exchange: Exchange) -> Answer:
        service, path = self._service, exchange.scope["path"]
        name, version = service.name, None
        if _head_bytes(exchange.scope) > MAX_HEAD_BYTES:
            exchange.close = True
            raise HeadTooLarge(head_too_large())
        if match := _VERSIONED.fullmatch(path):
            model, version, what = match.groups()
            path = f"/v2/models/{model}{what or ''}"
        if name and path == f"/v1/models/{name}:predict":
            exchange.route = "v1 predict"
            _only(exchange, "POST")
            return await self._predict(exchange)
        if name and path == f"/v2/models/{name}/infer":
            exchange.route = "v2 infer"
            _only(exchange, "POST")
            service.check_model(name, version)
            return await self._infer(exchange)
        if path == PAGE_CONFIG:
            exchange.route = "page"
            _only(exchange, "GET", "HEAD")
            return self._page_config()
        if path.startswith("/page/") or (
            path == "/" and b"text/html" in exchange.headers.get(b"accept", b"")
        ):
            exchange.route = "page"
            _only(exchange, "GET", "HEAD")
            return self._file(path)
        about = {
            "/": "health",
            "/v2": "metadata",
            "/v2/health/live": "health",
            "/v2/health/ready": "health",
            "/v1/models": "metadata",
            "/v2/models": "metadata",
            "/metrics": "metrics",
        }
        if name:
            about[f"/v1/models/{name}"] = "health"
            about[f"/v2/models/{name}"] = "metadata"
            about[f"/v2/models/{name}/ready"] = "health"
        if path in about:
            exchange.route = about[path]
            _only(exchange, "GET", "HEAD")
            if version:
                service.check_model(name, version)
            return await self._ask_kserve(exchange, path)
        if not name:
            service.version  # noqa: B018 (not loaded yet: its name, and so this path, may come)
        raise UnknownModel(
            f"{exchange.scope['path'][:200]}: is not here; the model is {name!r}: POST "
            f"/v1/models/{name}:predict or /v2/models/{name}/infer"
        )

    async def _predict(self, exchange: Exchange) -> Answer:
        service = self._service
        content_type = _content_type(exchange)
        if content_type.startswith("image/"):
            parameters = service.read_parameters(_given(exchange))
            limit = min(service.settings.max_image_bytes, service.settings.max_body_bytes)
            body = await self._body(exchange, limit)
            service.limits.check_bytes(len(body))
            pictures: list[Picture] = [body]
        elif content_type.startswith("multipart/"):
            raise WrongContent(
                f"content type {content_type[:80]!r}: is not read; send the bare file with "
                "Content-Type: image/jpeg, or JSON"
            )
        else:
            body = await self._body(exchange, service.settings.max_body_bytes)
            images, given = v1.read_json(body, service.limits)
            pictures = list(images)
            parameters = service.read_parameters({**_given(exchange), **given})
        del body
        found = await self._detect(exchange, pictures, parameters)
        version = service.version
        return Answer(v1.answer(service.name, version.version, version.class_names, found))

    async def _infer(self, exchange: Exchange) -> Answer:
        service = self._service
        length = exchange.headers.get(v2.JSON_LENGTH_HEADER)
        if length is not None and not length.isdigit():
            raise BadRequest("Inference-Header-Content-Length: must be a whole number")
        body = await self._body(exchange, service.settings.max_body_bytes)
        request = v2.read(body, None if length is None else int(length[:20]), service.limits)
        del body
        parameters = service.read_parameters({**_given(exchange), **request.parameters})
        found = await self._detect(exchange, request.pictures, parameters)
        version = service.version
        content, json_length = v2.answer(
            request,
            found,
            name=service.name,
            version=version.version,
            class_names=version.class_names,
        )
        if json_length is None:
            return Answer(content)
        header = (v2.JSON_LENGTH_HEADER, str(json_length).encode())
        return Answer(content, headers=[_BINARY, header])

    async def _detect(
        self, exchange: Exchange, pictures: list[Picture], parameters: Parameters
    ) -> list[Found]:
        exchange.fields["pictures"] = len(pictures)
        gone = asyncio.ensure_future(_gone(exchange.receive))
        detecting = asyncio.ensure_future(
            self._service.detect(
                pictures,
                parameters.thresholds,
                started=exchange.started,
                seconds=parameters.deadline_seconds,
            )
        )
        try:
            await asyncio.wait({gone, detecting}, return_when=asyncio.FIRST_COMPLETED)
            if not detecting.done():
                raise Disconnected
            found = detecting.result()
        finally:
            gone.cancel()
            detecting.cancel()
        exchange.fields["detections"] = sum(len(each.detections.scores) for each in found)
        return found

    async def _body(self, exchange: Exchange, limit: int) -> bytes:
        """The whole body, if it is neither too large nor too slow."""
        service = self._service
        service.admit()
        encoding = exchange.headers.get(b"content-encoding", b"identity").lower()
        if encoding != b"identity":
            raise WrongContent(
                f"content encoding {encoding[:20].decode('latin-1')!r}: is not read; send the body "
                "as it is"
            )
        declared = exchange.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared[:20]) > limit:
            raise _too_large(limit)
        chunks = []
        size = 0
        try:
            async with asyncio.timeout_at(
                asyncio.get_running_loop().time()
                + exchange.started
                + service.settings.deadline_seconds
                - time.monotonic()
            ):
                while not exchange.body_read:
                    chunk = await _read(exchange)
                    size += len(chunk)
                    exchange.held_bytes += len(chunk)
                    service.hold(len(chunk))
                    if size > limit:
                        raise _too_large(limit)
                    chunks.append(chunk)
        except TimeoutError:
            exchange.close = True
            raise TooSlow(
                f"body: did not arrive in {service.settings.deadline_seconds:g} seconds; send it "
                "faster"
            ) from None
        exchange.fields["bytes"] = size
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _discard(self, exchange: Exchange) -> None:
        """Read on for a while where a body is refused: a sender reads only once it has sent.

        The connection ends behind the answer if there is more.
        """
        if exchange.body_read or exchange.close or exchange.scope["method"] in ("GET", "HEAD"):
            return
        if b"100-continue" in exchange.headers.get(b"expect", b""):
            # It waits to be told to go on, and is told not to.
            exchange.close = True
            return
        left = 2 * self._service.settings.max_body_bytes
        try:
            async with asyncio.timeout(_DISCARD_SECONDS):
                while not exchange.body_read and left > 0:
                    left -= len(await _read(exchange))
        except TimeoutError:
            pass
        exchange.close = not exchange.body_read

    async def _ask_kserve(self, exchange: Exchange, path: str) -> Answer:
        """What kserve's application answers."""
        answer = Answer(b"")

        async def send(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = [
                    (name, value)
                    for name, value in message.get("headers", [])
                    if name.lower() == b"content-type"
                ]
            else:
                answer.body += message.get("body", b"")

        scope = {**exchange.scope, "method": "GET", "path": path, "raw_path": path.encode()}
        await self._kserve(scope, exchange.receive, send)
        if answer.status == InternalError.status:
            raise InternalError("internal error")
        if answer.status == Unavailable.status:
            answer.headers.append((b"retry-after", b"1"))
        return answer

    def _page_config(self) -> Answer:
        """What the page is told of the model and of the limits."""
        service = self._service
        version, settings = service.version, service.settings
        config = {
            "model_name": service.name,
            "model_version": version.version,
            "class_names": version.class_names,
            "image_size": version.image_size,
            "min_score": settings.min_score,
            "max_image_bytes": min(settings.max_image_bytes, settings.max_body_bytes),
        }
        return Answer(dump(config), headers=[_JSON, *PAGE_HEADERS])

    def _file(self, path: str) -> Answer:
        found = self._page.get(path)
        if not found:
            raise UnknownModel(f"{path[:200]}: is no file of the page")
        content_type, body = found
        return Answer(body, headers=[(b"content-type", content_type), *PAGE_HEADERS])

    async def _send(self, exchange: Exchange, answer: Answer) -> None:
        headers = [
            *answer.headers,
            (b"content-length", str(len(answer.body)).encode()),
            (b"x-request-id", exchange.id),
            (b"x-content-type-options", b"nosniff"),
            # https://www.w3.org/TR/server-timing/: what of a round trip is the network's.
            (b"server-timing", b"total;dur=%.1f" % (1000 * (time.monotonic() - exchange.started))),
        ]
        if exchange.close or self._service.state in (State.LEAVING, State.CLOSED):
            # So the sender's next request opens a connection, and finds another replica.
            headers.append((b"connection", b"close"))
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await exchange.send(start)
        body = b"" if exchange.scope["method"] == "HEAD" else answer.body
        await exchange.send({"type": "http.response.body", "body": body})

    def _note(self, exchange: Exchange, status: int) -> None:
        seconds = time.monotonic() - exchange.started
        metrics.REQUESTS.labels(exchange.route, str(status)).inc()
        if exchange.route in _PREDICTIONS and status == _OK:
            metrics.stage("total", seconds)
        event(
            "request",
            level=logging.DEBUG if exchange.route in _ROUTINE else logging.INFO,
            request_id=exchange.id.decode(),
            method=exchange.scope["method"],
            path=exchange.scope["path"][:200],
            status=status,
            milliseconds=round(seconds * 1000, 1),
            **exchange.fields,
        )


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _read(exchange: Exchange) -> bytes:
    message = await exchange.receive()
    if message["type"] == "http.disconnect":
        raise Disconnected
    exchange.body_read = not message.get("more_body", False)
    chunk: bytes = message.get("body", b"")
    return chunk


def _head_bytes(scope: Scope) -> int:
    fields = sum(len(name) + len(value) for name, value in scope["headers"])
    return fields + len(scope["raw_path"]) + len(scope["query_string"])


def _only(exchange: Exchange, *methods: str) -> None:
    method = exchange.scope["method"]
    if method not in methods:
        raise WrongMethod(f"method {method}: is not taken here; use {' or '.join(methods)}")


def _content_type(exchange: Exchange) -> str:
    given = exchange.headers.get(b"content-type", b"").decode("latin-1")
    return given.partition(";")[0].strip().lower()


def _given(exchange: Exchange) -> dict[str, object]:
    """Parameters in the URL, and the deadline's header."""
    given = v1.read_query(exchange.scope["query_string"])
    if deadline := exchange.headers.get(_DEADLINE_HEADER):
        given["deadline_seconds"] = deadline.decode("latin-1")
    return given


def _too_large(limit: int) -> TooLarge:
    return TooLarge(
        f"body: is larger than {limit} bytes; send fewer or smaller pictures in one request"
    )


def _refused(refusal: Refusal) -> Answer:
    headers = [_JSON]
    if refusal.retry_after_seconds is not None:
        headers.append((b"retry-after", str(refusal.retry_after_seconds).encode()))
    return Answer(dump({"error": refusal.reason}), refusal.status, headers)
