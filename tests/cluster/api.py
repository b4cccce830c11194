"""What the local node needs of the API server: reads, writes that outlive its outages, and one watch that never ends."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import aiohttp

CONNECTIONS = 64  # what keeps the API server busy on a few cores; more only queue there
PAUSE_S = 0.2  # between attempts while the API server is away
CALL_TIMEOUT_S = 30.0
# aiohttp, client and server, does not wait for TLS connections that were cut while in use: its documentation asks for this pause.
GOODBYE_S = 0.25
_SESSION_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=5.0)
_CONTENT_TYPES = {"PATCH": "application/strategic-merge-patch+json"}

Body = dict[str, Any]


class Refused(Exception):
    """The API server says no, and would again."""


class Event(NamedTuple):
    """A change, or with LISTED all there is: at the start and after every gap."""

    type: Literal["LISTED", "ADDED", "MODIFIED", "DELETED"]
    bodies: list[Body]


class Api:
    """A client for `async with`. Calls wait for as long as the API server is away."""

    def __init__(self, server: str, tls: ssl.SSLContext) -> None:
        self._server, self._tls = server, tls

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(ssl=self._tls, limit=CONNECTIONS)
        self._session = aiohttp.ClientSession(self._server, connector=connector, timeout=_SESSION_TIMEOUT)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._session.close()
        await asyncio.sleep(GOODBYE_S)

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Body | None:
        """The answer to a GET (to a write, an empty body), or None on 404 and 409: gone, or somebody else was first. Raises Refused.

        PATCH is a strategic merge.
        """
        headers = {"Content-Type": _CONTENT_TYPES.get(method, "application/json")}
        data = None if body is None else json.dumps(body).encode()
        while True:
            try:
                async with asyncio.timeout(CALL_TIMEOUT_S):
                    async with self._session.request(method, path, data=data, headers=headers) as response:
                        if response.status in (404, 409):
                            return None
                        if response.ok:
                            text = await response.read()
                            return _json(text) if method == "GET" else {}  # parsing what nobody reads is felt with thousands of pods
                        if response.status < 500 and response.status != 429:
                            raise Refused(f"{method} {path}: {response.status} {await response.text()}")
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(PAUSE_S)

    async def watch(self, path: str) -> AsyncIterator[Event]:
        """Lists, then follows; lists again whenever the watch was cut."""
        while True:
            listed = await self.call("GET", path)
            if listed is None:
                raise Refused(f"{path} is not served")
            yield Event("LISTED", listed["items"])
            version = listed["metadata"]["resourceVersion"]
            try:
                async for change in self._changes(f"{path}?watch=true&resourceVersion={version}"):
                    if change["type"] == "ERROR":
                        break
                    yield Event(change["type"], [change["object"]])
            except aiohttp.ClientError:
                await asyncio.sleep(PAUSE_S)

    async def _changes(self, path: str) -> AsyncIterator[Body]:
        async with self._session.get(path) as response:
            response.raise_for_status()
            rest = b""
            async for chunk in response.content.iter_any():  # not by line: a pod may be longer than aiohttp's limit
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    yield _json(line)


def _json(text: bytes) -> Body:
    body: Body = json.loads(text)
    return body
