"""The one endpoint of a kubelet that the local node serves: `kubectl logs`, through the API server."""

import asyncio
import collections
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from tests.cluster.certificates import KeyPair

FOLLOW_POLL_S = 0.1  # how late a followed line may appear
CHUNK_BYTES = 64 * 1024
LOOPBACK = "127.0.0.1"


class PodLog(NamedTuple):
    """`path` is None for a pod without a process. `is_over()` says that nothing will be added."""

    path: Path | None
    is_over: Callable[[], bool]


FindLog = Callable[[str, str], PodLog | None]
"""(namespace, pod) to its log, or None for a pod that is not here."""


async def serve_logs(find: FindLog, *, serving: KeyPair, client_authority: Path) -> tuple[web.AppRunner, int]:
    """The running server, to be cleaned up by the caller, and its port. Only a client with our authority's certificate gets in."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return await _answer(request, find)

    app = web.Application()
    app.router.add_get("/containerLogs/{namespace}/{pod}/{container}", answer)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client_authority)
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_cert_chain(serving.certificate, serving.key)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0, ssl_context=tls).start()
    return runner, runner.addresses[0][1]


async def _answer(request: web.Request, find: FindLog) -> web.StreamResponse:
    log = find(request.match_info["namespace"], request.match_info["pod"])
    if log is None or request.query.get("previous") == "true":
        raise web.HTTPNotFound(text="no such log on the local node")
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    follow = request.query.get("follow") == "true"
    if log.path is not None and (follow or log.path.exists()):
        await _copy(log, response, query=request.query, follow=follow)
    await response.write_eof()
    return response


async def _copy(log: PodLog, response: web.StreamResponse, *, query: collections.abc.Mapping[str, str], follow: bool) -> None:
    assert log.path is not None
    left = int(query["limitBytes"]) if "limitBytes" in query else None
    with log.path.open("rb") as file:
        if "tailLines" in query:
            file.seek(_start_of_tail(file.read(), int(query["tailLines"])))
        while True:
            over = log.is_over()  # asked before reading: what is written until then must still be sent
            while chunk := file.read(CHUNK_BYTES if left is None else min(CHUNK_BYTES, left)):
                await response.write(chunk)
                left = None if left is None else left - len(chunk)
            if not follow or over or left == 0:
                return
            await asyncio.sleep(FOLLOW_POLL_S)


def _start_of_tail(content: bytes, lines: int) -> int:
    """Where the last `lines` lines begin."""
    kept = content.splitlines(keepends=True)[-lines:] if lines else []
    return len(content) - sum(map(len, kept))
