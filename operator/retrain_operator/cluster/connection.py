"""HTTP to one API server: one aiohttp session, a limited number of calls at once, each with a deadline and counted."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlencode

import aiohttp
from yarl import URL

from retrain_operator.cluster import documents
from retrain_operator.cluster.answers import Answer
from retrain_operator.cluster.credentials import Credentials
from retrain_operator.cluster.protocol import Resource, Unavailable

CONNECT_TIMEOUT_S = 5.0
READ_SILENCE_S = 90.0  # bookmarks come once a minute; a watch that is silent for longer is dead
KEEP_ALIVE_S = 60.0
WATCH_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_SILENCE_S)

# Kubernetes' verb, the resource's plural, the HTTP status or 0 when no answer came, seconds until the answer began.
OnRequest = Callable[[str, str, int, float], None]

_HTTP_METHODS = {
    "get": "GET",
    "list": "GET",
    "watch": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
_JSON = {"Content-Type": "application/json"}
_MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}


class Connection:
    """Requests and their answers. Raises Unavailable where no answer came; what an answer means is not known here."""

    def __init__(self, credentials: Credentials, *, calls_at_once: int, manager: str, on_request: OnRequest) -> None:
        self._credentials = credentials
        self._server = credentials.server
        self._slots = asyncio.Semaphore(calls_at_once)
        self._manager = manager
        self._on_request = on_request
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        # No limit of its own: that one would count watches, which hold their connection for minutes.
        connector = aiohttp.TCPConnector(limit=0, ssl=self._credentials.ssl_context or True, keepalive_timeout=KEEP_ALIVE_S)
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            # What stands before the slash becomes the manager in managedFields. Compressing costs more CPU than a cluster's network.
            headers={"User-Agent": f"{self._manager}/1", "Accept": "application/json", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(total=None),  # `call` has its own, which counts the wait for a slot too
            proxy=self._credentials.proxy,
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._session.close()

    async def call(
        self,
        verb: str,
        resource: Resource,
        path: str,
        *,
        timeout_s: float,
        query: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        text: bool = False,
    ) -> Answer:
        """The answer, whatever it says. Raises Unavailable after `timeout_s`, the wait for a free slot included."""
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._slots,
                self._answering(verb, resource, path, query or {}, data=data) as response,
            ):
                content = await response.read()
                if text and response.ok:
                    return Answer(response.status, {"text": content.decode(errors="replace")})
                return _answer(response, content)
        except TimeoutError as error:
            raise Unavailable(f"no answer from {self._server} in {timeout_s:.1f} s") from error

    @asynccontextmanager
    async def stream(self, resource: Resource, path: str, query: Mapping[str, Any]) -> AsyncIterator[Answer | AsyncIterator[bytes]]:
        """Chunks of a watch for as long as the server sends them, or the answer of a server that refuses it.

        Raises Unavailable when it breaks, and when nothing was heard for READ_SILENCE_S.
        """
        async with self._answering("watch", resource, path, query, timeout=WATCH_TIMEOUT) as response:
            if not response.ok:
                yield _answer(response, await response.read())
                return
            try:
                yield response.content.iter_any()
            finally:
                if response.connection and response.connection.transport:
                    response.connection.transport.abort()  # an orderly end of TLS would outlive the session, and gains nothing

    @asynccontextmanager
    async def _answering(
        self, verb: str, resource: Resource, path: str, query: Mapping[str, Any], **options: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        headers = dict(_MERGE_PATCH if verb == "patch" else _JSON)
        if authorization := self._credentials.authorization():
            headers["Authorization"] = authorization
        request = self._session.request(
            _HTTP_METHODS[verb],
            URL(f"{self._server}{path}{_query(query)}", encoded=True),
            headers=headers,
            server_hostname=self._credentials.tls_server_name,
            allow_redirects=False,
            **options,
        )
        started = time.perf_counter()
        status = 0
        try:
            try:
                response = await request
                status = response.status
            finally:
                self._on_request(verb, resource.plural, status, time.perf_counter() - started)
            async with response:
                yield response
        except (aiohttp.ClientError, OSError) as error:
            raise Unavailable(f"{self._server}: {error or type(error).__name__}") from error


def _query(query: Mapping[str, Any]) -> str:
    asked = {name: value for name, value in query.items() if value}
    return f"?{urlencode(asked)}" if asked else ""


def _answer(response: aiohttp.ClientResponse, text: bytes) -> Answer:
    try:
        body = documents.parse(text)
    except ValueError as error:
        if response.ok:  # a proxy's page, say; a failure with plain text is usual
            raise Unavailable(f"the answer is not JSON: {text[:80]!r}", status=response.status) from error
        body = {"message": text.decode(errors="replace").strip()}
    return Answer(response.status, body, _retry_after_s(response.headers.get("Retry-After", "")))


def _retry_after_s(header: str) -> float:
    return float(header) if header.isdecimal() else 0.0
