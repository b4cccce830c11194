"""An HTTP server that answers as a test tells it to, with a client on it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from retrain_operator.api.names import Key
from retrain_operator.cluster.credentials import Credentials
from retrain_operator.cluster.kube import KubeCluster

KEY = Key("ns", "a")
STORED = {"metadata": {"name": "a", "namespace": "ns", "uid": "u1", "resourceVersion": "7"}}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def status(code: int, message: str = "says why", *, reason: str = "", kind: str = "", retry_after: str = "") -> Handler:
    """A `Status` object, as the API server answers a failure."""

    async def answer(_: web.Request) -> web.Response:
        body = {"kind": "Status", "message": message, "reason": reason, "code": code, "details": {"kind": kind} if kind else {}}
        return web.json_response(body, status=code, headers={"Retry-After": retry_after} if retry_after else {})

    return answer


def stored(body: dict[str, Any] | None = None) -> Handler:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(STORED if body is None else body)

    return answer


async def lost(request: web.Request) -> web.StreamResponse:
    """The write is done, and the connection breaks before the answer."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def hangs(_: web.Request) -> web.StreamResponse:
    await asyncio.Event().wait()
    raise AssertionError


async def is_a_page(_: web.Request) -> web.StreamResponse:
    return web.Response(text="<html>a proxy says hello</html>")


class Api:
    """A client whose server answers each request by the next of `answers`, the last one repeated."""

    def __init__(self) -> None:
        self.answers: list[Handler] = []
        self.requests: list[web.Request] = []
        self.bodies: list[Any] = []
        self.counted: list[tuple[str, str, int]] = []
        self.pauses_s: list[float] = []
        self.token: str | None = "Bearer first"
        self.cluster: KubeCluster

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(request)
        text = await request.text()
        self.bodies.append(json.loads(text) if text else None)
        return await (self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])(request)

    async def sleep(self, seconds: float) -> None:
        self.pauses_s.append(seconds)

    def count(self, verb: str, plural: str, code: int, seconds: float) -> None:
        assert seconds >= 0
        self.counted.append((verb, plural, code))


@contextlib.asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    app = web.Application(client_max_size=10 << 20)
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0)
    try:
        yield str(server.make_url("/")).rstrip("/")
    finally:
        await server.close()


@contextlib.asynccontextmanager
async def api_and_client() -> AsyncIterator[Api]:
    fake = Api()
    async with (
        serving(fake.handle) as url,
        KubeCluster(Credentials(url, None, lambda: fake.token), on_request=fake.count, sleep=fake.sleep) as fake.cluster,
    ):
        yield fake


def line(type_: str, version: int, **more: Any) -> bytes:
    return json.dumps({"type": type_, "object": {"metadata": {"resourceVersion": str(version)}, **more}}).encode() + b"\n"


def stream(*chunks: bytes, ends: bool = True) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        if not ends:
            await asyncio.Event().wait()
        return response

    return answer
