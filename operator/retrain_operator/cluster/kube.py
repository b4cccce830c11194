"""The `Cluster` protocol over HTTP: paths, verbs, repeats, and which answers are return values."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

from retrain_operator.api.names import Key
from retrain_operator.cluster.answers import Answer
from retrain_operator.cluster.connection import Connection, OnRequest
from retrain_operator.cluster.credentials import Credentials
from retrain_operator.cluster.protocol import (
    JOBS,
    PODS,
    RUNS,
    AlreadyExists,
    Body,
    Conflict,
    Expired,
    Listing,
    Resource,
    Unavailable,
    WatchEvent,
)
from retrain_operator.cluster.watchlines import watch_events

READ_TIMEOUT_S = 30.0
# One write with all its repeats. Together with the 10 s of authority that were checked before it, it stays within the 15 s after which
# another process may lead.
WRITE_TIMEOUT_S = 5.0
REPEAT_PAUSES_S = (0.05, 0.2, 0.5, 1.0)  # before the repeats of a create whose answer was lost
PAGE_SIZE = 500
LOG_TAIL_BYTES = 65_536
POD_LOGS = Resource("", "v1", "pods/log", "Pod")
WATCH_DURATION_S = (300, 600)  # as client-go: spread, so that watches do not all end at once


class KubeCluster:
    """`async with KubeCluster(load_credentials()) as cluster`.

    manager: whom managedFields name for what is written.
    connections: how many calls run at once; the others wait, within their timeout. Watches have connections of their own.
    """

    def __init__(
        self,
        credentials: Credentials,
        *,
        connections: int = 100,
        manager: str = "retrain-operator",
        on_request: OnRequest = lambda verb, plural, status, seconds: None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._connection = Connection(credentials, calls_at_once=connections, manager=manager, on_request=on_request)
        self._sleep = sleep

    async def __aenter__(self) -> Self:
        await self._connection.__aenter__()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._connection.__aexit__(kind, error, trace)

    async def get(self, resource: Resource, key: Key) -> Body | None:
        answer = await self._connection.call("get", resource, _path(resource, key), timeout_s=READ_TIMEOUT_S)
        if answer.ok:
            return answer.body
        if answer.says_gone(resource):
            return None
        raise answer.error(resource)

    async def list(self, resource: Resource, namespace: str | None, *, label_selector: str = "", field_selector: str = "") -> Listing:
        query = {"labelSelector": label_selector, "fieldSelector": field_selector}
        try:
            pages = [page async for page in self._pages(resource, namespace, {**query, "limit": PAGE_SIZE})]
        except Expired:  # between two pages; a single page cannot
            pages = [page async for page in self._pages(resource, namespace, query)]
        return Listing([body for page in pages for body in page.items], pages[-1].resource_version)

    def pages(self, resource: Resource, namespace: str | None, *, label_selector: str = "") -> AsyncIterator[Listing]:
        return self._pages(resource, namespace, {"labelSelector": label_selector, "limit": PAGE_SIZE})

    async def watch(
        self, resource: Resource, namespace: str | None, *, resource_version: str, label_selector: str = ""
    ) -> AsyncIterator[WatchEvent]:
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "labelSelector": label_selector,
            "timeoutSeconds": random.randint(*WATCH_DURATION_S),
        }
        async with self._connection.stream(resource, _collection(resource, namespace), query) as opened:
            if isinstance(opened, Answer):
                raise opened.error(resource)
            async for event in watch_events(opened):
                yield event

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body | AlreadyExists:
        key = Key(namespace, body["metadata"]["name"])  # required: a generated name could not be repeated safely
        now = asyncio.get_running_loop().time
        until = now() + WRITE_TIMEOUT_S
        if resource in (RUNS, JOBS):
            # Not repeated here: it may have been made, and be gone with its owner by now, which is read before it is asked for again.
            return await self._create_once(resource, key, body, WRITE_TIMEOUT_S)
        for longest_pause_s in REPEAT_PAUSES_S:
            try:
                return await self._create_once(resource, key, body, until - now())
            except Unavailable as error:
                pause_s = max(error.retry_after_s, random.uniform(0.5, 1.0) * longest_pause_s)
                if now() + pause_s >= until:
                    raise
            await self._sleep(pause_s)
        return await self._create_once(resource, key, body, until - now())

    async def replace(self, resource: Resource, key: Key, body: Mapping[str, Any]) -> Body | Conflict | None:
        if not (body["metadata"].get("resourceVersion") and body["metadata"].get("uid")):
            # Without a version a PUT overwrites whatever is there; without a UID it makes a deleted Lease anew.
            raise ValueError("replace needs metadata.resourceVersion and metadata.uid, as they were read")
        return await self._swap("update", resource, key, _path(resource, key), body)

    async def patch_status(
        self, resource: Resource, key: Key, status: Mapping[str, Any], *, resource_version: str
    ) -> Body | Conflict | None:
        body = {"metadata": {"resourceVersion": resource_version}, "status": status}
        return await self._swap("patch", resource, key, f"{_path(resource, key)}/status", body)

    async def patch(self, resource: Resource, key: Key, patch: Mapping[str, Any]) -> Body | None:
        """What a person does, and the operator does not: a JSON merge patch of all but the status. None when there is no such object."""
        answer = await self._connection.call("patch", resource, _path(resource, key), timeout_s=WRITE_TIMEOUT_S, body=patch)
        if answer.ok:
            return answer.body
        if answer.says_gone(resource):
            return None
        raise answer.error(resource)

    async def patch_spec(self, resource: Resource, key: Key, patch: Mapping[str, Any], *, resource_version: str) -> Body | Conflict | None:
        body = {**patch, "metadata": {**(patch.get("metadata") or {}), "resourceVersion": resource_version}}
        return await self._swap("patch", resource, key, _path(resource, key), body)

    async def delete(self, resource: Resource, key: Key, *, uid: str, foreground: bool = False) -> bool:
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": "Foreground" if foreground else "Background",
            "preconditions": {"uid": uid},
        }
        answer = await self._connection.call("delete", resource, _path(resource, key), timeout_s=WRITE_TIMEOUT_S, body=options)
        if answer.ok:
            return True
        if answer.says_gone(resource) or (answer.status == HTTPStatus.CONFLICT and uid in answer.message):
            return False
        raise answer.error(resource)

    async def log_tail(self, pod: Key, container: str, lines: int) -> Sequence[str]:
        query = {"container": container, "tailLines": lines, "limitBytes": LOG_TAIL_BYTES}
        answer = await self._connection.call("get", POD_LOGS, f"{_path(PODS, pod)}/log", timeout_s=READ_TIMEOUT_S, query=query, text=True)
        # 400: the container has not started, or its node does not answer for it any more.
        if answer.ok:
            return str(answer.body["text"]).splitlines()
        if answer.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
            return []
        raise answer.error(POD_LOGS)

    async def _swap(self, verb: str, resource: Resource, key: Key, path: str, body: Mapping[str, Any]) -> Body | Conflict | None:
        """Not repeated: after a lost answer only a new read can tell our own write from another's."""
        answer = await self._connection.call(verb, resource, path, timeout_s=WRITE_TIMEOUT_S, body=body)
        if answer.ok:
            return answer.body
        if answer.says_gone(resource):
            return None
        if answer.status == HTTPStatus.CONFLICT:
            return Conflict(key)
        raise answer.error(resource)

    async def _create_once(self, resource: Resource, key: Key, body: Mapping[str, Any], timeout_s: float) -> Body | AlreadyExists:
        path = _collection(resource, key.namespace)
        answer = await self._connection.call("create", resource, path, timeout_s=timeout_s, body=body)
        if answer.ok:
            return answer.body
        if answer.reason == "AlreadyExists":
            return AlreadyExists(key)
        raise answer.error(resource)

    async def _pages(self, resource: Resource, namespace: str | None, query: Mapping[str, Any]) -> AsyncIterator[Listing]:
        path = _collection(resource, namespace)
        rest = ""
        while True:
            page = {**query, "continue": rest}
            answer = await self._connection.call("list", resource, path, timeout_s=READ_TIMEOUT_S, query=page)
            if not answer.ok:
                raise answer.error(resource)
            rest = answer.body["metadata"].get("continue", "")
            items: list[Body] = answer.body["items"] or []
            for item in items:  # lists of built-in resources leave both out
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
            yield Listing(items, answer.body["metadata"]["resourceVersion"])
            if not rest:
                return


def _collection(resource: Resource, namespace: str | None) -> str:
    group = f"/apis/{resource.group}" if resource.group else "/api"
    where = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"{group}/{resource.version}{where}/{resource.plural}"


def _path(resource: Resource, key: Key) -> str:
    return f"{_collection(resource, key.namespace)}/{quote(key.name, safe='')}"
