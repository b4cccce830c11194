"""Which ticks of a schedule are due, and what becomes of each: run, wait or skip. Every due tick ends as exactly one run or one skip."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, islice, takewhile

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.schedule import Action, ConcurrencyPolicy, MissedRunPolicy, RetrainScheduleSpec, TickDecision
from retrain_operator.cron import Cron
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.runs import tick_run_name
from retrain_operator.rules import reasons
from retrain_operator.rules.concurrency import Verdict, about_to_be_made, for_tick, unless_blocked
from retrain_operator.rules.missed import in_turn, is_missed
from retrain_operator.rules.observed import ChildRun

MISSED_TICKS_MAX = 100  # as CronJob: beyond it something was down for long, and counting on helps nobody
_A_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Held:
    """Ticks up to here found automatic starts held."""

    suspended_until: datetime | None = None
    paused_until: datetime | None = None

    def reason(self, tick: datetime) -> str | None:
        if self.suspended_until is not None and tick <= self.suspended_until:
            return reasons.SUSPENDED
        return reasons.PAUSED if self.paused_until is not None and tick <= self.paused_until else None


@dataclass(frozen=True, slots=True)
class Start:
    """A tick that needs its run made."""

    tick: datetime
    replaces: str | None


@dataclass(frozen=True, slots=True)
class TickPlan:
    """What becomes of the due ticks."""

    decided_through: datetime  # every tick up to here has its fate
    fates: tuple[TickDecision, ...] = ()  # of the ticks that have one now, newest first; neighbours skipped alike are one entry
    last: TickDecision | None = None  # of the ticks that wait; where none does, fate of the newest
    starts: tuple[Start, ...] = ()  # oldest first
    missed_many: bool = False
    wake_at: datetime | None = None

    @property
    def skipped(self) -> tuple[TickDecision, ...]:
        return tuple(fate for fate in self.fates if fate.action is Action.SKIP)

    @property
    def last_run(self) -> TickDecision | None:
        """The newest tick that made a run, just now or before a crash."""
        return next((fate for fate in self.fates if fate.action is Action.RUN), None)


def plan(
    cron: Cron,
    spec: RetrainScheduleSpec,
    schedule: ObjectMeta,
    runs: tuple[ChildRun, ...],
    *,
    floor: datetime,
    held: Held,
    waited: TickDecision | None,
    next_tick: datetime | None,
    now: datetime,
    is_blocked: bool = False,
) -> TickPlan:
    """Fate of every tick in (floor, now]. `waited` tells of those that are known to wait. `is_blocked`: no run can be made.

    The ticks that get a turn (missedRunPolicy) start unless something forbids it; one that has to wait for a run (concurrencyPolicy) keeps
    itself and the newer ones due. The other ticks are passed over.
    """
    due = list(islice(takewhile(lambda tick: tick > floor, cron.ticks_backward(now, floor)), MISSED_TICKS_MAX + 1))
    if not due:
        return TickPlan(floor, wake_at=next_tick)
    made = _made(schedule, runs)
    newest_made = next((tick for tick in due if tick_run_name(schedule.name, tick) in made), None)
    look = _Look(spec, schedule, runs, held, waited, newest_made, now, is_blocked)
    fates: dict[datetime, TickDecision] = {}
    starts: list[Start] = []
    waits = None
    for tick in in_turn(spec, due):
        if look.is_out(tick):
            continue
        verdict = look.verdict(tick, starts)
        if verdict.action is Action.WAIT:
            waits = look.waits([each for each in due if each >= tick], verdict)
            break
        fates[tick] = look.fate(tick, verdict)
        if fates[tick].action is Action.RUN:
            starts.append(Start(tick, verdict.run))
    decided = [tick for tick in due if waits is None or not waits.covers(tick)]
    all_fates = [fates.get(tick) or look.passed_over(tick) for tick in decided]
    is_open = len(due) > MISSED_TICKS_MAX
    return TickPlan(
        decided_through=decided[0] if decided else floor,
        fates=tuple(_grouped(all_fates, cron.next_tick(floor) if is_open else None)),
        last=waits or all_fates[0],
        starts=tuple(starts),
        missed_many=is_open and held.reason(due[-1]) is None,
        wake_at=min((each for each in (next_tick, look.expiry(waits)) if each is not None), default=None),
    )


def dropped(
    waited: TickDecision | None,
    effective: str,
    cron: Cron,
    schedule: ObjectMeta,
    runs: Sequence[ChildRun],
    held: Held,
    *,
    since: datetime,
    floor: datetime,
    now: datetime,
) -> list[TickDecision]:
    """Fates, newest first, of the ticks that were due or waited and are none any more since the schedule was edited: none of them starts.

    `effective` is the schedule before the edit, as the status tells it, and `since` how far it was decided. `floor`: the edit.
    """
    expression, _, zone = effective.rpartition(" ")
    try:
        old = Cron.parse(expression, zone)
    except InvalidSpec:  # zones go out of the time zone database, and an edit is how that is mended: nobody can tell what was due
        return [waited.model_copy(update={"action": Action.SKIP, "reason": reasons.SUPERSEDED, "time": now})] if waited else []
    until = max(floor, waited.scheduled_time) if waited else floor
    ticks = [
        tick
        for tick in islice(old.ticks_backward(until, since), MISSED_TICKS_MAX + 1)
        if tick <= floor or (waited is not None and waited.covers(tick))
    ]
    kept = set(cron.ticks_backward(until, floor))
    made = _made(schedule, runs)
    fates = []
    for tick in ticks:
        name = tick_run_name(schedule.name, tick)
        job = waited.job if waited is not None and waited.covers(tick) else None
        if tick not in kept and name in made:  # before a crash, which kept it from being told
            fates.append(TickDecision(action=Action.RUN, reason=reasons.SCHEDULED, scheduled_time=tick, job=name, time=now))
        elif tick not in kept:
            reason = held.reason(tick) or reasons.SUPERSEDED
            fates.append(TickDecision(action=Action.SKIP, reason=reason, scheduled_time=tick, job=job, time=now))
    return list(_grouped(fates, old.next_tick(since) if len(ticks) > MISSED_TICKS_MAX else None))


def _made(schedule: ObjectMeta, runs: Sequence[ChildRun]) -> set[str]:
    """Names of the runs that the schedule made: a name as a tick makes it may be somebody else's."""
    return {run.name for run in runs if run.owner_uid == schedule.uid}


