"""The controller: watch events, the clock and a periodic resync put keys on a queue; each key is observed, decided on and applied.

    watch event ─┐
    agenda ──────┼─> queue of keys ─> observe (cache) ─> decide(observed, now) ─> apply (API writes) ─> agenda
    resync ──────┘

An event says only "look at this key", so a lost, repeated, reordered or late one changes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from functools import partial

from retrain_operator.api.names import LABEL_RUN, Key
from retrain_operator.clock import Clock
from retrain_operator.cluster.fence import Fenced
from retrain_operator.cluster.informer import RESYNC_INTERVAL_S, ChangeType, Informer
from retrain_operator.cluster.prometheus import Prometheus
from retrain_operator.cluster.protocol import JOBS, RUNS, SCHEDULES, Body, Cluster, ClusterError, Resource
from retrain_operator.cluster.webhooks import Webhooks
from retrain_operator.reconcile.agenda import Agenda
from retrain_operator.reconcile.apply import Applier
from retrain_operator.reconcile.cache import Cache
from retrain_operator.reconcile.events import EventRecorder
from retrain_operator.reconcile.metrics import Metrics
from retrain_operator.reconcile.notifier import Notifier
from retrain_operator.reconcile.observe import Observer
from retrain_operator.reconcile.progress import ProgressReader
from retrain_operator.reconcile.reconciler import Reconciler
from retrain_operator.reconcile.setbacks import BACKOFF_FIRST_S, BACKOFF_MAX_S
from retrain_operator.reconcile.signals import SignalReader
from retrain_operator.reconcile.workqueue import Item, Kind, Urgency, WorkQueue

WORKERS = 32  # writes under way at once; the API server answers each in about a millisecond
FRESH_S = 75.0  # bookmarks come about once a minute: a watch silent for longer may have died
TAKEOVER_FRESH_S = 5.0  # what the leader before wrote last, and deleted, is in no list that is older

log = logging.getLogger(__name__)


class Controller:
    """One operator's work on one cluster."""

    def __init__(
        self,
        cluster: Cluster,
        clock: Clock,
        *,
        namespaces: Sequence[str | None] = (None,),
        is_leader: Callable[[], bool] = lambda: True,
        instance: str = "retrain-operator",
        metrics: Metrics | None = None,
        resync_interval_s: float = RESYNC_INTERVAL_S,
        fresh_s: float = FRESH_S,
        progress_interval_s: float = 0.0,
        prometheus: Prometheus | None = None,
        webhooks: Webhooks | None = None,
    ) -> None:
        self.synced = asyncio.Event()
        self.metrics = metrics or Metrics()
        self.cache = Cache(clock.monotonic)
        self.queue = WorkQueue()
        self._cluster = Fenced(cluster, is_leader)
        self._is_leader = is_leader
        self._clock = clock
        self._namespaces = tuple(namespaces)
        self._resync_interval_s = resync_interval_s
        self._leading = asyncio.Event()
        self._agenda: Agenda[Item] = Agenda(clock, lambda item: self.queue.add(item, Urgency.DUE))
        self._events = EventRecorder(self._cluster, clock, instance, self.queue.calm)
        self._applier = Applier(self._cluster, self.cache, clock, self.metrics, self._notice)
        self._progress = ProgressReader(self._cluster, progress_interval_s, self._notice)
        self._signals = SignalReader(self._cluster, prometheus, clock, self._notice)
        self._notifier = Notifier(self._cluster, webhooks, clock, self._notice)
        observer = Observer(self._cluster, self.cache, self._applier.refresh, self._notice, self._progress, self._signals, self._notifier)
        self._informers = {resource: self._informer(resource) for resource in (SCHEDULES, RUNS, JOBS)}
        self._listed_at = float("-inf")
        self.reconciler = Reconciler(
            clock,
            self.cache,
            self.queue,
            self._agenda,
            observer,
            self._applier,
            self._events,
            self._notifier,
            self.metrics,
            lambda resource: self._informers[resource].heard_at,
            fresh_s,
        )
        self.metrics.observe(queue_depth=lambda: len(self.queue), active_workers=lambda: self.queue.active, is_leader=is_leader)

    @property
    def next_due(self) -> datetime | None:
        """When something is next to be looked at, if no event comes first. For a simulator, which sets the clock."""
        return self._agenda.next_due

    def take(self, resource: Resource, change: ChangeType, body: Body) -> None:
        """Take in a watch event."""
        metadata = body["metadata"]
        if change == "DELETED":
            self._notice(self.cache.remove(resource, Key(metadata["namespace"], metadata["name"]), metadata["uid"]))
        else:
            self._notice(self.cache.put(resource, body))

    def stop_leading(self) -> None:
        """Another process may lead: nothing more is decided here. The cache stays warm."""
        self._leading.clear()

    async def lead(self) -> None:
        """Decide from now on. What the watches missed meanwhile is listed first."""
        await self.synced.wait()
        if self._clock.monotonic() - self._listed_at > TAKEOVER_FRESH_S:
            await self._until_it_works(self.resync)
        if not self._is_leader():
            return  # lost again meanwhile; it is called again with the next term
        log.info("decides from now on: %d schedules, %d runs", len(self.cache.schedules), len(self.cache.runs))
        self._leading.set()
        for item in self.cache.everything():
            self._notice([item])

    async def run(self) -> None:
        """Work until cancelled. Decides nothing before `lead`."""
        async with asyncio.TaskGroup() as tasks:
            for informer in self._informers.values():
                tasks.create_task(informer.run())
            tasks.create_task(self._synchronise())
            tasks.create_task(self._agenda.run())
            tasks.create_task(self._events.run())
            tasks.create_task(self._progress.run())
            tasks.create_task(self._signals.run())
            tasks.create_task(self._notifier.run())
            for _ in range(WORKERS):
                tasks.create_task(self._work())

    async def resync(self) -> None:
        """Compare what is known with fresh lists: the guarantee behind every event. Raises ClusterError."""
        for informer in self._informers.values():
            await informer.resync()
        self._listed_at = self._clock.monotonic()

    async def settled(self) -> None:
        """Return when nothing is left to look at."""
        await self.queue.join()

    def _informer(self, resource: Resource) -> Informer:
        return Informer(
            self._cluster,
            resource,
            self._namespaces,
            label_selector=LABEL_RUN if resource is JOBS else "",
            on_event=lambda change, body: self.take(resource, change, body),
            monotonic=self._clock.monotonic,
            sleep=self._clock.sleep,
            known_besides=partial(self.cache.known, resource),
        )

    async def _synchronise(self) -> None:
        for informer in self._informers.values():
            await informer.synced.wait()
        self._listed_at = self._clock.monotonic()
        self.synced.set()
        while True:
            await self._clock.sleep(self._resync_interval_s)
            await self._until_it_works(self.resync)

    async def _until_it_works(self, call: Callable[[], Awaitable[None]]) -> None:
        pause_s = BACKOFF_FIRST_S
        while True:
            try:
                return await call()
            except ClusterError as error:
                log.warning("cannot list: %s; trying again in %.1f s", error, pause_s)
                await self._clock.sleep(pause_s)
                pause_s = min(BACKOFF_MAX_S, pause_s * 2)

    def _notice(self, items: Sequence[Item]) -> None:
        for item in items:
            run = self.cache.runs.get(item.key) if item.kind is Kind.RUN else None
            starts = run is not None and not run.child.is_finished and item.key not in self.cache.jobs
            self.queue.add(item, Urgency.START if starts else Urgency.LATER)

    async def _work(self) -> None:
        while True:
            item = await self.queue.take()
            await self._leading.wait()  # in this order: who waits for an item through a term of others decides on nothing before `lead`
            try:
                await self.reconciler.look_at(item)
            finally:
                self.queue.done(item)
            await asyncio.sleep(0)  # looking may need no I/O: ten thousand in a row would keep the elector from renewing for seconds
