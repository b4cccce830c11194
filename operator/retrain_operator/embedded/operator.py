"""The whole operator without Kubernetes: the same controller on an in-memory cluster, pods as processes of this machine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from retrain_operator.clock import Clock, SystemClock
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.prometheus import Prometheus
from retrain_operator.cluster.webhooks import Webhooks
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.pods import ImageMap
from retrain_operator.embedded.runners import LocalPods
from retrain_operator.reconcile.controller import Controller
from retrain_operator.settings import Settings

QUIET = Settings(progress_interval_s=0)  # reads no log: virtual time would be spent on it
WATCHED = Settings(progress_interval_s=1)  # somebody watches, and a log is a file of this machine


def new_cluster(clock: Clock) -> MemoryCluster:
    """An empty cluster that knows our custom resources."""
    return MemoryCluster(clock.now, admission=ADMISSION)


@contextlib.asynccontextmanager
async def operating(cluster: MemoryCluster, clock: Clock, settings: Settings = QUIET) -> AsyncIterator[Controller]:
    """An operator at work on the cluster, and gone without a word afterwards. Of the settings count what it reads and whom it may ask."""
    async with (
        Prometheus(settings.prometheus_allow) as prometheus,
        Webhooks(settings.webhook_allow) as webhooks,
        asyncio.TaskGroup() as tasks,
    ):
        interval_s = settings.progress_interval_s
        controller = Controller(cluster, clock, progress_interval_s=interval_s, prometheus=prometheus, webhooks=webhooks)
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
        local_pods(cluster, images, scratch, clock),
        operating(cluster, clock, WATCHED) as controller,
    ):
        yield cluster, controller


def local_pods(cluster: MemoryCluster, images: Mapping[str, list[str]], scratch: Path, clock: Clock) -> JobController:
    """What makes the cluster's Jobs run, as processes whose logs can be read. To be entered."""
    pods = LocalPods(cluster.store, ImageMap(images), scratch)
    cluster.read_log = pods.log_lines
    return JobController(cluster, pods, clock)
