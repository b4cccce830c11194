"""What an observer sees on a watch, with the time at which it saw it."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from retrain_operator.api.base import parse_time
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.protocol import Body, Resource


class Sightings:
    """When each object was first seen in the wanted state: name to time.time(); and when the API server says it was created."""

    def __init__(self, resource: Resource, wanted: Callable[[Body], bool]) -> None:
        self.seen_at: dict[str, float] = {}
        self.created_at: dict[str, float] = {}
        self._resource = resource
        self._wanted = wanted
        self._more = asyncio.Event()

    async def until(self, count: int, deadline_s: float) -> None:
        """Raises TimeoutError with how many there were."""
        try:
            async with asyncio.timeout(deadline_s):
                while len(self.seen_at) < count:
                    self._more.clear()
                    await self._more.wait()
        except TimeoutError:
            raise TimeoutError(f"{len(self.seen_at)} of {count} {self._resource.plural} within {deadline_s} s") from None

    def take(self, body: Body) -> None:
        name = body["metadata"]["name"]
        if name not in self.seen_at and self._wanted(body):
            self.seen_at[name] = time.time()
            self.created_at[name] = parse_time(body["metadata"]["creationTimestamp"]).timestamp()
            self._more.set()


@asynccontextmanager
async def observing(
    cluster: KubeCluster, resource: Resource, namespace: str, wanted: Callable[[Body], bool] = lambda _: True
) -> AsyncIterator[Sightings]:
    """What changes from now on."""
    sightings = Sightings(resource, wanted)
    version = (await cluster.list(resource, namespace)).resource_version

    async def follow() -> None:
        at = version
        while True:  # the API server ends a watch when it likes, of a new CRD at once
            async for event in cluster.watch(resource, namespace, resource_version=at):
                at = event.body["metadata"]["resourceVersion"]
                if event.type in ("ADDED", "MODIFIED"):
                    sightings.take(event.body)

    async with asyncio.TaskGroup() as tasks:
        watch = tasks.create_task(follow())
        yield sightings
        watch.cancel()
