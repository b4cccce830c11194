"""One look at one object: it is observed, decided on, and what was decided is applied. What goes wrong is told, and tried again."""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.names import Key
from retrain_operator.clock import Clock
from retrain_operator.cluster.fence import NotLeader
from retrain_operator.cluster.protocol import JOBS, RUNS, SCHEDULES, ClusterError, Forbidden, Rejected, Resource, Unavailable
from retrain_operator.reconcile.agenda import Agenda
from retrain_operator.reconcile.apply import Applier, Refused, Stale, TooSoon
from retrain_operator.reconcile.cache import Cache
from retrain_operator.reconcile.counting import count
from retrain_operator.reconcile.events import EventRecorder
from retrain_operator.reconcile.metrics import Metrics
from retrain_operator.reconcile.notifier import Notifier
from retrain_operator.reconcile.observe import Observer
from retrain_operator.reconcile.setbacks import Setbacks
from retrain_operator.reconcile.workqueue import Item, Kind, WorkQueue
from retrain_operator.rules import reasons
from retrain_operator.rules import run as run_rules
from retrain_operator.rules import schedule as schedule_rules
from retrain_operator.rules.decision import CreateJob, CreateRun, Decision, Event, TakeGuard, WriteStatus

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _View:
    """One object as it was observed, with what was decided about it."""

    resource: Resource
    metadata: ObjectMeta
    status: dict[str, Any]
    decision: Decision


class Reconciler:
    """`heard_at`: when the resource's watch gave its last sign of life, as the clock's monotonic time. `look_at` never raises.

    fresh_s: nothing starts on news that are older.
    """

    def __init__(
        self,
        clock: Clock,
        cache: Cache,
        queue: WorkQueue,
        agenda: Agenda[Item],
        observer: Observer,
        applier: Applier,
        events: EventRecorder,
        notifier: Notifier,
        metrics: Metrics,
        heard_at: Callable[[Resource], float],
        fresh_s: float,
    ) -> None:
        self._clock = clock
        self._cache = cache
        self._queue = queue
        self._agenda = agenda
        self._observer = observer
        self._applier = applier
        self._events = events
        self._notifier = notifier
        self._metrics = metrics
        self._heard_at = heard_at
        self._fresh_s = fresh_s
        self._setbacks = Setbacks()
        self._unanswered: dict[Item, tuple[Resource, Key]] = {}  # the run or Job that was asked for, and may have been made

    async def look_at(self, item: Item) -> None:
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
        self._metrics.errors.labels(error).inc()
        pause_s = self._setbacks.pause_s(item, at_least_s=retry_after_s)
        if at_once:
            self._queue.add(item)
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
        entry = self._cache.schedules.get(item.key) if item.kind is Kind.SCHEDULE else self._cache.runs.get(item.key)
        if entry is not None and entry.raw is not None:
            metadata = ObjectMeta.model_validate(json.loads(entry.raw)["metadata"])
            self._events.record(item, metadata, Event("Warning", reason, note))

    async def _reconcile(self, item: Item, blocked: str | None = None) -> None:
        """`blocked`: why what the item asks for, a run or a Job, cannot be made at the moment, and what to do."""
        if (asked := self._unanswered.get(item)) is not None and await self._applier.find(*asked):
            del self._unanswered[item]
        view = await self._decide(item, blocked)
        if view is not None and view.decision.starts and (item in self._unanswered or self.age_s(view.resource, item.key) > self._fresh_s):
            # A silent watch may hide that the object was suspended, edited or deleted. And what was asked for without an answer may have
            # been made, and have gone with the object since.
            await self._applier.refresh(view.resource, item.key)
            view = await self._decide(item, blocked)
        if view is None:
            self._agenda.set(item, None)
            self._notifier.forget(item)
            self._unanswered.pop(item, None)
            return
        if view.decision.starts and not self._cache.is_newest(view.resource, view.metadata):
            raise Stale("it has changed while the rest was read")
        for action in view.decision.actions:
            try:
                await self._applier.apply(view.resource, view.metadata, view.status, action)
            except Refused as refused:
                log.warning("%s: refused: %s", item, refused)
                self._observer.refused(item, view.metadata, refused.message, of_deploy=refused.of_deploy)
                self._queue.add(item)
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
                self._queue.add(item)
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

    def age_s(self, resource: Resource, key: Key) -> float:
        """Seconds since what is known of the object was last confirmed: by itself, or by any sign of life of its watch."""
        return min(self._cache.age_s(resource, key), self._clock.monotonic() - self._heard_at(resource))

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
        count(self._metrics, view.resource, view.decision, before=view.status, after=write.status)

    def _now(self) -> datetime:
        """Whole seconds, as every time of the API."""
        return self._clock.now().replace(microsecond=0)
