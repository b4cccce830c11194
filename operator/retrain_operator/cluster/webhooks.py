"""POSTs to receivers of notifications, on hosts that the operator's administrator allows."""

import asyncio
import json
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, Self

import aiohttp
from yarl import URL

from retrain_operator.cluster.allowed import NotAllowed, allowed_url

FLAG = "--webhook-allow"
PASSING = (408, 425, 429)  # 4xx that may be accepted the next time
RETRY_AFTER_MAX_S = 300.0


class NotAccepted(Exception):
    """Not accepted. `is_final`: nor will it be the next time. `pause_s`: what the receiver asks for."""

    def __init__(self, message: str, *, is_final: bool = False, pause_s: float = 0.0) -> None:
        super().__init__(message)
        self.is_final = is_final
        self.pause_s = pause_s


class Webhooks:
    """`async with Webhooks(["hooks.example.com:443"]) as webhooks`. Without hosts nothing can be told."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(allowed)
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),  # the sender limits what is under way
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": "retrain-operator/1"},
            timeout=aiohttp.ClientTimeout(total=None),
        )
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._session is not None:
            await self._session.close()

    def host(self, url: str) -> str:
        """host:port of a URL that may be used. Raises NotAccepted."""
        try:
            return allowed_url(url, self._allowed, FLAG)[1]
        except NotAllowed as error:
            raise NotAccepted(str(error), is_final=True) from None

    async def post(self, url: str, body: Mapping[str, Any], headers: Mapping[str, str], *, timeout_s: float) -> None:
        """Return when it was accepted. Raises NotAccepted. The answer's text is not read: a receiver could make it endless."""
        host = self.host(url)
        assert self._session is not None
        data = json.dumps(body, separators=(",", ":")).encode()
        try:
            async with (
                asyncio.timeout(timeout_s),
                self._session.post(URL(url), data=data, headers=headers, allow_redirects=False) as response,
            ):
                _judge(host, response)
        except TimeoutError:
            raise NotAccepted(f"no answer from {host} in {timeout_s:g} s") from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotAccepted(f"{host}: {error or type(error).__name__}") from None


def _judge(host: str, response: aiohttp.ClientResponse) -> None:
    status = response.status
    if 200 <= status < 300:
        return
    if 300 <= status < 400:
        message = f"{host} answers with a redirect ({status}), which is not followed: write the URL that it leads to"
        raise NotAccepted(message, is_final=True)
    after = response.headers.get("Retry-After", "")
    pause_s = min(float(after), RETRY_AFTER_MAX_S) if after.isdecimal() else 0.0
    raise NotAccepted(f"{host} answers {status}", is_final=400 <= status < 500 and status not in PASSING, pause_s=pause_s)
