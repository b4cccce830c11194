"""Watches the API server itself, not through a gate and not with the operator's client, and keeps every version of every object."""

import asyncio
import json
import ssl
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

import aiohttp

from tests.faults.history import Body, History, Version

PATHS = {
    "retrainschedules": "/apis/retrain.dev/v1alpha1/retrainschedules",
    "retrainjobs": "/apis/retrain.dev/v1alpha1/retrainjobs",
    "jobs": "/apis/batch/v1/jobs",
    "pods": "/api/v1/pods",
    "leases": "/apis/coordination.k8s.io/v1/leases",
    "configmaps": "/api/v1/configmaps",
    "deployments": "/apis/apps/v1/deployments",
}
IN_STEP_S = 30.0


class Observer:
    """`async with Observer(server, tls)`: one watch per resource over all namespaces. A watch that breaks ends the harness, so no gap is
    ever hidden."""

    def __init__(self, server: str, tls: ssl.SSLContext) -> None:
        self._server, self._tls = server, tls
        self._histories: defaultdict[str, History] = defaultdict(History)
        self._changed: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        self.newest_version = 0

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._server, connector=aiohttp.TCPConnector(ssl=self._tls), timeout=aiohttp.ClientTimeout(total=None)
        )
        starts = [(resource, path, await self._list(resource, path)) for resource, path in PATHS.items()]
        self._tasks = [asyncio.create_task(self._follow(*start)) for start in starts]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for task in self._tasks:
            task.cancel()
        ends = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._session.close()
        await asyncio.sleep(0.25)  # aiohttp's documentation asks for this pause after TLS connections
        for end in ends:
            if not isinstance(end, asyncio.CancelledError):
                raise AssertionError(f"the observer broke: {end!r}")

    def history(self, namespace: str) -> History:
        return self._histories[namespace]

    def changed(self, namespace: str) -> asyncio.Event:
        """Set at every change in the namespace; who waits clears it."""
        return self._changed[namespace]

    async def in_step(self, namespace: str) -> None:
        """Return when all that has happened in the namespace by now was seen: one watch may be behind another. Raises TimeoutError."""
        changed = self._changed[namespace]
        for resource, path in PATHS.items():
            group, _, plural = path.rpartition("/")
            async with self._session.get(f"{group}/namespaces/{namespace}/{plural}") as response:
                response.raise_for_status()
                listing = await response.json()
            async with asyncio.timeout(IN_STEP_S):
                while not self._has_seen(namespace, resource, listing):
                    changed.clear()
                    await changed.wait()

    def _has_seen(self, namespace: str, resource: str, listing: Body) -> bool:
        listed = {body["metadata"]["uid"]: int(body["metadata"]["resourceVersion"]) for body in listing["items"] or ()}
        lives, through = self._histories[namespace].lives, int(listing["metadata"]["resourceVersion"])
        is_behind = any(uid not in lives or lives[uid].versions[-1].version < version for uid, version in listed.items())
        living = self._histories[namespace].living(resource)
        return not is_behind and all(life.uid in listed or life.created.version > through for life in living)

    async def _list(self, resource: str, path: str) -> str:
        while True:
            async with self._session.get(path) as response:
                if response.status == 429:  # the storage of a CRD that was just made is not there yet
                    await asyncio.sleep(0.1)
                    continue
                response.raise_for_status()
                listing = await response.json()
                break
        for body in listing["items"] or ():
            self._take(resource, body, deleted=False)
        return str(listing["metadata"]["resourceVersion"])

    async def _follow(self, resource: str, path: str, version: str) -> None:
        while True:  # the API server ends a watch after a while; the next one goes on where it was
            async with self._session.get(f"{path}?watch=true&allowWatchBookmarks=true&resourceVersion={version}") as response:
                response.raise_for_status()
                async for change in _changes(response):
                    if change["type"] == "ERROR":
                        raise AssertionError(f"the watch on {resource} says {change['object']}")
                    body = change["object"]
                    version = body["metadata"]["resourceVersion"]
                    if change["type"] != "BOOKMARK":
                        self._take(resource, body, deleted=change["type"] == "DELETED")

    def _take(self, resource: str, body: Body, *, deleted: bool) -> None:
        metadata = body["metadata"]
        metadata.pop("managedFields", None)
        version = int(metadata["resourceVersion"])
        self.newest_version = max(self.newest_version, version)
        self._histories[metadata["namespace"]].add(resource, Version(version, time.monotonic(), body, deleted))
        self._changed[metadata["namespace"]].set()


async def _changes(response: aiohttp.ClientResponse) -> AsyncIterator[Body]:
    rest = b""
    async for chunk in response.content.iter_any():
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield json.loads(line)
