"""The whole operator without Kubernetes: the same controller on an in-memory cluster, pods as processes of this machine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from retrain_operator.clock import Clock, SystemClock
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.prometheus import Prometheus
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.pods import ImageMap
from retrain_operator.embedded.runners import LocalPods
from retrain_operator.reconcile.controller import Controller


def new_cluster(clock: Clock) -> MemoryCluster:
    """An empty cluster that knows our custom resources."""
    return MemoryCluster(clock.now, admission=ADMISSION)


@contextlib.asynccontextmanager
async def operating(cluster: MemoryCluster, clock: Clock, prometheus: Prometheus | None = None) -> AsyncIterator[Controller]:
    """An operator at work on the cluster, and gone without a word afterwards."""
    controller = Controller(cluster, clock, prometheus=prometheus)
    async with asyncio.TaskGroup() as tasks:
        work = [tasks.create_task(controller.run()), tasks.create_task(controller.lead())]
        try:
            yield controller
        finally:
            for task in work:
                task.cancel()


@contextlib.asynccontextmanager
async def embedded(images: Mapping[str, list[str]], scratch: Path) -> AsyncIterator[tuple[MemoryCluster, Controller]]:
    """A cluster with its Job controller and an operator. `images` maps image names to local commands; pods write below `scratch`."""
    clock = SystemClock()
    cluster = new_cluster(clock)
    async with (
        JobController(cluster, LocalPods(cluster.store, ImageMap(images), scratch), clock),
        operating(cluster, clock) as controller,
    ):
        yield cluster, controller
