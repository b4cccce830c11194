"""A cluster in memory that behaves as a Kubernetes API server does in everything the operator can see.

It serves the embedded demo, the property tests and the simulator. What it holds itself to is checked by the same behaviour tests that run
on a real API server. Not here: managed fields, server-side apply, paging, authorization, quotas.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from retrain_operator.api.names import Key
from retrain_operator.cluster.history import Feed, event_of
from retrain_operator.cluster.objects import json_copy, merge_patch
from retrain_operator.cluster.protocol import (
    CONFIG_MAPS,
    EVENTS,
    JOBS,
    LEASES,
    PODS,
    RUNS,
    SCHEDULES,
    SECRETS,
    AlreadyExists,
    Body,
    Conflict,
    Listing,
    Rejected,
    Resource,
    Unavailable,
    WatchEvent,
)
from retrain_operator.cluster.selectors import label_predicate
from retrain_operator.cluster.store import Admission, Store

__all__ = ["Admission", "MemoryCluster", "WriteHook"]

T = TypeVar("T")

_BY_KIND = {
    (resource.api_version, resource.kind): resource for resource in (SCHEDULES, RUNS, JOBS, PODS, CONFIG_MAPS, SECRETS, EVENTS, LEASES)
}

# (method, resource, key): "create", "replace", "patch_status", "patch_spec" or "delete". Key.name is "" for a create with generateName.
WriteHook = Callable[[str, Resource, Key], None]


class MemoryCluster:
    """The protocol `Cluster` on a Store. Bodies are copied both ways, so that no caller shares what another can change.

    now: the instant for timestamps, aware, in UTC.
    admission: defaults and validation per resource.
    isolate: False leaves the copies out, for a caller that treats bodies as read-only: the simulator.
    before_write: may raise Unavailable; the write is not done. after_write: the same, with the write done and its answer lost.
    latency_s: how long each call takes, before the store is reached and again before the answer is; None: calls never yield.
    """

    def __init__(
        self,
        now: Callable[[], datetime],
        *,
        admission: Mapping[Resource, Admission] | None = None,
        isolate: bool = True,
        history_size: int = 1024,
        before_write: WriteHook | None = None,
        after_write: WriteHook | None = None,
        latency_s: Callable[[], float] | None = None,
    ) -> None:
        self.store = Store(now, admission=admission, history_size=history_size)
        self.before_write = before_write
        self.after_write = after_write
        self.read_log: Callable[[Key], list[str]] = lambda pod: []  # whoever runs the pods sets it
        self._isolate = isolate
        self._latency_s = latency_s
        self._feeds: dict[Resource, list[Feed]] = {}

    async def get(self, resource: Resource, key: Key) -> Body | None:
        await self._travel()
        body = self._own(self.store.get(resource, key))
        await self._travel()
        return body

    async def list(self, resource: Resource, namespace: str | None, *, label_selector: str = "", field_selector: str = "") -> Listing:
        await self._travel()
        found = self.store.list(resource, namespace, label_selector=label_selector, field_selector=field_selector)
        listing = Listing(self._own(found.items), found.resource_version)
        await self._travel()
        return listing

    async def pages(self, resource: Resource, namespace: str | None, *, label_selector: str = "") -> AsyncGenerator[Listing, None]:
        yield await self.list(resource, namespace, label_selector=label_selector)

    async def watch(
        self, resource: Resource, namespace: str | None, *, resource_version: str, label_selector: str = ""
    ) -> AsyncGenerator[WatchEvent, None]:
        await self._travel()
        labels = label_predicate(label_selector)

        def matches(body: Body) -> bool:
            return labels(body["metadata"].get("labels") or {})

        feed = self._open_feed(resource, resource_version)
        try:
            while (item := await feed.next()) is not None:
                if isinstance(item, int):
                    yield WatchEvent("BOOKMARK", _bookmark(resource, item))
                elif namespace is None or namespace == item.key.namespace:
                    event = event_of(item, matches)
                    if event is not None:
                        yield WatchEvent(event.type, self._own(event.body))
        finally:
            self._close_feed(resource, feed)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body | AlreadyExists:
        key = Key(namespace, (body.get("metadata") or {}).get("name") or "")
        return await self._written("create", resource, key, body, lambda own: self.store.create(resource, namespace, own))

    async def replace(self, resource: Resource, key: Key, body: Mapping[str, Any]) -> Body | Conflict | None:
        return await self._written("replace", resource, key, body, lambda own: self.store.replace(resource, key, own))

    async def patch_status(
        self, resource: Resource, key: Key, status: Mapping[str, Any], *, resource_version: str
    ) -> Body | Conflict | None:
        def write(own: Mapping[str, Any]) -> Body | Conflict | None:
            return self.store.patch_status(resource, key, own, resource_version=resource_version)

        return await self._written("patch_status", resource, key, status, write)

    async def patch_spec(self, resource: Resource, key: Key, patch: Mapping[str, Any], *, resource_version: str) -> Body | Conflict | None:
        def write(own: Mapping[str, Any]) -> Body | Conflict | None:
            old = self.store.get(resource, key)
            if old is not None and old["metadata"]["resourceVersion"] != resource_version:
                return Conflict(key)
            return self.store.update(resource, key, lambda stored: merge_patch(stored, own))

        return await self._written("patch_spec", resource, key, patch, write)

    async def delete(self, resource: Resource, key: Key, *, uid: str, foreground: bool = False) -> bool:
        return await self._written("delete", resource, key, {}, lambda _: self.store.delete(resource, key, uid=uid, foreground=foreground))

    async def log_tail(self, pod: Key, container: str, lines: int) -> Sequence[str]:
        return self.read_log(pod)[-lines:]

    # What people and the API server itself do, and the operator does not. No faults here.

    async def apply(self, body: Mapping[str, Any]) -> Body:
        """`kubectl apply`: create, or replace all but status; labels, annotations and other metadata are merged in."""
        resource = _BY_KIND.get((str(body.get("apiVersion")), str(body.get("kind"))))
        if resource is None:
            raise Rejected(f'no matches for kind "{body.get("kind")}" in version "{body.get("apiVersion")}"', status=404)
        own = self._own(body)
        key = Key(own["metadata"].get("namespace", "default"), own["metadata"]["name"])
        applied = self.store.update(resource, key, lambda old: {**own, "metadata": merge_patch(old["metadata"], own["metadata"])})
        if applied is None:
            created = self.store.create(resource, key.namespace, own)
            assert not isinstance(created, AlreadyExists)
            applied = created
        return self._own(applied)

    async def patch(self, resource: Resource, key: Key, patch: Mapping[str, Any]) -> Body | None:
        """`kubectl patch --type merge`, for all but the status. None when there is no such object."""
        own = self._own(patch)
        return self._own(self.store.update(resource, key, lambda old: merge_patch(old, own)))

    def send_bookmarks(self) -> None:
        """Every open watch hears that it is up to date. The real API server does this about once a minute."""
        for feeds in self._feeds.values():
            for feed in feeds:
                feed.push(self.store.version)

    def close_watches(self) -> None:
        """Every open watch ends, as it does at the real API server after some minutes."""
        for feeds in self._feeds.values():
            for feed in feeds:
                feed.push(None)

    def _own(self, value: T) -> T:
        copied: T = json_copy(value) if self._isolate else value
        return copied

    async def _travel(self) -> None:
        if self._latency_s is not None:
            await asyncio.sleep(self._latency_s())

    async def _written(
        self, method: str, resource: Resource, key: Key, body: Mapping[str, Any], write: Callable[[Mapping[str, Any]], T]
    ) -> T:
        own = self._own(body)  # before anything else runs: the caller may change it once we wait
        await self._travel()
        if self.before_write is not None:
            self.before_write(method, resource, key)
        answer = write(own)
        if isinstance(answer, dict):
            answer = self._own(answer)
        if self.after_write is not None:
            self.after_write(method, resource, key)
        await self._travel()
        return answer

    def _open_feed(self, resource: Resource, resource_version: str) -> Feed:
        if not resource_version.isdecimal():
            raise Rejected(f'a watch starts after a list, not at resource version "{resource_version}"', status=400)
        if int(resource_version) > self.store.version:
            raise Unavailable(f"Too large resource version: {resource_version}", status=504, retry_after_s=1.0)
        history = self.store.history(resource)
        feed = Feed(history.since(int(resource_version)))
        self._feeds.setdefault(resource, []).append(feed)
        history.listeners.append(feed.push)
        return feed

    def _close_feed(self, resource: Resource, feed: Feed) -> None:
        self._feeds[resource].remove(feed)
        self.store.history(resource).listeners.remove(feed.push)


def _bookmark(resource: Resource, resource_version: int) -> Body:
    return {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"resourceVersion": str(resource_version)},
    }
