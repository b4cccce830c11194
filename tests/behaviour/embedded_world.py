"""The world on the in-memory cluster: the controller in this process, pods as local processes."""

import argparse
import contextlib
from collections.abc import AsyncIterator

from retrain_operator.api.names import Key
from retrain_operator.cli import operate
from retrain_operator.clock import SystemClock
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import Body, Resource
from retrain_operator.embedded.operator import operating
from tests.behaviour.world import World


class EmbeddedWorld(World):
    def __init__(self, cluster: MemoryCluster) -> None:
        super().__init__(cluster, "test")
        self._memory = cluster

    async def patch(self, resource: Resource, name: str, patch: Body) -> None:
        await self._memory.patch(resource, Key(self.namespace, name), patch)

    @contextlib.asynccontextmanager
    async def operator(self, *flags: str) -> AsyncIterator[None]:
        commands = argparse.ArgumentParser().add_subparsers()
        operate.add_to(commands)
        settings = operate.settings_of(commands.choices["operator"].parse_args(flags))
        async with operating(self._memory, SystemClock(), settings):
            yield
