"""Instant queries to servers with Prometheus' HTTP API, on behalf of whoever may write a schedule, who is trusted with little.

Only hosts that the operator's administrator allows are asked; redirects are not followed and no proxy of the environment is used; the path
is always the query's. An answer has a deadline and a largest size, and a host that hangs keeps nothing but its own few places busy.
"""

import asyncio
import json
import ssl
from collections import defaultdict
from collections.abc import Iterable
from functools import lru_cache
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from retrain_operator.cluster.allowed import NotAllowed, allowed_url
from retrain_operator.cluster.numbers import parse_number

QUERIES_PER_HOST = 8  # at once; the others wait, within their deadline
ANSWER_MAX_BYTES = 1 << 20
ERROR_MAX_CHARACTERS = 200  # of a server's own words
FLAG = "--prometheus-allow"


class Unreadable(Exception):
    """There is no number to be had. The message is for people."""


class Prometheus:
    """`async with Prometheus(["prometheus.monitoring:9090"]) as prometheus`. Without hosts nothing can be asked."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(allowed)
        self._places: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(QUERIES_PER_HOST))
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # what is asked at once is limited by host, see above
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "retrain-operator/1", "Accept": "application/json", "Accept-Encoding": "identity"},
            auto_decompress=False,  # a small answer must not become a large one
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    def check(self, url: str) -> None:
        """Raises Unreadable when this server may not be asked."""
        self._base(url)

    async def value(self, url: str, query: str, *, timeout_s: float, token: str | None = None, ca: str | None = None) -> float:
        """The one number that the query gives. `ca`: certificates in PEM instead of the system's. Raises Unreadable."""
        base, host = self._base(url)
        assert self._session is not None
        target = base.with_path(base.path.rstrip("/") + "/api/v1/query").with_query({"query": query, "timeout": f"{timeout_s:g}s"})
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        try:
            async with asyncio.timeout(timeout_s), self._places[host]:
                request = self._session.get(target, headers=headers, allow_redirects=False, ssl=_tls(ca) if ca else True)
                async with request as response:
                    return _number(host, response.status, await _bounded(host, response))
        except TimeoutError:
            raise Unreadable(f"no answer from {host} in {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise Unreadable(f"{host}: {error or type(error).__name__}") from None

    def _base(self, url: str) -> tuple[URL, str]:
        """The base URL and its host:port. Raises Unreadable."""
        try:
            base, host = allowed_url(url, self._allowed, FLAG)
        except NotAllowed as error:
            raise Unreadable(str(error)) from None
        if base.query_string:
            raise Unreadable("the URL is not of the form http://host:port/prefix or https://host:port/prefix")
        return base, host


@lru_cache(maxsize=32)  # the same context again is the same connection again
def _tls(ca: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise Unreadable(f"caConfigMap holds no CA certificates in PEM: {error}") from None
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # as for the API server: many own CAs lack what it asks for
    return context


async def _bounded(host: str, response: aiohttp.ClientResponse) -> bytes:
    content = b""
    async for chunk in response.content.iter_any():
        content += chunk
        if len(content) > ANSWER_MAX_BYTES:
            raise Unreadable(f"{host} answers with more than {ANSWER_MAX_BYTES} bytes")
    return content


def _number(host: str, status: int, content: bytes) -> float:
    answer = _json(content)
    if 300 <= status < 400:
        raise Unreadable(f"{host} answers with a redirect ({status}), which is not followed: write the URL that it leads to")
    if status != 200 or answer.get("status") != "success":
        said = str(answer.get("error", ""))[:ERROR_MAX_CHARACTERS]
        raise Unreadable(f"{host} answers {status}" + (f": {said}" if said else "" if status != 200 else ", but not as Prometheus does"))
    data = answer.get("data")
    result = data.get("result") if isinstance(data, dict) else None
    kind = data.get("resultType") if isinstance(data, dict) else None
    if kind == "vector" and isinstance(result, list):
        if len(result) != 1:
            raise Unreadable(f"the query gives {len(result)} samples: write one that gives exactly one, e.g. with max(...)")
        result = result[0].get("value") if isinstance(result[0], dict) else None
    elif kind != "scalar":
        raise Unreadable(f"the query gives a {kind}: write one that gives a scalar, or a vector of one sample")
    if not (isinstance(result, list) and len(result) == 2 and isinstance(result[1], str)):
        raise Unreadable(f"{host} answers, but not as Prometheus does")
    if (number := parse_number(result[1])) is None:
        raise Unreadable(f"the query gives {result[1][:40]}, which is no finite number")
    return number


def _json(content: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return answer if isinstance(answer, dict) else {}