@dataclass(frozen=True, slots=True)
class _Look:
    """What is asked of one tick after another."""

    spec: RetrainScheduleSpec
    schedule: ObjectMeta
    runs: tuple[ChildRun, ...]
    held: Held
    waited: TickDecision | None
    newest_made: datetime | None  # newest of the ticks whose run was made before; an older one was passed over then
    now: datetime
    is_blocked: bool

    def is_out(self, tick: datetime) -> bool:
        """Whether it does not start, whatever else runs."""
        is_overtaken = self.newest_made is not None and tick < self.newest_made
        held = self.held.reason(tick) is not None
        return is_overtaken or held or self._taken(tick) is not None or self._is_late(tick) or self._is_missed(tick)

    def verdict(self, tick: datetime, starts: Iterable[Start]) -> Verdict:
        """Whether it starts now, after those that start already."""
        runs = list(self.runs)
        for start in starts:
            runs.append(about_to_be_made(self.schedule, tick_run_name(self.schedule.name, start.tick), self.now, start.replaces))
        in_line = self.spec.missed_run_policy is MissedRunPolicy.ALL
        missed = is_missed(tick, self.now)
        verdict = for_tick(self.spec.concurrency_policy, tick, self.schedule, runs, in_line=in_line, is_missed=missed)
        return unless_blocked(verdict, is_blocked=self.is_blocked)

    def fate(self, tick: datetime, verdict: Verdict) -> TickDecision:
        """Of a tick that does not wait."""
        if verdict.action is Action.SKIP:
            return self._decided(Action.SKIP, verdict.reason, tick, verdict.run)
        action, reason = (Action.SKIP, reasons.DRY_RUN) if self.spec.dry_run else (Action.RUN, reasons.SCHEDULED)
        return self._decided(action, reason, tick, tick_run_name(self.schedule.name, tick))

    def passed_over(self, tick: datetime) -> TickDecision:
        """Fate of a tick that is not, or no longer, one to run."""
        taken = self._taken(tick)
        if taken is not None:
            is_own = taken.owner_uid == self.schedule.uid
            action, reason = (Action.RUN, reasons.SCHEDULED) if is_own else (Action.SKIP, reasons.NAME_TAKEN)
            return self._decided(action, reason, tick, taken.name)
        held = self.held.reason(tick)
        if held is not None:
            return self._decided(Action.SKIP, held, tick)
        blocker = self._blocker(tick)
        if blocker is not None and self.spec.concurrency_policy is ConcurrencyPolicy.FORBID:
            return self._decided(Action.SKIP, reasons.CONCURRENCY_FORBID, tick, blocker.name)
        if self._is_late(tick):
            return self._decided(Action.SKIP, reasons.DEADLINE_MISSED, tick)
        return self._decided(Action.SKIP, reasons.MISSED if self._is_missed(tick) else reasons.SUPERSEDED, tick)

    def waits(self, ticks: Sequence[datetime], verdict: Verdict) -> TickDecision:
        """Of the ticks that wait, newest first."""
        told = self._decided(Action.WAIT, verdict.reason, ticks[0], verdict.run)
        several = {"first_scheduled_time": ticks[-1], "count": len(ticks)} if len(ticks) > 1 else {}
        return told.model_copy(update=several)

    def expiry(self, waits: TickDecision | None) -> datetime | None:
        """When the first of the ticks that wait is too late."""
        if waits is None or self._deadline is None or self.spec.concurrency_policy is ConcurrencyPolicy.QUEUE:
            return None
        return (waits.first_scheduled_time or waits.scheduled_time) + self._deadline + _A_SECOND

    @property
    def _deadline(self) -> timedelta | None:
        seconds = self.spec.starting_deadline_seconds
        return timedelta(seconds=seconds) if seconds is not None else None

    def _taken(self, tick: datetime) -> ChildRun | None:
        name = tick_run_name(self.schedule.name, tick)
        return next((run for run in self.runs if run.name == name), None)

    def _blocker(self, tick: datetime) -> ChildRun | None:
        return next((run for run in self.runs if run.schedule == self.schedule.name and run.was_unfinished_at(tick)), None)

    def _is_late(self, tick: datetime) -> bool:
        if self._deadline is None or tick + self._deadline >= self.now:
            return False
        # What stands in the queue has been started on, as far as the deadline goes.
        is_queued = self.spec.concurrency_policy is ConcurrencyPolicy.QUEUE and (self._waited(tick) or self._blocker(tick) is not None)
        return not is_queued

    def _is_missed(self, tick: datetime) -> bool:
        """Under Skip. What waits for a run was looked at in time."""
        return self.spec.missed_run_policy is MissedRunPolicy.SKIP and is_missed(tick, self.now) and not self._waited(tick)

    def _waited(self, tick: datetime) -> bool:
        return self.waited is not None and self.waited.covers(tick)

    def _decided(self, action: Action, reason: str, tick: datetime, job: str | None = None) -> TickDecision:
        return TickDecision(action=action, reason=reason, scheduled_time=tick, job=job, time=self.now)


def _grouped(fates: Sequence[TickDecision], reaches_back_to: datetime | None) -> Iterator[TickDecision]:
    """Skipped neighbours with one fate told as one entry, so that a long outage does not push last night's story out.

    `reaches_back_to`: the first of the ticks before, which were not listed; the entry with the oldest reaches back to it, without a count.
    """
    for (action, _, _), group in groupby(fates, key=lambda each: (each.action, each.reason, each.job)):
        if action is not Action.SKIP:
            yield from group
            continue
        newest, *others = group
        oldest = others[-1] if others else newest
        if reaches_back_to is not None and oldest is fates[-1]:
            yield newest.model_copy(update={"first_scheduled_time": reaches_back_to})
        elif others:
            yield newest.model_copy(update={"first_scheduled_time": oldest.scheduled_time, "count": len(others) + 1})
        else:
            yield newest
