"""Which ticks of a schedule are due, and what becomes of each: run, wait or skip. Every due tick ends as exactly one of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, takewhile

from retrain_operator.api.schedule import Action, RetrainScheduleSpec, TickDecision
from retrain_operator.cron import Cron
from retrain_operator.manifests import tick_run_name
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
    missed_many: bool
    wake_at: datetime | None


def plan(
    cron: Cron, spec: RetrainScheduleSpec, name: str, uid: str, runs: tuple[ChildRun, ...], floor: datetime, now: datetime
) -> TickPlan:
    """Fate of every tick in (floor, now].

    The newest due tick starts unless something forbids it; the older ones are superseded, as with CronJob. Under Forbid the newest waits
    for the unfinished run within its deadline, until the next tick is due.
    """
    due = list(islice(takewhile(lambda tick: tick > floor, cron.ticks_backward(now, floor)), MISSED_TICKS_MAX + 1))
    upcoming = cron.next_tick(now)
    if not due:
        return TickPlan(floor, None, False, (), False, None if spec.suspend else upcoming)
    missed_many = len(due) > MISSED_TICKS_MAX
    made = {run.name: run for run in runs}
    deadline = timedelta(seconds=spec.starting_deadline_seconds) if spec.starting_deadline_seconds is not None else None

    def is_late(tick: datetime) -> bool:
        return deadline is not None and tick + deadline < now

    def fate(tick: datetime) -> TickDecision:
        """Of a tick that is not, or no longer, the one to run."""
        taken = made.get(tick_run_name(name, tick))
        if taken is not None and taken.owner_uid == uid:
            return TickDecision(action=Action.RUN, reason=reasons.SCHEDULED, scheduled_time=tick, job=taken.name, time=now)
        if taken is not None:
            return TickDecision(action=Action.SKIP, reason=reasons.NAME_TAKEN, scheduled_time=tick, job=taken.name, time=now)
        blocker = next((run for run in runs if run.schedule == name and run.was_unfinished_at(tick)), None)
        if spec.suspend:
            reason = reasons.SUSPENDED
        elif blocker is not None:
            reason = reasons.CONCURRENCY_FORBID
        else:
            reason = reasons.DEADLINE_MISSED if is_late(tick) else reasons.SUPERSEDED
        job = blocker.name if blocker is not None and reason == reasons.CONCURRENCY_FORBID else None
        return TickDecision(action=Action.SKIP, reason=reason, scheduled_time=tick, job=job, time=now)

    newest = due[0]
    older = [fate(tick) for tick in due[1:]]
    skips = [each for each in older if each.action is Action.SKIP]
    active = next((run for run in runs if run.schedule == name and not run.is_finished), None)
    if tick_run_name(name, newest) in made or spec.suspend or is_late(newest):
        last = fate(newest)
        if last.action is Action.SKIP:
            skips.insert(0, last)
        wake = None if spec.suspend else upcoming
        return TickPlan(newest, last, False, tuple(_grouped(skips, missed_many, floor, cron)), missed_many, wake)
    if active is not None:
        last = TickDecision(action=Action.WAIT, reason=reasons.CONCURRENCY_FORBID, scheduled_time=newest, job=active.name, time=now)
        expires = newest + deadline + timedelta(seconds=1) if deadline is not None else None
        wake = min((each for each in (upcoming, expires) if each is not None), default=None)
        through = due[1] if len(due) > 1 else floor
        return TickPlan(through, last, False, tuple(_grouped(skips, missed_many, floor, cron)), missed_many, wake)
    last = TickDecision(action=Action.RUN, reason=reasons.SCHEDULED, scheduled_time=newest, job=tick_run_name(name, newest), time=now)
    return TickPlan(newest, last, True, tuple(_grouped(skips, missed_many, floor, cron)), missed_many, upcoming)


def _grouped(skips: list[TickDecision], missed_many: bool, floor: datetime, cron: Cron) -> Iterator[TickDecision]:
    """Neighbours with one fate told as one entry, so that a long outage does not push last night's story out."""
    index = 0
    while index < len(skips):
        end = index
        while end + 1 < len(skips) and (skips[end + 1].reason, skips[end + 1].job) == (skips[index].reason, skips[index].job):
            end += 1
        first, count = skips[end].scheduled_time, end - index + 1
        if missed_many and end == len(skips) - 1:
            # The ticks before were not listed; the entry reaches back to the first of them, and its count is open.
            yield skips[index].model_copy(update={"first_scheduled_time": cron.next_tick(floor)})
        elif count > 1:
            yield skips[index].model_copy(update={"first_scheduled_time": first, "count": count})
        else:
            yield skips[index]
        index = end + 1
