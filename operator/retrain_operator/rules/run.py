"""RetrainJob: everything that is decided about one run at one moment."""

from dataclasses import replace
from datetime import datetime, timedelta

from retrain_operator import manifests
from retrain_operator.api.contract import Outcome
from retrain_operator.api.job import Phase, RetrainJobSpec, RetrainJobStatus, RunError, RunSummary
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules import reasons
from retrain_operator.rules.conditions import condition, find
from retrain_operator.rules.decision import CreateJob, Decision, Event, WriteStatus
from retrain_operator.rules.observed import RunObserved
from retrain_operator.rules.outcome import RunEnd, run_end

READY = "Ready"
STALLED = "Stalled"
_SUMMARY_METRICS = 2  # as many as fit into a column of kubectl get


def decide(observed: RunObserved, now: datetime) -> Decision:
    """What to do about a run. `now` is aware UTC with whole seconds, as every time of the API."""
    metadata, status = observed.metadata, observed.status
    if metadata.deletion_timestamp is not None:
        return Decision()
    if status.phase.is_finished:
        # Final, whatever became of its Job; only an edit of spec.suspend is still acknowledged.
        return _write(observed, status.model_copy(update={"observed_generation": metadata.generation}))
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
    if job.end is not None:
        return _finish(observed, run_end(job, observed.pod, observed.spec, manifests.run_id(metadata)), now)
    if job.deleted:
        return _finish(observed, _job_deleted(job.name), now)
    if job.suspended:
        message = "its Job is suspended and waits for admission by a queue"
        return _write(observed, _going(observed, Phase.PENDING, reasons.QUEUED, message, now))
    if job.ready > 0:
        return _write(observed, _going(observed, Phase.RUNNING, reasons.RUNNING, "its pod runs", now))
    ready = find(observed.status.conditions, READY)
    if ready is not None and ready.reason in (reasons.QUEUED, reasons.SUSPENDED):
        return _write(observed, _going(observed, Phase.PENDING, reasons.PENDING, "its Job waits for its pod to run", now))
    return Decision()  # the default status says Pending already; a write for it would tell nothing


def _without_job(observed: RunObserved, spec: RetrainJobSpec, now: datetime) -> Decision:
    if observed.status.job_name is not None:
        return _finish(observed, _job_deleted(observed.status.job_name), now)
    if observed.refused is not None:
        return _finish(observed, _refusal(reasons.JOB_REFUSED, observed.refused), now)
    if spec.suspend:
        return _write(observed, _going(observed, Phase.PENDING, reasons.SUSPENDED, "spec.suspend holds the run", now))
    try:
        return Decision(actions=(CreateJob(manifests.job(observed.metadata, spec)),))
    except InvalidSpec as problem:
        return _finish(observed, _refusal(problem.reason, problem.message), now)


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
        "attempt": 1,
    }
    if job is not None:
        changes |= {"job_name": job.name, "start_time": old.start_time or job.start_time}
    return old.model_copy(update=changes)


def _finish(observed: RunObserved, end: RunEnd, now: datetime) -> Decision:
    """The final status, and the one event that tells of it."""
    old, generation, job = observed.status, observed.metadata.generation, observed.job
    started = old.start_time or (job.start_time if job else None)
    completed = (job.end_time if job else None) or now
    duration = completed - started if started is not None else None
    reason = end.error.reason if end.error else end.phase.value
    message = end.error.message if end.error else _success_message(end)
    failed = end.phase is Phase.FAILED
    conditions = [condition(old.conditions, READY, not failed, reason, message, generation=generation, now=now)]
    if failed:
        conditions.append(condition(old.conditions, STALLED, True, reason, message, generation=generation, now=now))
    artifact = end.result.artifact if end.result else None
    status = old.model_copy(
        update={
            "observed_generation": generation,
            "phase": end.phase,
            "conditions": conditions,
            "start_time": started,
            "completion_time": completed,
            "job_name": job.name if job else old.job_name,
            "attempt": 1,
            "result": end.result,
            "error": end.error,
            "summary": RunSummary(
                result=_summary(end),
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
