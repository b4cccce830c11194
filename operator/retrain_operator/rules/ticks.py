"""Which ticks of a schedule are due, and what becomes of each: run, wait or skip. Every due tick ends as exactly one of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, islice, takewhile

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.schedule import Action, RetrainScheduleSpec, TickDecision
from retrain_operator.cron import Cron
from retrain_operator.manifests.runs import tick_run_name
from retrain_operator.rules import reasons
from retrain_operator.rules.observed import ChildRun

MISSED_TICKS_MAX = 100  # as CronJob: beyond it something was down for long, and counting on helps nobody


@dataclass(frozen=True, slots=True)
class TickPlan:
    """What becomes of the due ticks."""

    decided_through: datetime  # every tick up to here has its fate
    newest: TickDecision | None  # fate of the newest due tick
    start: bool  # whether the newest due tick needs its run made
    skipped: tuple[TickDecision, ...]  # newest first
    last_run: TickDecision | None  # the newest tick that made a run, just now or before a crash
    missed_many: bool
    wake_at: datetime | None


def plan(
    cron: Cron,
    spec: RetrainScheduleSpec,
    schedule: ObjectMeta,
    runs: tuple[ChildRun, ...],
    *,
    floor: datetime,
    held_until: datetime | None,
    now: datetime,
) -> TickPlan:
    """Fate of every tick in (floor, now]. Those up to `held_until` found the schedule suspended.

    The newest due tick starts unless something forbids it; the older ones are superseded, as with CronJob. Under Forbid the newest waits
    for the unfinished run within its deadline, until the next tick is due.
    """
    due = list(islice(takewhile(lambda tick: tick > floor, cron.ticks_backward(now, floor)), MISSED_TICKS_MAX + 1))
    wake = None if spec.suspend else cron.next_tick(now)
    if not due:
        return TickPlan(floor, None, False, (), None, False, wake)
    name, uid = schedule.name, schedule.uid
    made = {run.name: run for run in runs}
    deadline = timedelta(seconds=spec.starting_deadline_seconds) if spec.starting_deadline_seconds is not None else None

    def is_late(tick: datetime) -> bool:
        return deadline is not None and tick + deadline < now

    def is_held(tick: datetime) -> bool:
        return held_until is not None and tick <= held_until

    def fate(tick: datetime) -> TickDecision:
        """Of a tick that is not, or no longer, the one to run."""
        taken = made.get(tick_run_name(name, tick))
        if taken is not None and taken.owner_uid == uid:
            return TickDecision(action=Action.RUN, reason=reasons.SCHEDULED, scheduled_time=tick, job=taken.name, time=now)
        if taken is not None:
            return TickDecision(action=Action.SKIP, reason=reasons.NAME_TAKEN, scheduled_time=tick, job=taken.name, time=now)
        blocker = next((run for run in runs if run.schedule == name and run.was_unfinished_at(tick)), None)
        if is_held(tick):
            reason = reasons.SUSPENDED
        elif blocker is not None:
            reason = reasons.CONCURRENCY_FORBID
        else:
            reason = reasons.DEADLINE_MISSED if is_late(tick) else reasons.SUPERSEDED
        job = blocker.name if blocker is not None and reason == reasons.CONCURRENCY_FORBID else None
        return TickDecision(action=Action.SKIP, reason=reason, scheduled_time=tick, job=job, time=now)

    def result(last: TickDecision, *, start: bool = False, wake_at: datetime | None = wake) -> TickPlan:
        fates = [last, *(fate(tick) for tick in due[1:])]
        waits = last.action is Action.WAIT
        through = newest if not waits else due[1] if len(due) > 1 else floor
        is_open = len(due) > MISSED_TICKS_MAX
        skipped = tuple(_grouped(fates, is_open, floor, cron))
        last_run = next((each for each in fates if each.action is Action.RUN), None)
        return TickPlan(through, last, start, skipped, last_run, is_open and not is_held(due[-1]), wake_at)

    newest = due[0]
    active = next((run for run in runs if run.schedule == name and not run.is_finished), None)
    if tick_run_name(name, newest) in made or is_held(newest) or is_late(newest):
        return result(fate(newest))
    if active is not None:
        last = TickDecision(action=Action.WAIT, reason=reasons.CONCURRENCY_FORBID, scheduled_time=newest, job=active.name, time=now)
        expires = newest + deadline + timedelta(seconds=1) if deadline is not None else None
        return result(last, wake_at=min((each for each in (wake, expires) if each is not None), default=None))
    last = TickDecision(action=Action.RUN, reason=reasons.SCHEDULED, scheduled_time=newest, job=tick_run_name(name, newest), time=now)
    return result(last, start=True)


def _grouped(fates: list[TickDecision], is_open: bool, floor: datetime, cron: Cron) -> Iterator[TickDecision]:
    """Skipped neighbours with one fate told as one entry, so that a long outage does not push last night's story out."""
    for (action, _, _), group in groupby(fates, key=lambda each: (each.action, each.reason, each.job)):
        newest, *others = group
        if action is not Action.SKIP:
            continue
        oldest = others[-1] if others else newest
        if is_open and oldest is fates[-1]:
            # The ticks before were not listed; the entry reaches back to the first of them, and its count is open.
            yield newest.model_copy(update={"first_scheduled_time": cron.next_tick(floor)})
        elif others:
            yield newest.model_copy(update={"first_scheduled_time": oldest.scheduled_time, "count": len(others) + 1})
        else:
            yield newest
