"""The drift policy: when it is evaluated, and what follows from its signals.

Evaluations happen on a grid of intervalSeconds since the epoch, shifted by a hash of the schedule's name to spread load. The instant on
the grid names the run, so that a restart in the middle of an evaluation, or a second operator, cannot make another one. What was missed in
an outage is not made up for: the next evaluation sees the world as it is then.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from retrain_operator.api.base import Condition, ObjectMeta, format_time
from retrain_operator.api.job import Trigger
from retrain_operator.api.policy import DriftRun, Policy, PolicyMode, Recommendation, RecommendedAction
from retrain_operator.api.schedule import Action, LastTrained, RetrainScheduleSpec, RetrainScheduleStatus
from retrain_operator.manifests.runs import Snapshot, drift_run_name
from retrain_operator.rules import reasons
from retrain_operator.rules.concurrency import about_to_be_made, for_request, unfinished
from retrain_operator.rules.conditions import condition, find
from retrain_operator.rules.decision import Event
from retrain_operator.rules.observed import ChildRun, Readings
from retrain_operator.rules.signals import Judged, judge, recall

DRIFT_DETECTED = "DriftDetected"
DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class DriftPlan:
    """What becomes of the drift policy at one look."""

    condition: Condition | None = None
    changes: Mapping[str, object] = field(default_factory=dict)  # of the schedule's status
    made: ChildRun | None = None  # the run that it needs, as it will be
    slot: datetime | None = None  # evaluation that it is made for
    why: Snapshot | None = None
    events: tuple[Event, ...] = ()
    wake_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Verdict:
    action: RecommendedAction
    job: str | None = None
    note: str | None = None  # why nothing is made although signals fire
    replaces: str | None = None
    starts: bool = False


def due_slot(policy: Policy, schedule: ObjectMeta, last: datetime | None, now: datetime) -> datetime | None:
    """The evaluation that is due, whole seconds, UTC. None when the newest on the grid was made: `last`."""
    slot = _slot(policy, schedule, now)
    return slot if is_due(policy, slot, last, now) else None


def is_due(policy: Policy, slot: datetime, last: datetime | None, now: datetime) -> bool:
    """Whether the evaluation was not made yet."""
    # One far in the future was made by a clock that went wrong; by a little, it is another operator's clock.
    return last is None or slot > last or last > now + timedelta(seconds=policy.interval_seconds)


def plan_drift(
    status: RetrainScheduleStatus,
    schedule: ObjectMeta,
    spec: RetrainScheduleSpec,
    runs: Sequence[ChildRun],
    last_trained: LastTrained | None,
    readings: Readings | None,
    *,
    held: str | None,
    now: datetime,
) -> DriftPlan:
    """`held`: why automatic starts are held. `runs`: with those that this look makes for other reasons."""
    policy = spec.policy
    if policy is None:  # the times of its runs stay: a policy that comes back is bound by them
        return DriftPlan(changes={"last_evaluation": None, "signals": []})
    made_before = _made_by_drift(status, schedule, runs)
    next_slot = _slot(policy, schedule, now) + timedelta(seconds=policy.interval_seconds)
    if readings is None or not is_due(policy, readings.slot, status.last_evaluation, now):
        # Noted at once: the record of a run that a crash kept from being noted may be pruned before the next evaluation.
        kept = {"recommendation": status.recommendation, "drift_runs": made_before}
        return DriftPlan(find(status.conditions, DRIFT_DETECTED), kept, wake_at=next_slot)
    judged = judge(policy, schedule, status.signals, last_trained, readings)
    verdict = _verdict(spec, policy, schedule, runs, judged, made_before, readings.slot, held, now)
    made = about_to_be_made(schedule, verdict.job, now, verdict.replaces) if verdict.starts and verdict.job else None
    told = condition(status.conditions, DRIFT_DETECTED, *_condition_of(judged), generation=schedule.generation, now=now)
    recommendation = Recommendation(
        action=verdict.action,
        reasons=[*judged.reasons, *([verdict.note] if verdict.note else [])],
        metrics=dict(judged.metrics),
        thresholds=dict(judged.thresholds),
        evaluated_at=readings.slot,
        job=verdict.job,
    )
    changes = {
        "recommendation": recommendation,
        "last_evaluation": readings.slot,
        "signals": list(judged.states),
        "drift_runs": _remembered([*([DriftRun(name=made.name, time=now)] if made else []), *made_before], now),
    }
    why = Snapshot(list(judged.reasons), judged.metrics, judged.thresholds)
    events = _events(status, policy, judged, told, verdict)
    return DriftPlan(told, changes, made, readings.slot if made else None, why if made else None, events, next_slot)


def _slot(policy: Policy, schedule: ObjectMeta, now: datetime) -> datetime:
    """The newest instant of the grid."""
    interval_s = policy.interval_seconds
    shift_s = int.from_bytes(sha256(str(schedule.key).encode()).digest()[:8]) % interval_s
    return datetime.fromtimestamp((int(now.timestamp()) - shift_s) // interval_s * interval_s + shift_s, UTC)


def _made_by_drift(status: RetrainScheduleStatus, schedule: ObjectMeta, runs: Sequence[ChildRun]) -> list[DriftRun]:
    """Runs that drift made, newest first: those that were noted, which may be deleted by now, and those that nobody has noted yet."""
    known = {run.name: run for run in status.drift_runs}
    for run in runs:
        if run.name not in known and run.owner_uid == schedule.uid and _is_by_drift(schedule, run, with_retries=False):
            known[run.name] = DriftRun(name=run.name, time=run.created)
    return sorted(known.values(), key=lambda run: (run.time, run.name), reverse=True)


def _remembered(newest_first: Sequence[DriftRun], now: datetime) -> list[DriftRun]:
    """What limits can still ask for: the last run, and those of a day."""
    return [*newest_first[:1], *(run for run in newest_first[1:] if run.time > now - DAY)]


def _is_by_drift(schedule: ObjectMeta, run: ChildRun, *, with_retries: bool) -> bool:
    pattern = rf"{re.escape(schedule.name)}-d\d+" + (r"(-r\d+)?" if with_retries else "")
    return re.fullmatch(pattern, run.name) is not None


def _verdict(
    spec: RetrainScheduleSpec,
    policy: Policy,
    schedule: ObjectMeta,
    runs: Sequence[ChildRun],
    judged: Judged,
    made_before: Sequence[DriftRun],
    slot: datetime,
    held: str | None,
    now: datetime,
) -> _Verdict:
    name = drift_run_name(schedule.name, slot)
    if any(run.name == name for run in made_before):
        # Made at this evaluation: by a look that could not tell of it, or before the policy went and came back.
        return _Verdict(RecommendedAction.QUEUED_RETRAIN, name)
    if not judged.reasons:
        return _Verdict(RecommendedAction.NONE)
    # Drift does not start or replace a run because of what an unfinished one of its own is about to mend, whatever concurrencyPolicy says.
    under_way = next((run for run in unfinished(schedule, runs) if _is_by_drift(schedule, run, with_retries=True)), None)
    verdict = for_request(spec.concurrency_policy, schedule, runs)
    if under_way is not None or verdict.action is Action.WAIT:
        return _Verdict(RecommendedAction.ALREADY_QUEUED, under_way.name if under_way else verdict.run)
    if policy.mode is PolicyMode.RECOMMEND or spec.dry_run:
        return _Verdict(RecommendedAction.RECOMMENDED)
    if (cooling := _cooling(policy, made_before, now)) is not None:
        return _Verdict(RecommendedAction.COOLDOWN, note=cooling)
    if held is not None:
        return _Verdict(RecommendedAction.RECOMMENDED, note=f"no run is made: {held}")
    if any(run.name == name for run in runs):
        return _Verdict(RecommendedAction.RECOMMENDED, note=f"no run is made: the name {name} belongs to another RetrainJob")
    return _Verdict(RecommendedAction.QUEUED_RETRAIN, name, replaces=verdict.run, starts=True)


def _cooling(policy: Policy, made_before: Sequence[DriftRun], now: datetime) -> str | None:
    """Why limits forbid another run now."""
    if not made_before:
        return None
    cools_until = made_before[0].time + timedelta(seconds=policy.cooldown_seconds)
    if now < cools_until:
        return f"cooldownSeconds: RetrainJob {made_before[0].name} was made at {format_time(made_before[0].time)}"
    today = [run for run in made_before if run.time > now - DAY]
    if len(today) >= policy.max_runs_per_day:
        return f"maxRunsPerDay: {len(today)} runs were made since {format_time(today[-1].time)}"
    return None


def _condition_of(judged: Judged) -> tuple[bool | None, str, str]:
    unreadable = [f"{state.name} cannot be read: {state.message}" for state in judged.unreadable]
    if judged.reasons:
        return True, reasons.DRIFTED, "; ".join((*judged.reasons, *unreadable))
    if unreadable:
        return None, reasons.SIGNAL_UNREADABLE, "; ".join(unreadable)
    return False, reasons.NO_DRIFT, "no signal fires"


def _events(status: RetrainScheduleStatus, policy: Policy, judged: Judged, told: Condition, verdict: _Verdict) -> tuple[Event, ...]:
    """Of what changed, and not of what goes on."""
    before = find(status.conditions, DRIFT_DETECTED)
    was = before.status if before else None
    known = {state.name: state for state in status.signals}
    events = []
    for signal, state in zip(policy.signals, judged.states, strict=True):
        old = recall(known, signal)
        if not state.readable and (old is None or old.readable):
            events.append(Event("Warning", reasons.SIGNAL_UNREADABLE, f"signal {state.name} cannot be read: {state.message}"))
        elif state.readable and old is not None and not old.readable:
            events.append(Event("Normal", reasons.SIGNAL_READABLE, f"signal {state.name} can be read again: {state.value:.6g}"))
    if told.status == "True" and was != "True":
        events.append(Event("Warning", reasons.DRIFTED, told.message))
    elif told.status == "False" and was == "True":
        events.append(Event("Normal", reasons.NO_DRIFT, told.message))
    if verdict.action is RecommendedAction.QUEUED_RETRAIN:
        why = "; ".join(judged.reasons) or "the signals have changed since"
        details = {"job": verdict.job, "trigger": Trigger.DRIFT, "driftReasons": list(judged.reasons)}
        events.append(Event("Normal", reasons.RUN_CREATED, f"drift made RetrainJob {verdict.job}: {why}", details))
    return tuple(events)
