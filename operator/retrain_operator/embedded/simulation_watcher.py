"""What happens in a simulated cluster, read from the objects as they change."""

import asyncio
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from datetime import datetime

from retrain_operator.api.job import Phase, RetrainJobSpec, RetrainJobStatus, Trigger
from retrain_operator.api.schedule import Action, RetrainScheduleStatus, TickDecision
from retrain_operator.cluster.history import Change
from retrain_operator.cluster.protocol import EVENTS, RUNS, SCHEDULES, Body
from retrain_operator.cluster.store import Store
from retrain_operator.embedded.simulation_story import Entry, What
from retrain_operator.rules import reasons

_OF_PHASE = {
    Phase.RUNNING: What.STARTED,
    Phase.COMPLETED: What.COMPLETED,
    Phase.FAILED: What.FAILED,
    Phase.SKIPPED: What.SKIPPED,
}
# Events that say what an entry says already.
_TOLD = {reasons.RUN_CREATED, reasons.TICK_WAITS, reasons.TICK_SKIPPED, *(f"Run{phase}" for phase in Phase)}


class Watcher:
    """Tells every change as an Entry. `changed` is set when a run has changed."""

    def __init__(self, store: Store, now: Callable[[], datetime], ticks: Sequence[datetime], tell: Callable[[Entry], None]) -> None:
        self.changed = asyncio.Event()
        self._now = now
        self._ticks = ticks
        self._tell = tell
        store.history(RUNS).listeners.append(self._run_changed)
        store.history(SCHEDULES).listeners.append(self._schedule_changed)
        store.history(EVENTS).listeners.append(self._event_made)

    def _run_changed(self, change: Change) -> None:
        self.changed.set()
        before, after = _phase(change.before), _phase(change.after)
        body = change.after or change.before
        assert body is not None
        if change.before is None and body["spec"]["trigger"] not in (Trigger.SCHEDULE, Trigger.MANUAL):
            self._tell_run(What.RETRIED if body["spec"]["trigger"] == "Retry" else What.CREATED, body)
        if after is None and before is not None and not before.is_finished:
            self._tell_run(What.DELETED, body)
        elif after is not None and after is not before and after in _OF_PHASE:
            self._tell_run(_OF_PHASE[after], body)

    def _tell_run(self, what: What, body: Body) -> None:
        spec, status = RetrainJobSpec.model_validate(body["spec"]), RetrainJobStatus.model_validate(body["status"])
        reason = text = None
        took_s = None
        if status.start_time is not None and what is not What.STARTED:
            took_s = int(((status.completion_time or self._now()) - status.start_time).total_seconds())
        if what is What.FAILED and status.error is not None:
            reason = status.error.reason
        elif what is What.SKIPPED:
            reason = next((each.reason for each in status.conditions if each.type == "Ready"), None)
            reason = (status.result.reason if status.result else None) or reason
        name = body["metadata"]["name"]
        self._tell(Entry(self._now(), what, job=name, tick=spec.scheduled_time, reason=reason, took_s=took_s, text=text))

    def _schedule_changed(self, change: Change) -> None:
        if change.after is None or change.before is None or change.after.get("status") == change.before.get("status"):
            return
        old = RetrainScheduleStatus.model_validate(change.before["status"])
        new = RetrainScheduleStatus.model_validate(change.after["status"])
        recent = new.recent_decisions
        added = next(count for count in range(len(recent) + 1) if recent[count:] == old.recent_decisions[: len(recent) - count])
        for decision in reversed(recent[:added]):
            self._tell_decision(decision)
        last = new.last_decision
        is_told = last is None or last == old.last_decision or last in recent[:added]
        if last is None or is_told or (last.action, last.reason) == (Action.RUN, reasons.SCHEDULED):  # the run tells of itself
            return
        if not any(_tells_of(each, last) for each in recent[:added]):
            self._tell_decision(last)

    def _tell_decision(self, decision: TickDecision) -> None:
        what = {Action.SKIP: What.TICK_SKIPPED, Action.WAIT: What.WAITS}.get(decision.action, What.DECIDED)
        first, last = decision.first_scheduled_time, decision.scheduled_time
        count = decision.count or 1
        if first is not None and last is not None and decision.count is None:  # more than the operator listed
            count = bisect_right(self._ticks, last) - bisect_left(self._ticks, first)
        reason = decision.reason if what is not What.DECIDED else f"{decision.action.value}: {decision.reason}"
        self._tell(Entry(self._now(), what, job=decision.job, tick=last, first_tick=first, count=count, reason=reason))

    def _event_made(self, change: Change) -> None:
        event = change.after
        if change.before is None and event is not None and event["type"] == "Warning" and event["reason"] not in _TOLD:
            self._tell(Entry(self._now(), What.EVENT, reason=event["reason"], text=event["note"]))


def _phase(body: Body | None) -> Phase | None:
    return Phase(body["status"]["phase"]) if body is not None else None


def _tells_of(one: TickDecision, other: TickDecision) -> bool:
    """Whether the entry, of one tick or of several, tells what became of the other's tick."""
    first, last, tick = one.first_scheduled_time or one.scheduled_time, one.scheduled_time, other.scheduled_time
    if first is None or last is None or tick is None:  # of a request by hand
        return one == other
    return one.action is other.action and first <= tick <= last
