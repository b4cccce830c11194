"""The status that a run is brought to, and the one event that tells of a change."""

from dataclasses import replace
from datetime import datetime, timedelta

from retrain_operator.api.contract import Outcome
from retrain_operator.api.deploy import DeploymentState, DeploymentStatus
from retrain_operator.api.job import DuplicateGuard, Phase, RetrainJobStatus, RunSummary
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules import reasons
from retrain_operator.rules.conditions import condition, find
from retrain_operator.rules.decision import Decision, Event, WriteStatus
from retrain_operator.rules.observed import RunObserved
from retrain_operator.rules.outcome import RunEnd
from retrain_operator.rules.retry import next_attempt

READY = "Ready"
STALLED = "Stalled"
DEPLOYED = "Deployed"
_SUMMARY_METRICS = 2  # as many as fit into a column of kubectl get


def going(observed: RunObserved, phase: Phase, reason: str, message: str, now: datetime) -> RetrainJobStatus:
    """Status of a run that is not finished."""
    old, generation, job = observed.status, observed.metadata.generation, observed.job
    changes: dict[str, object] = {
        "observed_generation": generation,
        "phase": phase,
        "conditions": [condition(old.conditions, READY, False, reason, message, generation=generation, now=now)],
        "attempt": _attempt(observed),
    }
    if phase is not Phase.RUNNING:
        changes |= {"progress": None, "summary": RunSummary(result=reason) if reason != reasons.PENDING else None}
    elif old.phase is not Phase.RUNNING:
        changes["summary"] = None  # what it waited for
    if job is not None:
        changes |= {"job_name": job.name, "start_time": old.start_time or job.start_time}
    return old.model_copy(update=changes)


def finish(observed: RunObserved, end: RunEnd, now: datetime, *, guard: DuplicateGuard | None = None) -> Decision:
    """The final status. `guard`: what kept the run from starting."""
    old, generation, job = observed.status, observed.metadata.generation, observed.job
    before = find(old.conditions, READY)
    if end.error and end.error.reason == reasons.DEADLINE_EXCEEDED and before and before.reason == reasons.POD_NOT_RUNNING:
        # A deadline that is over says nothing of an image that could not be pulled.
        message = f"{end.error.message}; until then: {before.message}"
        end = replace(end, error=end.error.model_copy(update={"message": message}))
    started = old.start_time or (job.start_time if job else None)
    completed = (job.end_time if job else None) or now
    duration = completed - started if started is not None else None
    reason = end.error.reason if end.error else end.phase.value
    message = end.error.message if end.error else _success_message(end)
    if guard is not None:
        reason, message = reasons.DUPLICATE_GUARD, f"RetrainJob {guard.held_by} of {guard.key} has not finished"
    failed = end.phase is Phase.FAILED
    conditions = [condition(old.conditions, READY, not failed, reason, message, generation=generation, now=now)]
    if failed:
        conditions.append(condition(old.conditions, STALLED, True, reason, message, generation=generation, now=now))
    following = None
    if end.error is not None and not isinstance(observed.spec, InvalidSpec):
        following = next_attempt(observed.metadata, observed.spec, end.error, completed)
    artifact = end.result.artifact if end.result else None
    deployment = None
    if artifact is not None and not failed and not isinstance(observed.spec, InvalidSpec) and observed.spec.deploy is not None:
        # In this same write, so that a crash before the model goes live is found by whoever comes next.
        deployment = DeploymentStatus(slot=observed.spec.deploy.slot, state=DeploymentState.PENDING, time=now)
        told = "the model is trained, and it is being decided whether it goes live"
        conditions.append(condition(old.conditions, DEPLOYED, None, reasons.DEPLOYING, told, generation=generation, now=now))
    status = old.model_copy(
        update={
            "observed_generation": generation,
            "phase": end.phase,
            "conditions": conditions,
            "start_time": started,
            "completion_time": completed,
            "job_name": job.name if job else old.job_name,
            "attempt": _attempt(observed),
            "progress": None,
            "result": end.result,
            "error": end.error,
            "next_attempt": following,
            "stopping": None,
            "duplicate_guard": guard or old.duplicate_guard,
            "deployment": deployment,
            # In this same write, so that a crash before anybody is told is found by whoever comes next.
            "notified": False if not isinstance(observed.spec, InvalidSpec) and observed.spec.notify else None,
            "summary": RunSummary(
                result=reason if guard is not None else _summary(end),
                model=artifact.sha256[:12] if artifact else None,
                duration=format_duration(duration) if duration is not None else None,
            ),
        }
    )
    event = Event("Warning" if failed else "Normal", f"Run{end.phase.value}", f"{reason}: {message}" if failed else message)
    return write(observed, status, event)


