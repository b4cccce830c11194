"""RetrainSchedule: everything that is decided about one schedule at one moment."""

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from retrain_operator.api.job import Phase
from retrain_operator.api.names import ANNOTATION_REQUESTED_AT, Key
from retrain_operator.api.policy import Recommendation, RecommendedAction
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
from retrain_operator.manifests.runs import drift_run, manual_run, tick_run, tick_run_name
from retrain_operator.rules import reasons
from retrain_operator.rules.concurrency import about_to_be_made
from retrain_operator.rules.conditions import condition, find
from retrain_operator.rules.decision import CreateRun, Decision, DeleteRun, Event, WriteStatus
from retrain_operator.rules.drift import DRIFT_DETECTED, DriftPlan, plan_drift
from retrain_operator.rules.history import Account, Pruning, account, previous_of, prunable
from retrain_operator.rules.notify_rollback import tell_of_rollbacks
from retrain_operator.rules.observed import ChildRun, ScheduleObserved
from retrain_operator.rules.pause import PAUSED, Pause, pause
from retrain_operator.rules.request import RequestPlan, plan_request
from retrain_operator.rules.rollback import plan_rollback
from retrain_operator.rules.telling import event_of, events_of_ticks
from retrain_operator.rules.ticks import Held, TickPlan, dropped, plan

READY = "Ready"
LAST_RUN_SUCCEEDED = "LastRunSucceeded"


@dataclass(frozen=True, slots=True)
class _Plan:
    """What becomes of an accepted schedule's requests, ticks and drift policy."""

    spec: RetrainScheduleSpec
    pause: Pause
    request: RequestPlan
    ticks: TickPlan
    drift: DriftPlan
    next_tick: datetime | None
    effective: str


def decide(observed: ScheduleObserved, now: datetime) -> Decision:
    """What to do about a schedule. `now` is aware UTC with whole seconds, as every time of the API."""
    if observed.metadata.deletion_timestamp is not None:
        return Decision()  # its runs go with it, by their owner references
    rollback = plan_rollback(observed, now)
    decision = _decide(observed, now, rollback.changes)
    with_rollback = replace(
        decision,
        # Last: what cannot be rolled back must not keep a tick from its run.
        actions=(*decision.actions, *rollback.actions),
        events=(*decision.events, *rollback.events),
        wake_at=min((each for each in (decision.wake_at, rollback.wake_at) if each is not None), default=None),
    )
    return tell_of_rollbacks(observed, with_rollback, now)


def _decide(observed: ScheduleObserved, now: datetime, changes: dict[str, object]) -> Decision:
    """Without rollbacks; `changes` of the status come from them."""
    counted = account(observed.status, _own(observed))
    try:
        spec, cron = _accepted(observed)
    except InvalidSpec as problem:
        return _refused(observed, problem, counted, changes, now)
    planned = _planned(observed, spec, cron, counted, now)
    status = _status(observed, counted, now, ready=_ready(planned, observed.blocked), planned=planned).model_copy(update=changes)
    pruning = prunable(spec, observed.metadata, observed.runs, now, observed.in_slots)
    return Decision(
        # Status before pruning: a crash between them would count a run never, or make it again.
        actions=(*_creates(observed, planned, counted), *_write(observed.status, status), *_prunes(observed, pruning)),
        events=_events(observed, planned),
        wake_at=min((each for each in (planned.ticks.wake_at, planned.drift.wake_at, pruning.wake_at) if each is not None), default=None),
        fates=_fates(observed.status, planned),
    )


def _planned(observed: ScheduleObserved, spec: RetrainScheduleSpec, cron: Cron, counted: Account, now: datetime) -> _Plan:
    status, metadata = observed.status, observed.metadata
    paused = pause(status, metadata, spec, counted, now)
    is_blocked = observed.blocked is not None
    request = plan_request(status, metadata, spec, observed.runs, now, is_blocked=is_blocked)
    # A request comes before ticks: it would wait for ever where runs take longer than the time between ticks.
    runs = (*observed.runs, *([request.made] if request.made else []))
    floor = _floor(observed, cron, now)
    next_tick = None if spec.suspend or paused.is_paused else cron.next_tick(max(now, floor))
    held = Held(_suspended_until(observed, spec, now), paused.until)
    waited = status.last_decision if status.last_decision and status.last_decision.action is Action.WAIT else None
    ticks = plan(cron, spec, metadata, runs, floor=floor, held=held, waited=waited, next_tick=next_tick, now=now, is_blocked=is_blocked)
    if status.effective_schedule is not None and status.effective_schedule != cron.effective:
        since = status.decided_through or metadata.creation_timestamp
        left = dropped(waited, status.effective_schedule, cron, metadata, runs, held, since=since, floor=floor, now=now)
        ticks = replace(ticks, fates=(*ticks.fates, *left), last=ticks.last or next(iter(left), None))
    # Drift comes last: whatever starts a run brings a fresh model.
    started = [about_to_be_made(metadata, tick_run_name(metadata.name, each.tick), now, each.replaces) for each in ticks.starts]
    plan_policy = partial(plan_drift, status, metadata, spec, (*runs, *started), counted.last_trained, held=_held(spec, paused), now=now)
    drift = plan_policy(observed.readings)
    if is_blocked and drift.made is not None:
        drift = plan_policy(None)  # its evaluation stays due, until what it asks for can be made
    return _Plan(spec, paused, request, ticks, drift, next_tick, cron.effective)


