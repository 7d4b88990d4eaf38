"""Heads of requests that are too large, too slow, or no heads."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn

from yololine.serving import connections
from yololine.serving.connections import MAX_HEAD_BYTES, Connection

Ask = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody"


async def app(scope: Any, receive: Any, send: Any) -> None:  # noqa: ARG001 (ASGI's)
    while (await receive())["more_body"]:
        pass
    headers = [(b"content-length", b"2")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok"})


def ask(what: Ask, *, keep_alive_seconds: int = 60, stopping: bool = False) -> None:
    """Talk to a server on a connection of one's own; on request to one that was told to stop."""

    async def talk() -> None:
        config = uvicorn.Config(
            app,
            http=Connection,
            lifespan="off",
            log_config=None,
            timeout_keep_alive=keep_alive_seconds,
        )
        server = uvicorn.Server(config)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            serving = asyncio.create_task(server._serve(sockets=[listener]))
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            server.should_exit = stopping
            while stopping and listener.fileno() >= 0:
                await asyncio.sleep(0.01)
            try:
                async with asyncio.timeout(30):
                    await what(reader, writer)
            finally:
                writer.close()
                server.should_exit = True
                await serving

    asyncio.run(talk())


async def answered(reader: asyncio.StreamReader) -> None:
    assert (await reader.readuntil(b"\r\n\r\nok")).startswith(b"HTTP/1.1 200 ")


def refused(told: bytes, status: int, words: str) -> None:
    head, _, body = told.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), told
    assert b"connection: close" in head
    assert words in json.loads(body)["error"]


def test_a_head_that_comes_drop_by_drop_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.3)

    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A second request of a connection is held to it like the first.
        writer.write(REQUEST)
        await answered(reader)
        writer.write(b"GET / HTTP/1.1\r\n")
        told = asyncio.create_task(reader.read())
        while not told.done():
            writer.write(b"x: y\r\n")
            await asyncio.sleep(0.02)
        refused(told.result(), 408, "headers: did not arrive in 0.3 seconds")

    ask(drip)


def test_a_body_may_take_longer_than_a_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.1)

    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            for byte in range(0, len(REQUEST), 20):
                writer.write(REQUEST[byte : byte + 20])
            await writer.drain()
            await answered(reader)
            writer.write(REQUEST[:-1])
            await asyncio.sleep(0.3)
            writer.write(REQUEST[-1:])
            await answered(reader)

    ask(send)


def test_a_head_without_end_is_cut_off() -> None:
    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nx: ")
        sent = 0
        while sent <= MAX_HEAD_BYTES:
            sent += writer.write(b"y" * 8192) or 8192
        refused(await reader.read(), 431, f"headers: are larger than {MAX_HEAD_BYTES} bytes")

    ask(send)


def test_requests_behind_each_other_are_not_one_head() -> None:
    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 2 * MAX_HEAD_BYTES // len(REQUEST)
        writer.write(REQUEST * count)
        for _ in range(count):
            await answered(reader)

    ask(send)


def test_a_connection_on_which_nothing_comes_ends() -> None:
    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""

    ask(wait, keep_alive_seconds=1)


def test_what_is_no_http_is_refused_in_words() -> None:
    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x16\x03\x01\x02\x00\x01\x00")
        refused(await reader.read(), 400, "request: is no HTTP")

    ask(send)


def test_who_came_before_the_end_is_heard() -> None:
    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.05)
        writer.write(REQUEST)
        await answered(reader)
        assert await reader.read() == b""

    ask(send, stopping=True)


def test_who_asks_nothing_does_not_delay_the_end() -> None:
    async def wait(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        assert await reader.read() == b""

    ask(wait, stopping=True)
