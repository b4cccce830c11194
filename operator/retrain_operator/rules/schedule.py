"""RetrainSchedule: everything that is decided about one schedule at one moment."""

from dataclasses import replace
from datetime import datetime

from retrain_operator.api.job import Phase, Previous
from retrain_operator.api.names import Key
from retrain_operator.api.schedule import (
    RECENT_DECISIONS_MAX,
    Action,
    ActiveRun,
    RetrainScheduleSpec,
    RetrainScheduleStatus,
    TickDecision,
)
from retrain_operator.cron import Cron
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.jobs import check
from retrain_operator.manifests.runs import tick_run
from retrain_operator.rules import reasons
from retrain_operator.rules.conditions import condition, find
from retrain_operator.rules.decision import CreateRun, Decision, DeleteRun, Event, WriteStatus
from retrain_operator.rules.history import Account, account, prunable
from retrain_operator.rules.observed import ChildRun, ScheduleObserved
from retrain_operator.rules.ticks import MISSED_TICKS_MAX, TickPlan, plan

READY = "Ready"
LAST_RUN_SUCCEEDED = "LastRunSucceeded"


def decide(observed: ScheduleObserved, now: datetime) -> Decision:
    """What to do about a schedule. `now` is aware UTC with whole seconds, as every time of the API."""
    if observed.metadata.deletion_timestamp is not None:
        return Decision()  # its runs go with it, by their owner references
    counted = account(observed.status, _own(observed))
    try:
        spec, cron = _accepted(observed)
    except InvalidSpec as problem:
        return _refused(observed, problem, counted, now)
    floor, held_until = _floor(observed, cron, now), _held_until(observed, spec, now)
    ticks = plan(cron, spec, observed.metadata, observed.runs, floor=floor, held_until=held_until, now=now)
    if dropped := _dropped(observed.status, floor, now):
        ticks = replace(ticks, newest=ticks.newest or dropped, skipped=(*ticks.skipped, dropped))
    status = _status(observed, counted, now, ready=_ready(spec), ticks=ticks).model_copy(
        update={
            "effective_schedule": cron.effective,
            "next_schedule_time": None if spec.suspend else cron.next_tick(now),
        }
    )
    creates: tuple[CreateRun, ...] = ()
    if ticks.start and ticks.newest is not None:
        last = counted.last_trained
        previous = Previous(run=last.run, data_version=last.data_version, config_hash=last.config_hash) if last else None
        creates = (CreateRun(tick_run(observed.metadata, spec, ticks.newest.scheduled_time, previous)),)
    # Status before pruning: a crash between them would count a run never, or make it again.
    prunes = tuple(
        DeleteRun(Key(observed.metadata.namespace, run.name), run.uid) for run in prunable(spec, observed.metadata.uid, observed.runs)
    )
    return Decision(
        actions=(*creates, *_write(observed.status, status), *prunes),
        events=_events(observed.status, status, ticks),
        wake_at=ticks.wake_at,
        fates=_fates(observed.status, status, ticks),
    )


def _own(observed: ScheduleObserved) -> tuple[ChildRun, ...]:
    """The runs that belong to the schedule, and not those that only have a name as its ticks make them."""
    return tuple(run for run in observed.runs if run.schedule == observed.metadata.name)


def _accepted(observed: ScheduleObserved) -> tuple[RetrainScheduleSpec, Cron]:
    """The spec and its cron. Raises InvalidSpec."""
    spec, metadata = observed.spec, observed.metadata
    if isinstance(spec, InvalidSpec):
        raise spec
    cron = Cron.parse(spec.schedule, spec.time_zone, str(metadata.key))
    check(metadata, spec)
    refused = observed.refused
    before = find(observed.status.conditions, READY)
    # A refusal is not tried again until the spec changes, also not by the next process, which knows of it from the condition.
    if refused is None and before and before.reason == reasons.RUN_REFUSED and before.observed_generation == metadata.generation:
        refused = before.message
    if refused is not None:
        raise InvalidSpec(refused, reason=reasons.RUN_REFUSED)
    return spec, cron


def _floor(observed: ScheduleObserved, cron: Cron, now: datetime) -> datetime:
    """Ticks up to here are decided on. An edit of schedule or time zone moves it: the new ticks count from the edit."""
    status, metadata = observed.status, observed.metadata
    floor = status.decided_through or metadata.creation_timestamp
    # A schedule that was mended before it was ever accepted counts from the edit as well.
    if status.effective_schedule != cron.effective and (status.effective_schedule is not None or metadata.generation > 1):
        floor = max(floor, min(observed.edited_at or now, now))
    return floor


def _held_until(observed: ScheduleObserved, spec: RetrainScheduleSpec, now: datetime) -> datetime | None:
    """Ticks up to here found the schedule suspended. Nothing wakes it meanwhile: they are told when it is resumed."""
    if spec.suspend:
        return now
    before = find(observed.status.conditions, READY)
    if before is None or before.reason != reasons.SUSPENDED:
        return None
    return min(observed.suspend_edited_at or now, now)


def _ready(spec: RetrainScheduleSpec) -> tuple[bool, str, str]:
    if spec.suspend:
        return True, reasons.SUSPENDED, "spec.suspend holds automatic starts"
    return True, reasons.SCHEDULING, "the schedule is accepted"