def _held(spec: RetrainScheduleSpec, paused: Pause) -> str | None:
    """Why automatic starts are held."""
    if spec.suspend:
        return "spec.suspend holds automatic starts"
    return "failed runs hold automatic starts, see the condition Paused" if paused.is_paused else None


def _creates(observed: ScheduleObserved, planned: _Plan, counted: Account) -> list[CreateRun]:
    metadata, spec, previous = observed.metadata, planned.spec, previous_of(counted.last_trained)
    creates = []
    made, request = planned.request.made, planned.request.last
    if made is not None and request is not None:
        creates.append(CreateRun(manual_run(metadata, spec, request.requested_at or "", previous, made.replaces)))
    creates += [CreateRun(tick_run(metadata, spec, start.tick, previous, start.replaces)) for start in planned.ticks.starts]
    drift = planned.drift
    if drift.made is not None and drift.slot is not None and drift.why is not None:
        creates.append(CreateRun(drift_run(metadata, spec, drift.slot, drift.why, previous, drift.made.replaces)))
    return creates


def _own(observed: ScheduleObserved) -> tuple[ChildRun, ...]:
    """The runs that belong to the schedule, and not those that only have a name as its ticks make them."""
    return tuple(run for run in observed.runs if run.schedule == observed.metadata.name)


def _accepted(observed: ScheduleObserved) -> tuple[RetrainScheduleSpec, Cron]:
    """The spec and its cron. Raises InvalidSpec."""
    spec, metadata = observed.spec, observed.metadata
    if isinstance(spec, InvalidSpec):
        raise spec
    cron = Cron.parse(spec.schedule, spec.time_zone, str(metadata.key)) if spec.schedule is not None else Cron.never()
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
    if (status.effective_schedule or "") != cron.effective and (status.effective_schedule is not None or metadata.generation > 1):
        if observed.edited_at is None or observed.edited_at > now:
            return max(floor, now)
        # A floor beyond now was set by a clock that went wrong: no tick would start until then.
        return max(floor, observed.edited_at) if floor <= now else observed.edited_at
    return floor


def _suspended_until(observed: ScheduleObserved, spec: RetrainScheduleSpec, now: datetime) -> datetime | None:
    """Ticks up to here found the schedule suspended. Nothing wakes it meanwhile: they are told when it is resumed."""
    if spec.suspend:
        return now
    before = find(observed.status.conditions, READY)
    if before is None or before.reason != reasons.SUSPENDED:
        return None
    return min(observed.suspend_edited_at or now, now)


def _ready(planned: _Plan, blocked: str | None) -> tuple[bool, str, str]:
    if (held := _held(planned.spec, planned.pause)) is not None:
        return True, reasons.SUSPENDED if planned.spec.suspend else reasons.PAUSED, held
    if blocked is not None:
        return False, reasons.CREATE_FAILED, blocked
    return True, reasons.SCHEDULING, "the schedule is accepted"


def _refused(observed: ScheduleObserved, problem: InvalidSpec, counted: Account, changes: dict[str, object], now: datetime) -> Decision:
    """Nothing starts and no tick is taken, but the runs that exist are still accounted for, and pruned where the limits can be read."""
    status = _status(observed, counted, now, ready=(False, problem.reason, problem.message), planned=None).model_copy(update=changes)
    spec, nothing = observed.spec, Pruning((), None)
    pruning = nothing if isinstance(spec, InvalidSpec) else prunable(spec, observed.metadata, observed.runs, now, observed.in_slots)
    before = find(observed.status.conditions, READY)
    known = before is not None and (before.reason, before.message) == (problem.reason, problem.message)
    events = () if known else (Event("Warning", problem.reason, problem.message),)
    writes, prunes = _write(observed.status, status), _prunes(observed, pruning)
    return Decision(actions=(*writes, *prunes), events=events, wake_at=pruning.wake_at)


