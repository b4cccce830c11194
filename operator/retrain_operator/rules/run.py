"""RetrainJob: everything that is decided about one run at one moment."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.contract import Outcome
from retrain_operator.api.job import DuplicateGuard, Phase, RetrainJobSpec, RetrainJobStatus, RunError, RunSummary, Stopping
from retrain_operator.api.names import Key
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.common import run_id
from retrain_operator.manifests.guard import guard_key, guard_label, guard_lease
from retrain_operator.manifests.jobs import job as job_of
from retrain_operator.manifests.runs import retry_run
from retrain_operator.rules import reasons
from retrain_operator.rules.conditions import condition, find
from retrain_operator.rules.decision import CreateJob, CreateRun, Decision, DeleteJob, DeleteRun, Event, TakeGuard, WriteStatus
from retrain_operator.rules.observed import GuardState, JobState, RunObserved
from retrain_operator.rules.outcome import RunEnd, run_end
from retrain_operator.rules.retry import next_attempt

READY = "Ready"
STALLED = "Stalled"
GUARD_RECHECK = timedelta(seconds=1)  # the garbage collector takes about that long
_SUMMARY_METRICS = 2  # as many as fit into a column of kubectl get


def decide(observed: RunObserved, now: datetime) -> Decision:
    """What to do about a run. `now` is aware UTC with whole seconds, as every time of the API."""
    metadata, status = observed.metadata, observed.status
    if metadata.deletion_timestamp is not None:
        return Decision()
    if status.phase.is_finished:
        return _after_the_end(observed, now)
    if isinstance(observed.spec, InvalidSpec):
        return _finish(observed, _refusal(observed.spec.reason, observed.spec.message), now)
    job = observed.job
    if job is None:
        return _without_job(observed, observed.spec, now)
    if job.owner_uid != metadata.uid and job.owner_run == metadata.name:
        # Its owner was an earlier RetrainJob of this name and is gone, so the garbage collector deletes it; the name is free then.
        return _without_job(replace(observed, job=None), observed.spec, now) if job.deleted else Decision()
    if job.owner_uid != metadata.uid:
        message = f"Job {job.name} exists and belongs to something else: delete it, or give the run another name"
        return _finish(replace(observed, job=None), _refusal(reasons.NAME_TAKEN, message), now)
    if status.stopping is not None and (job.end is not None or job.deleted):
        return _finish(observed, _stopped(status.stopping), now)
    if job.end is not None:
        return _finish(observed, run_end(job, observed.pod, observed.spec, run_id(metadata)), now)
    if job.deleted:
        return _finish(observed, _job_deleted(job.name), now)
    if status.stopping is not None or (stopping := _reason_to_stop(observed)) is not None:
        return _stop(observed, job, status.stopping or stopping, now)
    if job.suspended:
        message = "its Job is suspended and waits for admission by a queue"
        return _write(observed, _going(observed, Phase.PENDING, reasons.QUEUED, message, now))
    if job.ready > 0:
        return _write(observed, _going(observed, Phase.RUNNING, reasons.RUNNING, "its pod runs", now))
    ready = find(observed.status.conditions, READY)
    if ready is not None and ready.reason in (reasons.QUEUED, reasons.SUSPENDED):
        return _write(observed, _going(observed, Phase.PENDING, reasons.PENDING, "its Job waits for its pod to run", now))
    # The default status says Pending already; a write for it would tell nothing.
    return Decision(wake_at=_pending_until(observed.spec, job))


def _without_job(observed: RunObserved, spec: RetrainJobSpec, now: datetime) -> Decision:
    if observed.status.stopping is not None:
        return _finish(observed, _stopped(observed.status.stopping), now)
    if observed.status.job_name is not None:
        return _finish(observed, _job_deleted(observed.status.job_name), now)
    if observed.replaced_by is not None:
        return _finish(observed, _stopped(_replaced(observed.replaced_by)), now)
    if observed.refused is not None:
        return _finish(observed, _refusal(reasons.JOB_REFUSED, observed.refused), now)
    if spec.suspend:
        return _write(observed, _going(observed, Phase.PENDING, reasons.SUSPENDED, "spec.suspend holds the run", now))
    if observed.waits_for is not None:
        message = f"RetrainJob {observed.waits_for}, which it replaces, is being ended"
        return _write(observed, _going(observed, Phase.PENDING, reasons.REPLACING, message, now))
    return _start(observed, spec, now)


def _start(observed: RunObserved, spec: RetrainJobSpec, now: datetime) -> Decision:
    """Take the guard, then make the Job. Whoever has the guard and dies before the Job is made still has it afterwards."""
    metadata, guard = observed.metadata, observed.guard
    key = guard_key(metadata, spec)
    label = guard_label(key) if key is not None else None
    if key is not None and guard.state is GuardState.HELD:
        return _finish(observed, RunEnd(Phase.SKIPPED), now, guard=DuplicateGuard(key=key, triggered=True, held_by=guard.holder))
    if key is not None and guard.state is GuardState.ENDING:
        message = f"the Job of RetrainJob {guard.holder}, which is gone, is not gone yet"
        return replace(_write(observed, _going(observed, Phase.PENDING, reasons.GUARD_ENDING, message, now)), wake_at=now + GUARD_RECHECK)
    try:
        create = CreateJob(job_of(metadata, spec, label))
    except InvalidSpec as problem:
        return _finish(observed, _refusal(problem.reason, problem.message), now)
    if key is None or guard.state is GuardState.OWN:
        return Decision(actions=(create,))
    lease = guard_lease(metadata, spec, key, version=guard.version, uid=guard.uid)
    return Decision(actions=(TakeGuard(lease), create))


def _after_the_end(observed: RunObserved, now: datetime) -> Decision:
    """A finished run is final, whatever became of its Job. What is left: its next attempt, its time to live, an edit of spec.suspend."""
    metadata, status, spec = observed.metadata, observed.status, observed.spec
    acknowledged = status.model_copy(update={"observed_generation": metadata.generation})
    following = status.next_attempt
    if following is None or following.made or isinstance(spec, InvalidSpec):
        return replace(_write(observed, acknowledged), **_expiry(observed, now))
    made = acknowledged.model_copy(update={"next_attempt": following.model_copy(update={"made": True})})
    if observed.next_made:
        return _write(observed, made)
    if spec.suspend:
        return _write(observed, acknowledged)  # held; released, it goes on
    if now < following.time:
        return replace(_write(observed, acknowledged), wake_at=following.time)
    event = Event("Normal", reasons.RETRY_CREATED, f"made RetrainJob {following.job}, attempt {spec.attempt + 1}")
    create = CreateRun(retry_run(metadata, spec, following.job))
    return Decision(actions=(create, WriteStatus(made.to_json())), events=(event,))


def _expiry(observed: RunObserved, now: datetime) -> dict[str, Any]:
    """The end of its time to live. A schedule ends its own runs, because it must have counted them first."""
    spec, completed = observed.spec, observed.status.completion_time
    if isinstance(spec, InvalidSpec) or spec.ttl_seconds_after_finished is None or completed is None or _has_schedule(observed.metadata):
        return {}
    expires = completed + timedelta(seconds=spec.ttl_seconds_after_finished)
    if now < expires:
        return {"wake_at": expires}
    return {"actions": (DeleteRun(observed.metadata.key, observed.metadata.uid),)}


def _has_schedule(metadata: ObjectMeta) -> bool:
    return any(each.get("kind") == "RetrainSchedule" for each in metadata.owner_references)


def _reason_to_stop(observed: RunObserved) -> Stopping | None:
    if observed.replaced_by is not None:
        return _replaced(observed.replaced_by)
    if observed.stuck is not None:
        return Stopping(reason=reasons.PENDING_DEADLINE_EXCEEDED, message=f"its pod did not run within its deadline: {observed.stuck}")
    return None


def _replaced(by: str) -> Stopping:
    return Stopping(reason=reasons.REPLACED, message=f"RetrainJob {by} replaces it")


def _stop(observed: RunObserved, job: JobState, stopping: Stopping | None, now: datetime) -> Decision:
    """End the Job. The reason is written first: a crash between the two must not read as a Job that somebody deleted."""
    assert stopping is not None
    status = _going(observed, observed.status.phase, reasons.STOPPING, stopping.message, now)
    written = _write(observed, status.model_copy(update={"stopping": stopping}))
    delete = () if job.deleting else (DeleteJob(Key(observed.metadata.namespace, job.name), job.uid),)
    return replace(written, actions=(*written.actions, *delete))


def _stopped(stopping: Stopping) -> RunEnd:
    return RunEnd(Phase.FAILED, error=RunError(reason=stopping.reason, message=stopping.message, retryable=False))


def _pending_until(spec: RetrainJobSpec, job: JobState) -> datetime | None:
    """When a pod that does not run is looked at. Time in a queue does not count: a suspended Job has no start."""
    if spec.pending_deadline_seconds is None or job.start_time is None:
        return None
    return job.start_time + timedelta(seconds=spec.pending_deadline_seconds)


def is_overdue(status: RetrainJobStatus, spec: RetrainJobSpec, job: JobState, now: datetime) -> bool:
    """Whether it must be found out why the pod does not run."""
    until = _pending_until(spec, job)
    return until is not None and now >= until and status.phase is Phase.PENDING and job.ready == 0 and job.end is None


def _job_deleted(name: str) -> RunEnd:
    message = f"Job {name} was deleted before it finished; a run is never started twice, so create another RetrainJob"
    return RunEnd(Phase.FAILED, error=RunError(reason=reasons.JOB_DELETED, message=message, retryable=False))


def _refusal(reason: str, message: str) -> RunEnd:
    return RunEnd(Phase.FAILED, error=RunError(reason=reason, message=message, retryable=False))


def _going(observed: RunObserved, phase: Phase, reason: str, message: str, now: datetime) -> RetrainJobStatus:
    """Status of a run that is not finished."""
    old, generation, job = observed.status, observed.metadata.generation, observed.job
    changes: dict[str, object] = {
        "observed_generation": generation,
        "phase": phase,
        "conditions": [condition(old.conditions, READY, False, reason, message, generation=generation, now=now)],
        "attempt": _attempt(observed),
    }
    if job is not None:
        changes |= {"job_name": job.name, "start_time": old.start_time or job.start_time}
    return old.model_copy(update=changes)


def _attempt(observed: RunObserved) -> int:
    return 1 if isinstance(observed.spec, InvalidSpec) else observed.spec.attempt


def _finish(observed: RunObserved, end: RunEnd, now: datetime, *, guard: DuplicateGuard | None = None) -> Decision:
    """The final status, and the one event that tells of it."""
    old, generation, job = observed.status, observed.metadata.generation, observed.job
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
    status = old.model_copy(
        update={
            "observed_generation": generation,
            "phase": end.phase,
            "conditions": conditions,
            "start_time": started,
            "completion_time": completed,
            "job_name": job.name if job else old.job_name,
            "attempt": _attempt(observed),
            "result": end.result,
            "error": end.error,
            "next_attempt": following,
            "stopping": None,
            "duplicate_guard": guard or old.duplicate_guard,
            "summary": RunSummary(
                result=reason if guard is not None else _summary(end),
                model=artifact.sha256[:12] if artifact else None,
                duration=format_duration(duration) if duration is not None else None,
            ),
        }
    )
    event = Event("Warning" if failed else "Normal", f"Run{end.phase.value}", f"{reason}: {message}" if failed else message)
    return _write(observed, status, event)


def _write(observed: RunObserved, status: RetrainJobStatus, event: Event | None = None) -> Decision:
    if status == observed.status:
        return Decision()
    if event is None and status.phase is not observed.status.phase and status.phase is Phase.RUNNING:
        event = Event("Normal", "RunStarted", f"Job {status.job_name} runs")
    return Decision(actions=(WriteStatus(status.to_json()),), events=(event,) if event else ())


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
