"""The client against sockets that behave as networks do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import certifi
import pytest
from urllib3.exceptions import ConnectTimeoutError, ProtocolError, ReadTimeoutError

from yololine.errors import UsageError
from yololine.storage import endpoint, http
from yololine.storage.http import NotS3, S3Http

Handler = Callable[[socket.socket], None]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
BUSY = b"HTTP/1.1 503 Slow Down\r\nContent-Length: 4\r\n\r\nslow"


@contextmanager
def _serving(*handlers: Handler) -> Iterator[str]:
    """A server that handles one connection after another with one handler each."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        # So small that what is sent is soon held back by who reads it.
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)

        def run() -> None:
            for handler in handlers:
                connection, _ = server.accept()
                with connection:
                    handler(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/bucket/key"
        thread.join()


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16)
    return data


def _answers(*answers: bytes) -> Handler:
    def handle(connection: socket.socket) -> None:
        for answer in answers:
            _request(connection)
            connection.sendall(answer)

    return handle


def _breaks(connection: socket.socket) -> None:
    _request(connection)


@pytest.fixture
def client() -> S3Http:
    return S3Http(connections=1, ca_file=certifi.where())


@pytest.mark.parametrize("preload_content", [True, False])
def test_what_may_pass_is_asked_again(client: S3Http, *, preload_content: bool) -> None:
    cut_short = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"
    first = _answers(cut_short) if preload_content else _breaks
    with _serving(_breaks, first, _answers(BUSY, BUSY, OK)) as url:
        response = client.urlopen("POST", url, body=b"x", preload_content=preload_content)
        assert (response.status, response.data) == (200, b"ok")


def test_the_last_answer_is_returned(client: S3Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_PATIENCE_SECONDS", 0)
    with _serving(_answers(BUSY, OK, BUSY)) as url:
        # Trouble from the first request on is a wrong address, say a proxy's in front of nothing.
        response = client.urlopen("GET", url)
        assert (response.status, response.data) == (503, b"slow")
        # A store that has answered once is waited for.
        assert client.urlopen("GET", url).status == 200
        monkeypatch.setattr(http, "PATIENCE_SECONDS", 0)
        assert client.urlopen("GET", url).status == 503


def test_who_never_answers_is_given_up(client: S3Http, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "FIRST_PATIENCE_SECONDS", 0)
    monkeypatch.setattr(http, "FIRST_ANSWER_SECONDS", 0.1)
    with pytest.raises(ConnectTimeoutError, match="refused"):
        client.urlopen("GET", "http://127.0.0.1:1/bucket")
    with _serving(_breaks) as url, pytest.raises(ProtocolError):
        client.urlopen("GET", url)
    done = threading.Event()
    with _serving(lambda _: done.wait() and None) as url:
        with pytest.raises(ReadTimeoutError):
            client.urlopen("GET", url)
        done.set()


def test_a_slow_network_may_take_longer_than_a_connection(
    client: S3Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CONNECT_SECONDS", 0.05)
    monkeypatch.setattr(http, "PATIENCE_SECONDS", 0)
    monkeypatch.setattr(http, "FIRST_PATIENCE_SECONDS", 0)
    body = bytes(8 << 20)

    def read_slowly(connection: socket.socket) -> None:
        for _ in range(2):
            left = len(body) - len(_request(connection).partition(b"\r\n\r\n")[2])
            while left:
                time.sleep(0.02)
                left -= len(connection.recv(min(left, 1 << 18), socket.MSG_WAITALL))
            connection.sendall(OK)

    with _serving(read_slowly) as url:
        for _ in range(2):  # on a new connection, and on one that is used again
            assert client.urlopen("PUT", url, body=body).status == 200


def test_no_redirect_is_followed(client: S3Http) -> None:
    moved = b"HTTP/1.1 307 Moved\r\nLocation: http://127.0.0.1:1/x?y\r\nContent-Length: 0\r\n"
    with (
        _serving(_answers(moved + b"\r\n")) as url,
        pytest.raises(NotS3, match=r"^redirects to http://127\.0\.0\.1$"),
    ):
        client.urlopen("GET", url)
    # S3's own says in XML where the bucket is.
    with _serving(_answers(moved + b"Content-Type: application/xml\r\n\r\n")) as url:
        assert client.urlopen("GET", url).status == 307


def test_the_address_a_name_leads_to_is_vetted(
    client: S3Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    [loopback] = [endpoint.ipaddress.ip_network("127.0.0.0/8")]
    monkeypatch.setattr(endpoint, "_METADATA_NETWORKS", (loopback,))
    asked: list[bytes] = []
    with (
        _serving(lambda connection: asked.append(connection.recv(1))) as url,
        pytest.raises(UsageError, match="metadata address"),
    ):
        client.urlopen("GET", url.replace("127.0.0.1", "localhost"))
    assert asked == [b""]