def write(observed: RunObserved, status: RetrainJobStatus, event: Event | None = None) -> Decision:
    """Bring the run's status to this; nothing when it is there already. A transition is told once, by `event` or as Ready says it."""
    if status == observed.status:
        return Decision()
    told = event or _transition(observed.status, status)
    events = () if told is None else (replace(told, details={**_details(observed, status), **told.details}),)
    return Decision(actions=(WriteStatus(status.to_json()),), events=events)


def _transition(old: RetrainJobStatus, new: RetrainJobStatus) -> Event | None:
    """Told of a run that goes on, or waits for something else than before."""
    before, ready = find(old.conditions, READY), find(new.conditions, READY)
    if ready is None or (old.phase, before.reason if before else None) == (new.phase, ready.reason):
        return None
    if new.phase is Phase.RUNNING and old.phase is not Phase.RUNNING:
        return Event("Normal", reasons.RUN_STARTED, f"Job {new.job_name} runs")
    return Event("Warning" if ready.reason == reasons.POD_NOT_RUNNING else "Normal", ready.reason, ready.message)


def _details(observed: RunObserved, status: RetrainJobStatus) -> dict[str, object]:
    """Of every event of a run."""
    spec, old = observed.spec, observed.status
    known = origin(observed) if isinstance(spec, InvalidSpec) else {"trigger": spec.trigger, "attempt": spec.attempt, **origin(observed)}
    return known if status.phase is old.phase else {**known, "phaseBefore": old.phase, "phase": status.phase}


def origin(observed: RunObserved) -> dict[str, object]:
    """Who made the run, where that is known. What the operator made, it tells of on what it was made for."""
    return {"createdBy": observed.created_by} if observed.created_by else {}


def _attempt(observed: RunObserved) -> int:
    return 1 if isinstance(observed.spec, InvalidSpec) else observed.spec.attempt


def _success_message(end: RunEnd) -> str:
    artifact = end.result.artifact if end.result else None
    return f"{_summary(end)}; artifact {artifact.uri} sha256 {artifact.sha256}" if artifact else _summary(end)


def _summary(end: RunEnd) -> str:
    """The outcome in a few words."""
    if end.error is not None:
        return end.error.reason
    result = end.result
    if result is None:
        return end.phase.value
    if result.outcome is Outcome.SKIPPED:
        return result.reason or end.phase.value
    if result.outcome is Outcome.SIMULATED:
        rows = result.data.rows if result.data else None
        return f"simulated, {rows} rows" if rows is not None else "simulated"
    metrics = [(name, value) for name, value in result.metrics.items() if value is not None]
    return " ".join(f"{name}={value:.4g}" for name, value in metrics[:_SUMMARY_METRICS]) or "trained"


def format_duration(duration: timedelta) -> str:
    """Like kubectl: 41s, 3m12s, 2h05m."""
    seconds = max(0, int(duration.total_seconds()))
    minutes, hours = seconds // 60, seconds // 3600
    if hours:
        return f"{hours}h{minutes % 60:02d}m"
    return f"{minutes}m{seconds % 60:02d}s" if minutes else f"{seconds}s"