def _prunes(observed: ScheduleObserved, pruning: Pruning) -> tuple[DeleteRun, ...]:
    return tuple(DeleteRun(Key(observed.metadata.namespace, run.name), run.uid) for run in pruning.runs)


def _status(
    observed: ScheduleObserved, counted: Account, now: datetime, *, ready: tuple[bool, str, str], planned: _Plan | None
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
    if (paused := planned.pause.condition if planned else find(old.conditions, PAUSED)) is not None:
        conditions.append(paused)
    if (drift := planned.drift.condition if planned else find(old.conditions, DRIFT_DETECTED)) is not None:
        conditions.append(drift)
    active = {run.name for run in _own(observed) if not run.is_finished}
    changes: dict[str, object] = {
        "observed_generation": generation,
        "conditions": conditions,
        "last_successful_time": counted.last_successful_time,
        "last_failure_time": counted.last_failure_time,
        "consecutive_failures": planned.pause.failures if planned else counted.consecutive_failures,
        "last_trained": counted.last_trained,
        "next_schedule_time": None,
    }
    if planned is not None:
        active |= {tick_run_name(observed.metadata.name, start.tick) for start in planned.ticks.starts}
        active |= {made.name for made in (planned.request.made, planned.drift.made) if made}
        changes |= _planned_changes(old, planned, now)
    changes["active"] = [ActiveRun(name=name) for name in sorted(active)]
    return old.model_copy(update=changes)


def _planned_changes(old: RetrainScheduleStatus, planned: _Plan, now: datetime) -> dict[str, object]:
    ticks, request = planned.ticks, planned.request
    changes: dict[str, object] = {
        "effective_schedule": planned.effective or None,
        "next_schedule_time": planned.next_tick,
        # Written also when no tick is due: an edit moves it, and the next look knows of the edit only by this.
        "decided_through": ticks.decided_through,
        "last_request": request.last,
        "last_handled_requested_at": request.handled,
        "recommendation": _recommendation(None if old.last_evaluation else old.recommendation, planned, now)
        if planned.spec.dry_run
        else None,
        **planned.drift.changes,
    }
    if ticks.last is not None and not ticks.last.is_same(old.last_decision):
        changes["last_decision"] = ticks.last
    if ticks.last_run is not None:
        changes["last_schedule_time"] = ticks.last_run.scheduled_time
    if skipped := [*request.skipped, *ticks.skipped]:
        changes["recent_decisions"] = [*skipped, *old.recent_decisions][:RECENT_DECISIONS_MAX]
    return changes


def _recommendation(old: Recommendation | None, planned: _Plan, now: datetime) -> Recommendation | None:
    """Of a dry run, from what was decided last."""
    newest = next(iter((*planned.request.skipped, *planned.ticks.skipped)), None)
    if newest is None:
        return old
    if newest.reason != reasons.DRY_RUN:
        return Recommendation(action=RecommendedAction.NONE, reasons=[newest.reason], evaluated_at=now)
    why = reasons.SCHEDULED if newest.requested_at is None else reasons.REQUESTED
    return Recommendation(action=RecommendedAction.RECOMMENDED, reasons=[why], evaluated_at=now, job=newest.job)


def _write(old: RetrainScheduleStatus, new: RetrainScheduleStatus) -> tuple[WriteStatus, ...]:
    return () if old == new else (WriteStatus(new.to_json()),)


def _fates(old: RetrainScheduleStatus, planned: _Plan) -> tuple[TickDecision, ...]:
    ticks = planned.ticks
    waits = ticks.last is not None and ticks.last.action is Action.WAIT and not ticks.last.is_same(old.last_decision)
    return (*([ticks.last] if waits and ticks.last else []), *ticks.fates)


def _events(observed: ScheduleObserved, planned: _Plan) -> tuple[Event, ...]:
    old, request = observed.status, planned.request
    told = [*reversed(request.fates)]
    if request.last is not None and request.last.action is Action.WAIT and request.last is not old.last_request:
        told.append(request.last)
    return (
        *([planned.pause.event] if planned.pause.event else []),
        *(event_of(each, _who_asked(observed, each)) for each in told),
        *events_of_ticks(planned.spec, planned.ticks, old.last_decision),
        *planned.drift.events,
    )


def _who_asked(observed: ScheduleObserved, request: TickDecision) -> str | None:
    """Of the token that stands there now; who wrote an earlier one is not known any more."""
    is_current = request.requested_at == observed.metadata.annotations.get(ANNOTATION_REQUESTED_AT)
    return observed.asked_by.get(ANNOTATION_REQUESTED_AT) if is_current else None
