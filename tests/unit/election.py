"""Operator processes that compete for one Lease, in virtual time, and what can happen to them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar, cast

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.lease import Elector
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import LEASES, Body, Cluster, Resource, Unavailable

KEY = Key("retrain-system", "retrain-operator")
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
T = TypeVar("T")


class Process:
    """One operator process: its elector, its way to the cluster, its own clock, and what can happen to all three."""

    def __init__(
        self, clock: VirtualClock, cluster: MemoryCluster, name: str, *, clock_rate: float = 1.0, clock_start: float = 0.0
    ) -> None:
        self.told: list[str] = []
        self.unreachable_until = 0.0
        self.answers_lost_until = 0.0
        self.paused_until = 0.0  # SIGSTOP until then: what it has sent arrives, and everything else waits
        self.delay_s = 0.001
        self._clock = clock
        self._cluster = cluster
        self.elector = Elector(
            cast(Cluster, self),
            KEY,
            name,
            on_started_leading=lambda: self.told.append("started"),
            on_stopped_leading=lambda: self.told.append("stopped"),
            monotonic=lambda: clock_start + clock_rate * clock.monotonic(),
            sleep=lambda seconds: self._pass(seconds / clock_rate),
            utcnow=clock.now,
        )
        self.running = asyncio.ensure_future(self.elector.run())

    @property
    def leads(self) -> bool:
        return self.elector.is_leader()

    async def stop(self) -> None:
        """SIGTERM."""
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    async def kill(self) -> None:
        """SIGKILL: nothing is released."""
        self.unreachable_until = float("inf")
        await self.stop()

    async def get(self, resource: Resource, key: Key) -> Body | None:
        return await self._call(lambda: self._cluster.get(resource, key))

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Any:
        return await self._call(lambda: self._cluster.create(resource, namespace, body))

    async def replace(self, resource: Resource, key: Key, body: Mapping[str, Any]) -> Any:
        return await self._call(lambda: self._cluster.replace(resource, key, body))

    async def _call(self, call: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(self.delay_s)
        if self._clock.monotonic() < self.unreachable_until:
            raise Unavailable("unreachable")
        answer = await call()
        await self._pass(self.delay_s)
        if self._clock.monotonic() < self.answers_lost_until:
            raise Unavailable("the answer was lost")
        return answer

    async def _pass(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await asyncio.sleep(max(0.0, self.paused_until - self._clock.monotonic()))


class Election:
    """A cluster and the processes that compete on it."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.cluster = MemoryCluster(clock.now)

    def start(self, name: str, **clock_of_its_own: float) -> Process:
        return Process(self.clock, self.cluster, name, **clock_of_its_own)

    async def start_leader(self, name: str) -> Process:
        """`name` leads, and renewed just now."""
        process = self.start(name)
        await self.clock.advance(1.0)
        assert process.leads
        return process

    async def record(self) -> dict[str, Any]:
        lease = await self.cluster.get(LEASES, KEY)
        assert lease is not None
        spec: dict[str, Any] = lease["spec"]
        return spec

    async def edit(self, **spec: Any) -> None:
        assert await self.cluster.patch(LEASES, KEY, {"spec": spec})

    async def seconds_until(self, happened: Callable[[], bool], *, at_most_s: float = 120.0) -> float:
        began = self.clock.monotonic()
        while not happened():
            assert self.clock.monotonic() < began + at_most_s, "never"
            await self.clock.advance(0.01)
        return self.clock.monotonic() - began


def elect(scenario: Callable[[Election], Awaitable[None]]) -> None:
    async def main(clock: VirtualClock) -> None:
        await scenario(Election(clock))

    run_virtual(main, START)
