"""Between the web server and Django: bodies are received and answers sent on the event loop, Django runs in a few threads.

A thread is scarce and is held only while something is computed. Who sends or reads slowly holds a connection, and that
only while he is not slower than the limits below; see docs/adr/0035-bodies-before-threads.md.
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from typing import Any

import structlog
from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]

from omarino.edge import REFUSAL, is_wanted
from omarino.errors import BodyNotKept, BodyTooSlow

LIVENESS = frozenset({"/health", "/api/health"})
SMALL_BYTES = 65_536  # read from anybody; a longer body is asked for only when somebody may send it there
HELD_BYTES = 1_048_576  # a longer one waits in a temporary file
BLOCK_BYTES = 262_144
PATIENCE_S = 20.0  # for the next bytes of a body, and for the first
LEAST_BYTES_S = 500  # on the average
READER_PATIENCE_S = 60.0  # for who takes nothing of an answer

log = structlog.get_logger(__name__)
Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Any]
Streamed = tuple[int, list[tuple[str, str]], Any]


class Unread(io.RawIOBase):
    """A body that was not received, because nobody is going to want it: who reads it all the same meets its end."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        raise ConnectionAbortedError("the body was not received")


class Threads:
    """So many, for so long as the process lives. `concurrent.futures` would take 60 microseconds more for each request."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: SimpleQueue[tuple[asyncio.Future[Any], Callable[..., Any], Any] | None] = SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def run(self, what: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        future = self._loop.create_future()
        self._waiting.put((future, what, args))
        return future

    def end(self) -> None:
        """When all that waits is done."""
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while (asked := self._waiting.get()) is not None:
            future, what, args = asked
            try:
                found, fault = what(*args), None
            except BaseException as raised:  # noqa: BLE001  it is raised where somebody waits for it
                found, fault = None, raised
            self._loop.call_soon_threadsafe(_tell, future, found, fault)
            del asked, future, what, args, found, fault  # while it waits for the next it holds nobody's body


def _tell(future: asyncio.Future[Any], found: Any, fault: BaseException | None) -> None:
    if future.done():  # nobody waits any more
        return
    if fault is None:
        future.set_result(found)
    else:
        future.set_exception(fault)


class Front:
    """Granian's RSGI on one side, an application of WSGI in `threads` threads on the other."""

    def __init__(self, application: Application, *, threads: int) -> None:
        self._application = application
        self._count = threads

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._threads, self._liveness = Threads(self._count, loop), Threads(1, loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        for threads in (self._threads, self._liveness):
            threads.end()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        environ = environ_of(scope)
        if scope.path in LIVENESS and scope.method in ("GET", "HEAD"):
            # answered while all threads are busy, or a probe would end what is only busy
            await self._answer(environ, protocol, self._liveness)
            return
        body = environ["wsgi.input"] = await self._body(environ, protocol)
        if body is None:
            return
        try:
            await self._answer(environ, protocol, self._threads)
        finally:
            body.close()

    # What comes in

    async def _body(self, environ: Environ, protocol: Any) -> Any:
        """The body as a file; None when the connection ended in it."""
        length = int(environ.get("CONTENT_LENGTH") or 0)
        try:
            if not length:
                return await self._unannounced(environ, protocol)
            if length <= SMALL_BYTES:
                async with asyncio.timeout(PATIENCE_S + length / LEAST_BYTES_S):
                    content = await protocol()
                return io.BytesIO(content) if len(content) == length else None
            if not await self._threads.run(is_wanted, environ):
                return Unread()
            return await self._received(length, protocol)
        except ProtocolClosed:
            return None
        except TimeoutError:
            environ[REFUSAL] = BodyTooSlow(patience_s=int(PATIENCE_S), least_bytes_s=LEAST_BYTES_S)
        except OSError as fault:  # of the temporary file
            log.error("body_not_kept", reason=str(fault.strerror))
            environ[REFUSAL] = BodyNotKept()
        return Unread()

    async def _unannounced(self, environ: Environ, protocol: Any) -> Any:
        """Of HTTP/2 the first block, which shows that there is a body; chunked ones are refused unread."""
        if environ["REQUEST_METHOD"] in ("GET", "HEAD") or environ["SERVER_PROTOCOL"] != "HTTP/2":
            return io.BytesIO()
        async with asyncio.timeout(PATIENCE_S):
            async for block in protocol:
                return io.BytesIO(block)
        return io.BytesIO()

    async def _received(self, length: int, protocol: Any) -> Any:
        file: Any = io.BytesIO() if length <= HELD_BYTES else tempfile.TemporaryFile()  # noqa: SIM115  closed by who asked
        try:
            if (
                await self._copy(protocol, file, self._loop.time() + PATIENCE_S + length / LEAST_BYTES_S)
                == length
            ):
                file.seek(0)
                return file
        except BaseException:
            file.close()
            raise
        file.close()
        return None

    async def _copy(self, protocol: Any, file: Any, latest: float) -> int:
        """The bytes that came."""
        size, blocks = 0, bytearray()
        async with asyncio.timeout(PATIENCE_S) as patience:
            async for block in protocol:
                patience.reschedule(min(self._loop.time() + PATIENCE_S, latest))
                blocks += block
                size += len(block)
                if len(blocks) >= BLOCK_BYTES:
                    await self._loop.run_in_executor(None, file.write, bytes(blocks))
                    blocks.clear()
        await self._loop.run_in_executor(None, file.write, bytes(blocks))
        return size

    # What goes out

    async def _answer(self, environ: Environ, protocol: Any, threads: Threads) -> None:
        streamed = await threads.run(self._ask, environ, protocol)
        if streamed is None:
            return
        status, headers, response = streamed
        try:
            if environ["REQUEST_METHOD"] == "HEAD":
                protocol.response_empty(status, headers)
            else:
                await self._stream(protocol.response_stream(status, headers), iter(response), threads)
        except (TimeoutError, ProtocolClosed):
            pass  # who asked went away, or reads no more
        finally:
            await threads.run(response.close)

    def _ask(self, environ: Environ, protocol: Any) -> Streamed | None:
        """In a thread. A finished answer is sent at once; one that is to be streamed comes back."""
        started: list[Any] = []
        response = self._application(environ, lambda *said: started.extend(said))
        status, headers = int(started[0].partition(" ")[0]), started[1]
        if not isinstance(response, list):
            return status, headers, response
        protocol.response_bytes(status, headers, b"".join(response))
        return None

    async def _stream(self, transport: Any, pieces: Iterator[bytes], threads: Threads) -> None:
        while block := await threads.run(next_block, pieces):
            async with asyncio.timeout(READER_PATIENCE_S):
                await transport.send_bytes(block)


def next_block(pieces: Iterator[bytes]) -> bytes:
    """So many pieces that it is worth a change of threads; nothing at the end."""
    block = bytearray()
    for piece in pieces:
        block += piece
        if len(block) >= BLOCK_BYTES:
            break
    return bytes(block)


def environ_of(scope: Any) -> Environ:
    """The request as WSGI has it (PEP 3333): bytes beyond ASCII as Latin-1, a header said twice joined by commas."""
    server, port = _address(scope.server)
    environ: Environ = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": _as_latin_1(scope.path),
        "QUERY_STRING": _as_latin_1(scope.query_string),
        "SERVER_NAME": server,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": _address(scope.client)[0],
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    for name, value in scope.headers.items():
        _enter(environ, name, value)
    for name in scope.headers.keys():  # noqa: SIM118  those too whose value is not ASCII, without it
        _enter(environ, name, None)
    environ.setdefault("HTTP_HOST", scope.authority or "")  # or Django would take SERVER_NAME for it
    return environ


def _enter(environ: Environ, name: str, value: str | None) -> None:
    if "_" in name:  # x_tenant_id would pass for X-Tenant-ID, which a proxy may have checked
        return
    key = name.upper().replace("-", "_")
    if key not in ("CONTENT_LENGTH", "CONTENT_TYPE"):
        key = f"HTTP_{key}"
        if value is not None and key in environ:
            environ[key] += f"{';' if key == 'HTTP_COOKIE' else ','}{value}"
            return
    environ.setdefault(key, value or "")


def _as_latin_1(text: str) -> str:
    return text if text.isascii() else text.encode().decode("latin-1")


def _address(text: str) -> tuple[str, str]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), port
