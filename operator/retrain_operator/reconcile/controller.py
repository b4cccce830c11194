"""The controller: watch events, the clock and a periodic resync put keys on a queue; each key is observed, decided on and applied.

    watch event ─┐
    agenda ──────┼─> queue of keys ─> observe (cache) ─> decide(observed, now) ─> apply (API writes) ─> agenda
    resync ──────┘

An event says only "look at this key", so a lost, repeated, reordered or late one changes nothing.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.names import LABEL_RUN, Key
from retrain_operator.clock import Clock
from retrain_operator.cluster.fence import Fenced, NotLeader
from retrain_operator.cluster.informer import RESYNC_INTERVAL_S, ChangeType, Informer
from retrain_operator.cluster.prometheus import Prometheus
from retrain_operator.cluster.protocol import JOBS, RUNS, SCHEDULES, Body, Cluster, ClusterError, Forbidden, Rejected, Resource, Unavailable
from retrain_operator.cluster.webhooks import Webhooks
from retrain_operator.reconcile.agenda import Agenda
from retrain_operator.reconcile.apply import Applier, Refused, Stale, TooSoon
from retrain_operator.reconcile.cache import Cache
from retrain_operator.reconcile.counting import count
from retrain_operator.reconcile.events import EventRecorder
from retrain_operator.reconcile.metrics import Metrics
from retrain_operator.reconcile.notifier import Notifier
from retrain_operator.reconcile.observe import Observer
from retrain_operator.reconcile.progress import ProgressReader
from retrain_operator.reconcile.setbacks import BACKOFF_FIRST_S, BACKOFF_MAX_S, Setbacks
from retrain_operator.reconcile.signals import SignalReader
from retrain_operator.reconcile.workqueue import Item, Kind, Urgency, WorkQueue
from retrain_operator.rules import reasons
from retrain_operator.rules import run as run_rules
from retrain_operator.rules import schedule as schedule_rules
from retrain_operator.rules.decision import CreateJob, CreateRun, Decision, Event, TakeGuard, WriteStatus

WORKERS = 32  # writes under way at once; the API server answers each in about a millisecond
FRESH_S = 75.0  # bookmarks come about once a minute: a watch silent for longer may have died
TAKEOVER_FRESH_S = 5.0  # what the leader before wrote last, and deleted, is in no list that is older

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _View:
    """One object as it was observed, with what was decided about it."""

    resource: Resource
    metadata: ObjectMeta
    status: dict[str, Any]
    decision: Decision


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
        self._observer = Observer(
            self._cluster, self.cache, self._applier.refresh, self._notice, self._progress, self._signals, self._notifier
        )
        self._informers = {resource: self._informer(resource) for resource in (SCHEDULES, RUNS, JOBS)}
        self._listed_at = float("-inf")
        self._setbacks = Setbacks()
        self._unanswered: dict[Item, tuple[Resource, Key]] = {}  # the run or Job that was asked for, and may have been made
        self.metrics.observe(queue_depth=lambda: len(self.queue), is_leader=is_leader)

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
                await self._look_at(item)
            finally:
                self.queue.done(item)
            await asyncio.sleep(0)  # looking may need no I/O: ten thousand in a row would keep the elector from renewing for seconds

    async def _look_at(self, item: Item) -> None:
        """Reconcile, and say what comes of an error."""
        try:
            await self._reconcile(item)
            self._setbacks.over(item)
        except NotLeader:
            pass  # the next leader looks at everything
        except Stale as stale:
            log.debug("%s: %s", item, stale)
            self._again(item, "Stale", at_once=item not in self._setbacks)
        except TooSoon as early:
            log.info("%s: %s", item, early)
            self._agenda.set(item, self._clock.now() + timedelta(seconds=early.wait_s))
        except Forbidden as error:
            log.warning("%s: forbidden: %s", item, error)
            self._tell_blocked(item, error)
            self._again(item, "Forbidden")
        except ClusterError as error:
            log.warning("%s: %s", item, error)
            if isinstance(error, Rejected):
                self._tell_stuck(item, error)
            self._again(item, type(error).__name__, retry_after_s=error.retry_after_s if isinstance(error, Unavailable) else 0.0)
        except Exception as bug:  # a bug that one object triggers must not stop the work on all others
            log.exception("%s: this is a bug in the operator", item)
            self._tell_stuck(item, bug)
            self._again(item, "Bug")

    def _again(self, item: Item, error: str, *, at_once: bool = False, retry_after_s: float = 0.0) -> None:
        self.metrics.errors.labels(error).inc()
        pause_s = self._setbacks.pause_s(item, at_least_s=retry_after_s)
        if at_once:
            self.queue.add(item)
        else:
            self._agenda.set(item, self._clock.now() + timedelta(seconds=pause_s))

    def _tell_blocked(self, item: Item, error: ClusterError) -> str:
        """Say by an event what blocks the item, unless that was said a short while ago. Returns what was said."""
        why, is_news = self._setbacks.why(item, error, self._clock.now())
        if is_news:
            self._warn(item, reasons.CREATE_FAILED, why)
        return why

    def _tell_stuck(self, item: Item, error: Exception) -> None:
        """Say by an event that nothing becomes of the item, unless that was said a short while ago: its status cannot."""
        if (why := self._setbacks.why_stuck(item, error, self._clock.now())) is not None:
            self._warn(item, reasons.RECONCILE_FAILED, why)

    def _warn(self, item: Item, reason: str, note: str) -> None:
        entry = self.cache.schedules.get(item.key) if item.kind is Kind.SCHEDULE else self.cache.runs.get(item.key)
        if entry is not None and entry.raw is not None:
            metadata = ObjectMeta.model_validate(json.loads(entry.raw)["metadata"])
            self._events.record(item, metadata, Event("Warning", reason, note))

    async def _reconcile(self, item: Item, blocked: str | None = None) -> None:
        """`blocked`: why what the item asks for, a run or a Job, cannot be made at the moment, and what to do."""
        if (asked := self._unanswered.get(item)) is not None and await self._applier.find(*asked):
            del self._unanswered[item]
        view = await self._decide(item, blocked)
        if view is not None and view.decision.starts and (item in self._unanswered or self._age_s(view.resource, item.key) > FRESH_S):
            # A silent watch may hide that the object was suspended, edited or deleted. And what was asked for without an answer may have
            # been made, and have gone with the object since.
            await self._applier.refresh(view.resource, item.key)
            view = await self._decide(item, blocked)
        if view is None:
            self._agenda.set(item, None)
            self._notifier.forget(item)
            self._unanswered.pop(item, None)
            return
        if view.decision.starts and not self.cache.is_newest(view.resource, view.metadata):
            raise Stale("it has changed while the rest was read")
        for action in view.decision.actions:
            try:
                await self._applier.apply(view.resource, view.metadata, view.status, action)
            except Refused as refused:
                log.warning("%s: refused: %s", item, refused)
                self._observer.refused(view.metadata, refused.message, of_deploy=refused.of_deploy)
                self.queue.add(item)
                return
            except NotLeader:
                raise
            except ClusterError as error:
                if isinstance(error, Unavailable) and isinstance(action, CreateRun | CreateJob):
                    resource = RUNS if isinstance(action, CreateRun) else JOBS
                    self._unanswered[item] = resource, Key(action.body["metadata"]["namespace"], action.body["metadata"]["name"])
                makes = isinstance(action, TakeGuard | CreateJob | CreateRun)
                if makes and blocked is None and self._setbacks.is_blocked(item, error):
                    why = self._tell_blocked(item, error)
                    if not (isinstance(action, CreateRun) and view.resource is RUNS):  # beside a further attempt there is nothing to do
                        # All else goes on. Records of a schedule that may go now may be what fills the quota.
                        await self._reconcile(item, why)
                raise
            if isinstance(action, CreateRun | CreateJob):
                self._unanswered.pop(item, None)
            if isinstance(action, CreateRun) and view.resource is SCHEDULES and action is not view.decision.actions[-1]:
                # What makes a Job comes before all bookkeeping, which is decided on again, behind everything urgent.
                self.queue.add(item)
                return
            if isinstance(action, WriteStatus):
                self._count(view, action)
            if action is view.decision.told_by:
                self._record(item, view)
        if view.decision.told_by is None:
            self._record(item, view)
        ask_again_at = self._notifier.send(item, view.decision.notifications)
        if view.decision.all_told:
            self._notifier.forget(item)
        if blocked is None:
            self._unanswered.pop(item, None)  # nothing of it is asked for any more
        self._agenda.set(item, min((each for each in (view.decision.wake_at, ask_again_at) if each is not None), default=None))

    def _record(self, item: Item, view: _View) -> None:
        for event in view.decision.events:
            self._events.record(item, view.metadata, event)

    def _age_s(self, resource: Resource, key: Key) -> float:
        """Seconds since what is known of the object was last confirmed: by itself, or by any sign of life of its watch."""
        return min(self.cache.age_s(resource, key), self._clock.monotonic() - self._informers[resource].heard_at)

    async def _decide(self, item: Item, blocked: str | None = None) -> _View | None:
        """Observe and decide. None when there is nothing, or nothing left, to decide about."""
        if item.kind is Kind.SCHEDULE:
            schedule = await self._observer.schedule(item.key, self._now())
            if schedule is None:
                return None
            decision = schedule_rules.decide(replace(schedule, blocked=blocked), self._now())
            return _View(SCHEDULES, schedule.metadata, schedule.status.given_json(), decision)
        run = await self._observer.run(item.key, self._now())
        if run is None:
            return None
        return _View(RUNS, run.metadata, run.status.given_json(), run_rules.decide(replace(run, blocked=blocked), self._now()))

    def _count(self, view: _View, write: WriteStatus) -> None:
        count(self.metrics, view.resource, view.decision, before=view.status, after=write.status)

    def _now(self) -> datetime:
        """Whole seconds, as every time of the API."""
        return self._clock.now().replace(microsecond=0)
