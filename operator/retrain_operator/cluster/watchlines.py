"""The body of a watch: one JSON object a line, in chunks that know nothing of lines."""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from retrain_operator.cluster import documents
from retrain_operator.cluster.protocol import Expired, Unavailable, WatchEvent


async def watch_events(chunks: AsyncIterator[bytes]) -> AsyncIterator[WatchEvent]:
    """Events as they come. Raises Expired or Unavailable for an ERROR event, Unavailable when it is cut within a line."""
    async for line in _lines(chunks):
        try:
            event = documents.parse(line)
        except ValueError as error:
            raise Unavailable(f"a watch event is not JSON: {line[:80]!r}") from error
        if event["type"] == "ERROR":
            raise _error(event["object"])
        yield WatchEvent(event["type"], event["object"])


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Of any length: an object has up to 1.5 MiB in etcd, and more as JSON, where aiohttp's own readline stops at 128 KiB."""
    begun: list[bytes] = []
    async for chunk in chunks:
        first, *rest = chunk.split(b"\n")
        begun.append(first)
        if not rest:
            continue
        yield b"".join(begun)
        for line in rest[:-1]:
            yield line
        begun = [rest[-1]]
    if any(begun):
        raise Unavailable("the watch was cut within an event")


def _error(status: dict[str, Any]) -> Expired | Unavailable:
    code, message = int(status.get("code", 0)), str(status.get("message", "the watch failed without a message"))
    if code == HTTPStatus.GONE:
        return Expired(message, status=code)
    return Unavailable(message, status=code)
