"""Only the leader writes: a cluster that refuses writes without authority."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from retrain_operator.api.names import Key
from retrain_operator.cluster.protocol import AlreadyExists, Body, Cluster, ClusterError, Conflict, Listing, Resource, WatchEvent


class NotLeader(ClusterError):
    """Refused before anything was sent: another process may hold the lease by now."""


class Fenced:
    """`cluster`, whose writes are refused while `may_write()` is False. Reads pass."""

    def __init__(self, cluster: Cluster, may_write: Callable[[], bool]) -> None:
        self._cluster = cluster
        self._may_write = may_write

    async def get(self, resource: Resource, key: Key) -> Body | None:
        return await self._cluster.get(resource, key)

    async def list(self, resource: Resource, namespace: str | None, *, label_selector: str = "", field_selector: str = "") -> Listing:
        return await self._cluster.list(resource, namespace, label_selector=label_selector, field_selector=field_selector)

    def pages(self, resource: Resource, namespace: str | None, *, label_selector: str = "") -> AsyncIterator[Listing]:
        return self._cluster.pages(resource, namespace, label_selector=label_selector)

    def watch(
        self, resource: Resource, namespace: str | None, *, resource_version: str, label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        return self._cluster.watch(resource, namespace, resource_version=resource_version, label_selector=label_selector)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body | AlreadyExists:
        self._require_authority()
        return await self._cluster.create(resource, namespace, body)

    async def replace(self, resource: Resource, key: Key, body: Mapping[str, Any]) -> Body | Conflict | None:
        self._require_authority()
        return await self._cluster.replace(resource, key, body)

    async def patch_status(
        self, resource: Resource, key: Key, status: Mapping[str, Any], *, resource_version: str
    ) -> Body | Conflict | None:
        self._require_authority()
        return await self._cluster.patch_status(resource, key, status, resource_version=resource_version)

    async def patch_spec(self, resource: Resource, key: Key, patch: Mapping[str, Any], *, resource_version: str) -> Body | Conflict | None:
        self._require_authority()
        return await self._cluster.patch_spec(resource, key, patch, resource_version=resource_version)

    async def delete(self, resource: Resource, key: Key, *, uid: str, foreground: bool = False) -> bool:
        self._require_authority()
        return await self._cluster.delete(resource, key, uid=uid, foreground=foreground)

    async def log_tail(self, pod: Key, container: str, lines: int) -> Sequence[str]:
        return await self._cluster.log_tail(pod, container, lines)

    def _require_authority(self) -> None:
        if not self._may_write():
            raise NotLeader("not the leader: nothing was written")
