"""The world on the in-memory cluster: the controller in this process, pods as local processes."""

import argparse
import contextlib
from collections.abc import AsyncIterator

from retrain_operator.api.names import Key
from retrain_operator.cli import operate
from retrain_operator.clock import Clock, SystemClock
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import Body, Resource
from retrain_operator.embedded.operator import operating
from tests.behaviour.world import PROGRESS_INTERVAL_S, World


class EmbeddedWorld(World):
    """Time is the machine's, unless the cluster was made with another clock."""

    def __init__(self, cluster: MemoryCluster, clock: Clock | None = None) -> None:
        super().__init__(cluster, "test")
        self.memory = cluster
        self._clock = clock or SystemClock()

    async def patch(self, resource: Resource, name: str, patch: Body) -> None:
        await self.memory.patch(resource, Key(self.namespace, name), patch)

    @contextlib.asynccontextmanager
    async def operator(self, *flags: str) -> AsyncIterator[None]:
        commands = argparse.ArgumentParser().add_subparsers()
        operate.add_to(commands)
        given = commands.choices["operator"].parse_args([f"--progress-interval={PROGRESS_INTERVAL_S}", *flags])
        async with operating(self.memory, self._clock, operate.settings_of(given)):
            yield
