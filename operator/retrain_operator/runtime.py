"""One operator process on a real cluster: the controller, the leader's lease, and the HTTP endpoints for probes and metrics."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from retrain_operator.api.names import Key
from retrain_operator.clock import SystemClock
from retrain_operator.cluster.credentials import Credentials, load_credentials
from retrain_operator.cluster.kube import KubeCluster
from retrain_operator.cluster.lease import Elector
from retrain_operator.cluster.prometheus import Prometheus
from retrain_operator.cluster.webhooks import Webhooks
from retrain_operator.reconcile.controller import FRESH_S, Controller
from retrain_operator.reconcile.metrics import Metrics
from retrain_operator.settings import Settings

log = logging.getLogger(__name__)


class Runtime:
    """Everything of the operator but kopf. It watches by itself: kopf does not tell what was deleted while its own watch was down."""

    def __init__(
        self,
        settings: Settings,
        credentials: Credentials,
        cluster: KubeCluster,
        prometheus: Prometheus,
        webhooks: Webhooks,
        metrics: Metrics,
    ) -> None:
        self.settings = settings
        self.credentials = credentials
        self._leads = asyncio.Event()
        self._elector = (
            Elector(
                cluster,
                Key(settings.lease_namespace or credentials.namespace, settings.lease_name),
                settings.instance,
                on_started_leading=self._leads.set,
                on_stopped_leading=self._stop_leading,
            )
            if settings.leader_election
            else None
        )
        self.controller = Controller(
            cluster,
            SystemClock(),
            namespaces=settings.watched,
            is_leader=self._elector.is_leader if self._elector else lambda: True,
            instance=settings.instance,
            metrics=metrics,
            progress_interval_s=settings.progress_interval_s,
            # Where two may write at once, what the other one has made may be finished and gone before this one hears of it.
            fresh_s=FRESH_S if self._elector else 0.0,
            prometheus=prometheus,
            webhooks=webhooks,
        )

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._lead(), name="leadership")
            if self._elector is not None:
                tasks.create_task(self._elector.run(), name="elector")
            else:
                self._leads.set()
            # Here, not as a task: its writers must have ended before the elector is cancelled and gives the lease away.
            await self.controller.run()

    def _stop_leading(self) -> None:
        self._leads.clear()
        self.controller.stop_leading()

    async def _lead(self) -> None:
        # One task for good: kopf cancels, when it restarts, whatever was started after it.
        while True:
            await self._leads.wait()
            self._leads.clear()
            await self.controller.lead()


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Runtime]:
    """A runtime at work, with its endpoints served. Raises ClusterError when there is no cluster to talk to.

    When its work ends by a bug, the body is cancelled and the bug's exception comes out here.
    """
    credentials = load_credentials(kubeconfig=settings.kubeconfig, context=settings.context)
    metrics = Metrics()
    async with (
        KubeCluster(credentials, on_request=metrics.on_request) as cluster,
        Prometheus(settings.prometheus_allow) as prometheus,
        Webhooks(settings.webhook_allow) as webhooks,
    ):
        runtime = Runtime(settings, credentials, cluster, prometheus, webhooks, metrics)
        async with _served(runtime, settings), asyncio.TaskGroup() as tasks:
            work = tasks.create_task(runtime.run())
            try:
                yield runtime
            finally:
                work.cancel()


@contextlib.asynccontextmanager
async def _served(runtime: Runtime, settings: Settings) -> AsyncIterator[None]:
    controller = runtime.controller

    async def healthz(_: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_: web.Request) -> web.Response:
        # A standby is ready too: its caches are warm, and it takes over within seconds.
        if controller.synced.is_set():
            return web.Response(text="ok\n")
        return web.Response(status=503, text="does not know the cluster's objects yet\n")

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(controller.metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    app = web.Application()
    app.add_routes([web.get("/healthz", healthz), web.get("/readyz", readyz), web.get("/metrics", metrics)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, settings.http_host, settings.http_port)
        await site.start()
        yield
    finally:
        await runner.cleanup()
