"""The front between granian and Django, run by a real granian with a single thread."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from tests.observability.conftest import free_port

HEAD = b"Host: localhost\r\n"


class Server:
    def __init__(self, folder: Path) -> None:
        self.port, self.log = free_port(), folder / "log"
        command = [sys.executable, "-m", "granian", "--interface", "rsgi", "tests.omarino.echo:application"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, "--port", str(self.port), "--no-ws"],
                env={
                    **os.environ,
                    "DJANGO_SETTINGS_MODULE": "omarino.settings",
                    "DATA_DIR": str(folder / "data"),
                    "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics"),
                },
                cwd=settings.BASE_DIR,
                stdout=log,
                stderr=log,
            )
        while not self._listens():
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)

    def _listens(self) -> bool:
        with suppress(OSError):
            return (
                self.exchange(b"GET /health HTTP/1.1\r\n" + HEAD + b"\r\n", patience_s=2)[:12]
                == b"HTTP/1.1 200"
            )
        return False

    def connect(self, sent: bytes = b"") -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        connection.sendall(sent)
        return connection

    def exchange(self, sent: bytes, patience_s: float = 10) -> bytes:
        """What is answered to raw bytes, until the server pauses or ends the connection."""
        with self.connect(sent) as connection:
            connection.settimeout(patience_s)
            answer = connection.recv(65536)
            connection.settimeout(0.3)
            with suppress(TimeoutError):
                while more := connection.recv(65536):
                    answer += more
            return answer

    def told(self, sent: bytes) -> dict[str, Any]:
        head, _, body = self.exchange(sent).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1."), head
        assert b" 200 OK" in head, head
        told: dict[str, Any] = json.loads(body)
        return told

    def asked(self, method: str, address: str, body: bytes | None = None) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)) as connection:
            connection.request(method, address, body)
            answer = connection.getresponse()
            return answer.status, answer.read()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("front"))
    yield server
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(60)
    assert "Traceback" not in server.log.read_text()


def test_the_request_arrives_as_wsgi_has_it(server: Server) -> None:
    told = server.told(
        b"POST /a%20b/%C3%A9?x=%ff&y=1 HTTP/1.1\r\nHost: hub:80\r\nX-Twice: 1\r\nX-Twice: 2\r\nCookie: a=1\r\n"
        b"Cookie: b=2\r\nContent-Type: text/plain\r\nContent-Length: 3\r\nX-Empty:\r\n\r\nabc"
    )

    assert told | {"SERVER_PORT": "", "body": ""} == {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/a b/\xc3\xa9",  # the bytes of UTF-8, as Latin-1
        "QUERY_STRING": "x=%ff&y=1",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "HTTP_HOST": "hub:80",
        "HTTP_X_TWICE": "1,2",
        "HTTP_COOKIE": "a=1;b=2",
        "CONTENT_TYPE": "text/plain",
        "CONTENT_LENGTH": "3",
        "HTTP_X_EMPTY": "",
        "refusal": "",
        "body": "",
    }
    assert told["body"] == "abc"


def test_a_header_with_an_underscore_does_not_pass_for_one_with_a_dash(server: Server) -> None:
    told = server.told(
        b"GET / HTTP/1.1\r\nHost: hub\r\nX_Tenant_ID: beta\r\nX-Forwarded_Proto: https\r\nContent_Length: 9\r\n\r\n"
    )

    assert not {"HTTP_X_TENANT_ID", "HTTP_X_FORWARDED_PROTO", "CONTENT_LENGTH", "HTTP_CONTENT_LENGTH"} & set(
        told
    )


@pytest.mark.parametrize("host", [b"Host: h\xe9\r\n", b""], ids=["not ASCII", "none"])
def test_a_host_that_is_no_name_is_not_replaced_by_our_address(host: bytes, server: Server) -> None:
    assert server.told(b"GET / HTTP/1.0\r\n" + host + b"\r\n")["HTTP_HOST"] == ""


def test_two_hosts_are_no_host(server: Server) -> None:
    assert (
        server.told(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")["HTTP_HOST"] == "a,b"
    )  # Django refuses it


def test_a_connection_serves_one_request_after_the_other(server: Server) -> None:
    asked = [
        ("POST", "/", b"one"),
        ("HEAD", "/", None),
        ("HEAD", "/stream?3", None),
        ("GET", "/stream?3", None),
    ]
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)) as connection:
        for method, path, body in asked:
            connection.request(method, path, body)
            answer = connection.getresponse()
            size = len(answer.read())
            assert (answer.status, size) == (
                200,
                0 if method == "HEAD" else int(answer.headers["Content-Length"]),
            )
            assert answer.headers["Content-Length"] != "0"
    first = server.exchange(b"GET / HTTP/1.1\r\n" + HEAD + b"\r\n")
    assert first.count(b"set-cookie: ") == 2


def test_who_waits_to_be_asked_for_a_body_is_asked(server: Server) -> None:
    answer = server.exchange(
        b"POST / HTTP/1.1\r\n" + HEAD + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc"
    )

    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")


def test_who_may_not_send_a_long_body_is_not_asked_for_it(server: Server) -> None:
    """The application would meet its end at once: it refuses by the headers."""
    long = b"Expect: 100-continue\r\nContent-Length: 70000\r\n"
    answer = server.exchange(b"POST /stream?1 HTTP/1.1\r\n" + HEAD + long + b"\r\n")

    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert b"connection: close" in answer.lower() or b"100 Continue" not in answer


def test_a_chunked_body_is_not_received(server: Server) -> None:
    told = server.told(
        b"POST / HTTP/1.1\r\n" + HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    )

    assert (told["body"], told["HTTP_TRANSFER_ENCODING"]) == ("", "chunked")  # Django answers 411


def test_liveness_is_answered_while_the_only_thread_is_busy(server: Server) -> None:
    with server.connect(b"GET /sleep?4 HTTP/1.1\r\n" + HEAD + b"\r\n") as busy:
        time.sleep(0.3)
        began = time.monotonic()
        assert server.asked("GET", "/health")[0] == 200
        assert time.monotonic() - began < 3
        assert busy.recv(12) == b"HTTP/1.1 200"


def test_forty_slow_bodies_hold_no_thread_and_are_answered_408(server: Server) -> None:
    with ExitStack() as open_until_then:
        began = time.monotonic()
        slow = [
            open_until_then.enter_context(
                server.connect(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 50\r\n\r\nx")
            )
            for _ in range(40)
        ]
        for _ in range(5):
            assert server.asked("POST", "/", b"quick")[0] == 200
        assert time.monotonic() - began < 15
        for connection in slow:
            assert json.loads(connection.recv(65536).partition(b"\r\n\r\n")[2])["refusal"] == "body_too_slow"
        assert 19 < time.monotonic() - began < 50


def test_a_body_that_ends_early_is_answered_by_nobody(server: Server) -> None:
    for _ in range(3):
        server.connect(b"POST / HTTP/1.1\r\n" + HEAD + b"Content-Length: 50\r\n\r\nx").close()

    assert server.asked("POST", "/", b"next")[0] == 200


def test_who_reads_slowly_holds_no_thread(server: Server) -> None:
    with server.connect(b"GET /stream?1000 HTTP/1.1\r\n" + HEAD + b"\r\n") as slow:
        assert slow.recv(12) == b"HTTP/1.1 200"
        began = time.monotonic()
        for _ in range(3):
            assert server.asked("POST", "/", b"quick")[0] == 200
        assert time.monotonic() - began < 5
        closed = server.log.read_text().count("closed")
    deadline = time.monotonic() + 20
    while server.log.read_text().count("closed") == closed:  # who went away is not waited for
        assert time.monotonic() < deadline
        time.sleep(0.1)
