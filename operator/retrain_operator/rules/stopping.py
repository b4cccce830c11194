"""Ending a run before its time: because another replaces it, because its pod does not run, or because its spec can no longer be read.

The reason is written first, then the Job is deleted, and the run has finished when the Job is gone and its last pod has ended.
"""

from dataclasses import replace
from datetime import datetime, timedelta

from retrain_operator.api.job import Phase, RetrainJobSpec, RetrainJobStatus, RunError, Stopping
from retrain_operator.api.names import Key
from retrain_operator.rules import reasons
from retrain_operator.rules.decision import Decision, DeleteJob
from retrain_operator.rules.observed import JobState, RunObserved
from retrain_operator.rules.outcome import RunEnd
from retrain_operator.rules.run_status import finish, going, write

JOB_IN_FLIGHT = timedelta(seconds=5)  # a Job that was asked for before the stop was told exists by then, or never will
POD_LEFT_RECHECK = timedelta(seconds=2)  # nothing tells of a pod; the collector takes about a second, and the pod its grace period
PENDING_TOLD_AFTER = timedelta(seconds=30)  # a pod that starts as usual runs by then, and costs no look and no write
PENDING_LOOKS = timedelta(minutes=10)  # at most this long between two looks at a pod that does not run
PENDING_RECHECK = timedelta(seconds=10)  # a pod that runs without being ready is not stuck, and may be once it was replaced


def reason_to_stop(observed: RunObserved, now: datetime) -> Stopping | None:
    """Why a run with a Job is ended; what was decided once stands."""
    if observed.status.stopping is not None:
        return observed.status.stopping
    if observed.replaced_by is not None:
        return replaced(observed.replaced_by, now)
    if observed.stuck is not None:
        message = f"its pod did not run within its deadline: {observed.stuck}"
        return Stopping(reason=reasons.PENDING_DEADLINE_EXCEEDED, message=message, time=now)
    return None


def replaced(by: str, now: datetime) -> Stopping:
    return Stopping(reason=reasons.REPLACED, message=f"RetrainJob {by} replaces it", time=now)


def stop_without_job(observed: RunObserved, stopping: Stopping, now: datetime) -> Decision:
    """Told first, then ended: another operator that has not heard of it yet may be making the Job."""
    ended_at = stopping.time + JOB_IN_FLIGHT
    return finish(observed, stopped(stopping), now) if now >= ended_at else replace(_told(observed, stopping, now), wake_at=ended_at)


def stop_with_pod(observed: RunObserved, stopping: Stopping, now: datetime) -> Decision:
    """Its Job is gone. Whatever starts after this run starts when nothing of it trains any more."""
    return replace(_told(observed, stopping, now), wake_at=now + POD_LEFT_RECHECK)


def stop(observed: RunObserved, job: JobState, stopping: Stopping, now: datetime) -> Decision:
    """End the Job. The reason is written first: a crash between the two must not read as a Job that somebody deleted."""
    written = _told(observed, stopping, now)
    delete = () if job.deleting else (DeleteJob(Key(observed.metadata.namespace, job.name), job.uid),)
    return replace(written, actions=(*written.actions, *delete))


def _told(observed: RunObserved, stopping: Stopping, now: datetime) -> Decision:
    status = going(observed, observed.status.phase, reasons.STOPPING, stopping.message, now)
    return write(observed, status.model_copy(update={"stopping": stopping}))


def stopped(stopping: Stopping) -> RunEnd:
    """The end of a run that was ended: whatever its trainer said last, and never tried again."""
    return RunEnd(Phase.FAILED, error=RunError(reason=stopping.reason, message=stopping.message, retryable=False))


def is_overdue(status: RetrainJobStatus, spec: RetrainJobSpec, job: JobState, now: datetime) -> bool:
    """Whether it must be found out why the pod does not run. Of one that ran, another may have taken the place and not run."""
    until = _pending_until(spec, job)
    return until is not None and (now >= until or status.phase is Phase.RUNNING) and job.ready == 0 and job.end is None


def stuck_if_made_by(status: RetrainJobStatus, spec: RetrainJobSpec, now: datetime) -> datetime | None:
    """A pod that took the place of one that ran has the deadline for itself; None when the Job's start tells how long it has been."""
    if status.phase is not Phase.RUNNING or spec.pending_deadline_seconds is None:
        return None
    return now - timedelta(seconds=spec.pending_deadline_seconds)


def is_late(status: RetrainJobStatus, job: JobState, now: datetime) -> bool:
    """Whether people are to be told why the pod does not run."""
    waits = status.phase is Phase.PENDING and job.ready == 0 and job.end is None and not job.suspended
    return waits and job.start_time is not None and now >= job.start_time + PENDING_TOLD_AFTER


def look_again_at(status: RetrainJobStatus, spec: RetrainJobSpec, job: JobState, now: datetime) -> datetime | None:
    """When a pod that does not run is to be looked at: ever more seldom for people, and at its deadline."""
    until = _pending_until(spec, job)
    if until is not None and until <= now:
        return now + PENDING_RECHECK
    if status.phase is not Phase.PENDING or job.start_time is None or job.suspended:
        return until
    late = job.start_time + PENDING_TOLD_AFTER
    told = late if now < late else now + min(now - job.start_time, PENDING_LOOKS)
    return told if until is None else min(told, until)


def _pending_until(spec: RetrainJobSpec, job: JobState) -> datetime | None:
    """Time in a queue does not count: a Job that waits for admission has no start, or one from before it was sent back."""
    if spec.pending_deadline_seconds is None or job.start_time is None or job.suspended:
        return None
    return job.start_time + timedelta(seconds=spec.pending_deadline_seconds)
