"""The proxy in front of the API server for one operator process: passes everything on, except where the script says otherwise."""

import asyncio
import json
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import aiohttp
from aiohttp import web
from yarl import URL

from tests.faults.kinds import RESOURCES, WriteFault
from tests.faults.operators import Process
from tests.faults.script import STALE_S, Script
from tests.faults.watches import pass_on
from tests.faults.writes import VERBS, target

LOOPBACK = "127.0.0.1"
HANG_S = 7.0  # longer than the client waits for a write
LATE_S = 5.0  # longer than any run of the scenarios goes on after it
STOPPED_S = 20.0
_HOP_HEADERS = {"host", "connection", "content-length", "transfer-encoding", "accept-encoding", "keep-alive"}
# aiohttp stumbles over the end of a request that it has cancelled, and says so; errors of the gate itself go to `on_error`.
_nobody = logging.getLogger(f"{__name__}.aiohttp")
_nobody.setLevel(logging.CRITICAL + 1)
_VERSION = re.compile(rb'"resourceVersion":"(\d+)"')


@dataclass(frozen=True, slots=True)
class Passed:
    """An answer of the API server."""

    status: int
    headers: dict[str, str]
    body: bytes


class Upstream:
    """The connections to the real API server, shared by all gates. They carry no credentials but the operator's own header."""

    def __init__(self, server: str, tls: ssl.SSLContext) -> None:
        self.server, self._tls = server, tls

    async def __aenter__(self) -> Self:
        self.session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._tls), timeout=aiohttp.ClientTimeout(total=None), auto_decompress=False
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.session.close()
        await asyncio.sleep(0.25)  # aiohttp's documentation asks for this pause after TLS connections

    def url(self, path: str) -> URL:
        return URL(self.server + path, encoded=True)

    async def call(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Passed:
        async with self.session.request(method, self.url(path), headers=headers, data=body or None, allow_redirects=False) as response:
            return Passed(response.status, {"Content-Type": response.headers.get("Content-Type", "")}, await response.read())


class Gate:
    """`async with Gate(...) as gate`: the operator reaches the API server at `gate.server`. `process` is set once it runs."""

    def __init__(self, upstream: Upstream, script: Script, replica: int, *, on_error: Callable[[BaseException], None]) -> None:
        self.process: Process | None = None
        self._upstream, self._script, self._replica = upstream, script, replica
        self._on_error = on_error
        self._late: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None, handler_cancellation=True, logger=_nobody), shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, LOOPBACK, 0)
        await site.start()
        self.server = f"http://{LOOPBACK}:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await asyncio.gather(*self._late, return_exceptions=True)
        await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            headers = {name: value for name, value in request.headers.items() if name.lower() not in _HOP_HEADERS}
            if self._script.is_out:
                return failure(503, "ServiceUnavailable", "the harness is having an outage")
            if request.method in VERBS:
                return await self._write(request, headers, await request.read())
            if "watch" in request.query:
                return await self._watch(request, headers)
            return self._answer(await self._upstream.call("GET", self._read_path(request), headers, b""))
        except (ConnectionResetError, aiohttp.ClientError):
            return _cut(request)  # the operator was killed, or the API server went away
        except Exception as error:
            self._on_error(error)
            raise

    def _read_path(self, request: web.BaseRequest) -> str:
        """As asked for, or pinned to an old version when lists are stale."""
        script, about = self._script, target(request.path)
        if not script.is_stale or about.name or "continue" in request.query or about.resource not in RESOURCES:
            return request.raw_path
        pinned = {"resourceVersion": str(script.stale_version), "resourceVersionMatch": "Exact"}
        return str(URL(request.raw_path, encoded=True).update_query(pinned))

    async def _watch(self, request: web.BaseRequest, headers: dict[str, str]) -> web.StreamResponse:
        script, resource, path = self._script, target(request.path).resource, request.raw_path
        if resource in script.replays:
            script.replays.discard(resource)
            path = str(URL(path, encoded=True).update_query({"resourceVersion": str(script.first_version)}))
        async with self._upstream.session.get(self._upstream.url(path), headers=headers) as response:
            if response.status != 200:
                return self._answer(Passed(response.status, {}, await response.read()))
            answer = web.StreamResponse(headers={"Content-Type": "application/json"})
            await answer.prepare(request)
            if not await pass_on(response.content.iter_any(), answer, resource, script):
                return _cut(request, answer)
            await answer.write_eof()
            return answer

    async def _write(self, request: web.BaseRequest, headers: dict[str, str], body: bytes) -> web.StreamResponse:
        script, process = self._script, self.process
        before = script.newest_version
        fault = script.on_write(self._replica, request.method, request.path, body)

        async def apply() -> web.StreamResponse:
            return self._answer(await self._upstream.call(request.method, request.raw_path, headers, body))

        if fault is None:
            return await apply()
        assert process is not None
        if fault is WriteFault.OUTAGE:
            script.outage_until = script.lasting(script.outage_s)
            return failure(503, "ServiceUnavailable", "the harness begins an outage")
        if fault is WriteFault.KILL_STALE:
            script.stale_version = before
            script.stale_until = script.lasting(STALE_S)
            await apply()
            process.kill()
            return _cut(request)
        if fault is WriteFault.LATE:
            self._send_late(apply)
            return _cut(request)
        try:
            return await self._fail(fault, process, request, apply)
        finally:
            script.over()

    async def _fail(self, fault: WriteFault, process: Process, request: web.BaseRequest, apply: Any) -> web.StreamResponse:
        match fault:
            case WriteFault.KILL_BEFORE:
                process.kill()
                return _cut(request)
            case WriteFault.KILL_AFTER:
                await apply()
                process.kill()
                return _cut(request)
            case WriteFault.LOST:
                await apply()
                return _cut(request)
            case WriteFault.CONFLICT:
                return failure(409, "Conflict", "the harness says: please apply your changes to the latest version and try again")
            case WriteFault.THROTTLED:
                return failure(429, "TooManyRequests", "the harness says: too many requests", {"Retry-After": "1"})
            case WriteFault.ERROR:
                return failure(500, "InternalError", "the harness did not apply this")
            case WriteFault.ERROR_APPLIED:
                await apply()
                return failure(500, "InternalError", "the harness applied this")
            case WriteFault.TIMEOUT | WriteFault.TIMEOUT_APPLIED:
                if fault is WriteFault.TIMEOUT_APPLIED:
                    await apply()
                await asyncio.sleep(HANG_S)  # cancelled when the client gives up
                return _cut(request)
            case WriteFault.STOPPED:
                process.stop()
                await asyncio.sleep(STOPPED_S)
                process.go_on()
                return await apply()  # type: ignore[no-any-return]
        raise AssertionError(fault)

    def _send_late(self, apply: Any) -> None:
        async def send() -> None:
            await asyncio.sleep(LATE_S)
            await apply()
            self._script.over()

        task = asyncio.create_task(send())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    def _answer(self, passed: Passed) -> web.Response:
        for version in _VERSION.findall(passed.body):
            self._script.saw_version(version.decode())
        return web.Response(status=passed.status, headers=passed.headers, body=passed.body)


def failure(status: int, reason: str, message: str, headers: dict[str, str] | None = None) -> web.Response:
    """As the API server says it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": status}
    return web.Response(status=status, headers=headers, text=json.dumps(body), content_type="application/json")


def _cut(request: web.BaseRequest, answer: web.StreamResponse | None = None) -> web.StreamResponse:
    """Reset the connection: whatever is returned reaches nobody."""
    if request.transport is not None:
        request.transport.abort()
    return answer or web.Response()