def _refused(observed: ScheduleObserved, problem: InvalidSpec, counted: Account, now: datetime) -> Decision:
    """Nothing starts and no tick is taken, but the runs that exist are still accounted for."""
    status = _status(observed, counted, now, ready=(False, problem.reason, problem.message), ticks=None)
    status = status.model_copy(update={"next_schedule_time": None})
    before = find(observed.status.conditions, READY)
    known = before is not None and (before.reason, before.message) == (problem.reason, problem.message)
    events = () if known else (Event("Warning", problem.reason, problem.message),)
    return Decision(actions=_write(observed.status, status), events=events)


def _status(
    observed: ScheduleObserved, counted: Account, now: datetime, *, ready: tuple[bool, str, str], ticks: TickPlan | None
) -> RetrainScheduleStatus:
    old, generation = observed.status, observed.metadata.generation
    conditions = [condition(old.conditions, READY, *ready, generation=generation, now=now)]
    last_run = counted.last_run
    if last_run is not None:
        failed = last_run.phase is Phase.FAILED
        message = f"RetrainJob {last_run.name} is {last_run.phase}"
        conditions.append(
            condition(old.conditions, LAST_RUN_SUCCEEDED, not failed, last_run.phase.value, message, generation=generation, now=now)
        )
    elif (kept := find(old.conditions, LAST_RUN_SUCCEEDED)) is not None:
        conditions.append(kept)
    active = {run.name for run in _own(observed) if not run.is_finished}
    changes: dict[str, object] = {
        "observed_generation": generation,
        "conditions": conditions,
        "last_successful_time": counted.last_successful_time,
        "last_failure_time": counted.last_failure_time,
        "consecutive_failures": counted.consecutive_failures,
        "last_trained": counted.last_trained,
    }
    if ticks is not None:
        if ticks.start and ticks.newest is not None and ticks.newest.job is not None:
            active.add(ticks.newest.job)
        changes |= _tick_changes(old, ticks)
    changes["active"] = [ActiveRun(name=name) for name in sorted(active)]
    return old.model_copy(update=changes)


def _tick_changes(old: RetrainScheduleStatus, ticks: TickPlan) -> dict[str, object]:
    # Written also when no tick is due: an edit moves it, and the next look knows of the edit only by this.
    changes: dict[str, object] = {"decided_through": ticks.decided_through}
    if ticks.newest is None:
        return changes
    if not _same(old.last_decision, ticks.newest):
        changes["last_decision"] = ticks.newest
    if ticks.last_run is not None:
        changes["last_schedule_time"] = ticks.last_run.scheduled_time
    changes["recent_decisions"] = [*ticks.skipped, *old.recent_decisions][:RECENT_DECISIONS_MAX]
    return changes


def _dropped(old: RetrainScheduleStatus, floor: datetime, now: datetime) -> TickDecision | None:
    """The tick that still waited when an edit of the schedule moved the floor past it: it ends without a run."""
    last = old.last_decision
    if last is None or last.action is not Action.WAIT or last.scheduled_time > floor:
        return None
    return last.model_copy(update={"action": Action.SKIP, "reason": reasons.SUPERSEDED, "time": now})


def _same(old: TickDecision | None, new: TickDecision) -> bool:
    """Whether nothing but the moment of looking differs."""
    return old is not None and old.model_copy(update={"time": new.time}) == new


def _write(old: RetrainScheduleStatus, new: RetrainScheduleStatus) -> tuple[WriteStatus, ...]:
    return () if old == new else (WriteStatus(new.to_json()),)


def _fates(old: RetrainScheduleStatus, new: RetrainScheduleStatus, ticks: TickPlan) -> tuple[TickDecision, ...]:
    newest = new.last_decision
    # A skip stands among the skipped, alone or as one of several.
    told = newest is None or newest == old.last_decision or newest.action is Action.SKIP
    return ticks.skipped if told or newest is None else (newest, *ticks.skipped)


def _events(old: RetrainScheduleStatus, new: RetrainScheduleStatus, ticks: TickPlan) -> tuple[Event, ...]:
    events = []
    if ticks.missed_many:
        note = f"more than {MISSED_TICKS_MAX} ticks were missed; the newest counts. Set startingDeadlineSeconds, or see why nothing ran"
        events.append(Event("Warning", reasons.TOO_MANY_MISSED_TICKS, note))
    newest = new.last_decision
    if newest is not None and newest != old.last_decision:
        tick = f"tick {newest.scheduled_time:%Y-%m-%dT%H:%MZ}"
        if newest.action is Action.RUN:
            events.append(Event("Normal", reasons.RUN_CREATED, f"{tick} made RetrainJob {newest.job}"))
        elif newest.action is Action.WAIT:
            events.append(Event("Normal", reasons.TICK_WAITS, f"{tick} waits for the unfinished RetrainJob {newest.job}"))
        else:
            blocker = f" (RetrainJob {newest.job})" if newest.job else ""
            note = f"{tick} made no run: {newest.reason}{blocker}"
            events.append(Event("Normal" if newest.reason == reasons.SUSPENDED else "Warning", reasons.TICK_SKIPPED, note))
    return tuple(events)
