"""SKELETON - signatures only, body follows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Self

from retrain_operator.api.names import Key
from retrain_operator.cluster.credentials import Credentials
from retrain_operator.cluster.protocol import AlreadyExists, Body, Conflict, Listing, Resource, WatchEvent

OnRequest = Callable[[str, str, int, float], None]  # verb, resource plural, HTTP status (0: no answer), seconds


class KubeCluster:
    def __init__(
        self,
        credentials: Credentials,
        *,
        connections: int = 100,
        on_request: OnRequest | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None: ...

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def get(self, resource: Resource, key: Key) -> Body | None:
        raise NotImplementedError

    async def list(
        self, resource: Resource, namespace: str | None, *, label_selector: str = "", field_selector: str = ""
    ) -> Listing:
        raise NotImplementedError

    def watch(
        self, resource: Resource, namespace: str | None, *, resource_version: str, label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        raise NotImplementedError

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body | AlreadyExists:
        raise NotImplementedError

    async def replace(self, resource: Resource, key: Key, body: Mapping[str, Any]) -> Body | Conflict | None:
        raise NotImplementedError

    async def patch_status(
        self, resource: Resource, key: Key, status: Mapping[str, Any], *, resource_version: str
    ) -> Body | Conflict | None:
        raise NotImplementedError

    async def delete(self, resource: Resource, key: Key, *, uid: str) -> bool:
        raise NotImplementedError
