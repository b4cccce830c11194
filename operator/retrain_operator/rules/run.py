"""RetrainJob: everything that is decided about one run at one moment."""

from dataclasses import replace
from datetime import datetime, timedelta

from retrain_operator.api.job import DuplicateGuard, Phase, RetrainJobSpec, RunError, Stopping, attempt_name
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.common import run_id
from retrain_operator.manifests.guard import guard_key, guard_label, guard_lease
from retrain_operator.manifests.jobs import job as job_of
from retrain_operator.rules import reasons
from retrain_operator.rules.conditions import find
from retrain_operator.rules.data_age import without_stale_check
from retrain_operator.rules.decision import CreateJob, Decision, Event, TakeGuard, WriteStatus
from retrain_operator.rules.finished import ORPHAN_RECHECK, after_the_end
from retrain_operator.rules.observed import GuardState, JobState, RunObserved
from retrain_operator.rules.outcome import RunEnd, run_end
from retrain_operator.rules.progress import mirrored
from retrain_operator.rules.run_status import READY, finish, going, origin, write
from retrain_operator.rules.stopping import look_again_at, reason_to_stop, stop, stop_with_pod, stop_without_job, stopped

WAITS_FOR_POD = "its Job waits for its pod to run"
COPIED = "spec.root: it is for the attempts that the operator makes; to run a copy of one, leave out root, attempt and trigger"
UNWATCHED_RECHECK = timedelta(seconds=5)  # how late the end of a Job is noticed whose labels somebody took away
GUARD_RECHECK = timedelta(seconds=1)  # the garbage collector takes about that long


def decide(observed: RunObserved, now: datetime) -> Decision:
    """What to do about a run. `now` is aware UTC with whole seconds, as every time of the API."""
    decision = _decide(observed, now)
    is_unwatched = observed.job is not None and observed.job.unwatched
    return replace(decision, wake_at=now + UNWATCHED_RECHECK) if is_unwatched else decision


def _decide(observed: RunObserved, now: datetime) -> Decision:
    metadata, status, spec, job = observed.metadata, observed.status, observed.spec, observed.job
    if metadata.deletion_timestamp is not None:
        return Decision()
    if status.phase.is_finished:
        return after_the_end(observed, now)
    if observed.pod_left:
        return stop_with_pod(observed, status.stopping or _job_deleted(metadata.name, now), now)
    if isinstance(spec, InvalidSpec):
        return _unreadable(observed, spec, now)
    if job is None:
        return _without_job(observed, spec, now)
    if job.owner_uid != metadata.uid and job.owner_run == metadata.name:
        # Its owner was an earlier RetrainJob of this name and is gone, so the garbage collector deletes it; the name is free then.
        if status.job_name is not None or status.stopping is not None:
            return Decision()  # this run has its own Job, or had it, and the news of that is late
        message = f"the Job of an earlier RetrainJob {metadata.name}, which is gone, is not gone yet"
        return write(observed, going(replace(observed, job=None), Phase.PENDING, reasons.GUARD_ENDING, message, now))
    if job.owner_uid != metadata.uid:
        message = f"Job {job.name} exists and belongs to something else: delete it, or give the run another name"
        return finish(replace(observed, job=None), _refusal(reasons.NAME_TAKEN, message), now)
    if status.stopping is not None and (job.end is not None or job.deleted):
        return finish(observed, stopped(status.stopping), now)
    if job.end is not None:
        return finish(observed, run_end(job, observed.pod, spec, run_id(metadata)), now)
    if job.deleted:
        return finish(observed, stopped(_job_deleted(job.name, now)), now)
    if (stopping := reason_to_stop(observed, now)) is not None:
        return stop(observed, job, stopping, now)
    return _with_job(observed, spec, job, now)


def _unreadable(observed: RunObserved, problem: InvalidSpec, now: datetime) -> Decision:
    """The spec was stored under another version of the CRD. A Job that goes on is ended, or the guard would be given away under it."""
    job = observed.job
    if job is None or job.owner_uid != observed.metadata.uid:
        return finish(replace(observed, job=None), _refusal(problem.reason, problem.message), now)
    stopping = observed.status.stopping or Stopping(reason=problem.reason, message=problem.message, time=now)
    if job.end is not None or job.deleted:
        return finish(observed, stopped(stopping), now)
    return stop(observed, job, stopping, now)


def _with_job(observed: RunObserved, spec: RetrainJobSpec, job: JobState, now: datetime) -> Decision:
    if job.suspended:
        queue = f"queue {spec.queue_name}" if spec.queue_name is not None else "a queue"
        message = f"its Job is suspended and waits for admission by {queue}"
        return write(observed, going(observed, Phase.PENDING, reasons.QUEUED, message, now))
    if job.ready > 0:
        running = going(observed, Phase.RUNNING, reasons.RUNNING, "its pod runs", now)
        if observed.log is None:
            return write(observed, running)
        return replace(write(observed, mirrored(running, observed.log.said, now)), wake_at=observed.log.next_at)
    ready = find(observed.status.conditions, READY)
    if ready is not None and ready.reason in _WITHOUT_POD:
        return write(observed, going(observed, Phase.PENDING, reasons.PENDING, WAITS_FOR_POD, now))
    if observed.late is not None:
        message = f"its pod does not run yet: {observed.late}"
        written = write(observed, going(observed, Phase.PENDING, reasons.POD_NOT_RUNNING, message, now))
        return replace(written, wake_at=look_again_at(observed.status, spec, job, now))
    # The default status says Pending already; a write for it would tell nothing.
    return Decision(wake_at=look_again_at(observed.status, spec, job, now))


_WITHOUT_POD = (
    reasons.QUEUED,
    reasons.SUSPENDED,
    reasons.REPLACING,
    reasons.GUARD_ENDING,
    reasons.CREATE_FAILED,
)  # what was told before its Job could run


def _without_job(observed: RunObserved, spec: RetrainJobSpec, now: datetime) -> Decision:
    if observed.status.job_name is not None and observed.status.stopping is None:
        return finish(observed, stopped(_job_deleted(observed.status.job_name, now)), now)
    if (stopping := reason_to_stop(observed, now)) is not None:
        return stop_without_job(observed, stopping, now)
    if spec.root is not None and observed.metadata.name != attempt_name(spec.root.name, spec.attempt):
        return finish(observed, _refusal(reasons.INVALID_SPEC, COPIED), now)  # it would pass for the guard's holder
    if observed.refused is not None:
        return finish(observed, _refusal(reasons.JOB_REFUSED, observed.refused), now)
    if spec.suspend:
        return write(observed, going(observed, Phase.PENDING, reasons.SUSPENDED, "spec.suspend holds the run", now))
    if observed.waits_for is not None:
        message = f"RetrainJob {observed.waits_for}, which it replaces, is being ended"
        return write(observed, going(observed, Phase.PENDING, reasons.REPLACING, message, now))
    if observed.orphaned:
        return Decision(wake_at=now + ORPHAN_RECHECK)
    return _start(observed, spec, now)


def _start(observed: RunObserved, spec: RetrainJobSpec, now: datetime) -> Decision:
    """Take the guard, then make the Job. Whoever has the guard and dies before the Job is made still has it afterwards.

    Where another operator may have found the guard held, the run's status is written in between: its Skipped, which is on the way
    perhaps, then comes too late. A run that is Skipped and has a Job would let a second one of its guard start.
    """
    metadata, guard = observed.metadata, observed.guard
    key = guard_key(metadata, spec)
    label = guard_label(key) if key is not None else None
    if key is not None and guard.state is GuardState.HELD:
        return finish(observed, RunEnd(Phase.SKIPPED), now, guard=DuplicateGuard(key=key, triggered=True, held_by=guard.holder))
    if key is not None and guard.state is GuardState.ENDING:
        message = f"{guard.holder}, whose RetrainJob is gone, has not ended yet"
        return replace(write(observed, going(observed, Phase.PENDING, reasons.GUARD_ENDING, message, now)), wake_at=now + GUARD_RECHECK)
    if observed.blocked is not None:
        waits = going(observed, Phase.PENDING, reasons.CREATE_FAILED, observed.blocked, now)
        return replace(write(observed, waits), events=())  # whoever could not make it has told
    try:
        champion = observed.slot.slot.current if observed.slot is not None else None
        create = CreateJob(job_of(metadata, without_stale_check(spec, now), label, champion))
    except InvalidSpec as problem:
        return finish(observed, _refusal(problem.reason, problem.message), now)
    accepted = _accepted(observed, spec)
    if key is None:
        return Decision(actions=(create,), events=accepted)
    take = () if guard.state is GuardState.OWN else (TakeGuard(guard_lease(metadata, spec, key, version=guard.version, uid=guard.uid)),)
    claim: tuple[WriteStatus, ...] = ()
    if guard.contested and observed.status.duplicate_guard is None:
        claimed = going(observed, Phase.PENDING, reasons.PENDING, WAITS_FOR_POD, now)
        claim = (WriteStatus(claimed.model_copy(update={"duplicate_guard": DuplicateGuard(key=key)}).to_json()),)
    return Decision(actions=(*take, *claim, create), events=accepted)


def _accepted(observed: RunObserved, spec: RetrainJobSpec) -> tuple[Event, ...]:
    """Who made it, if not the operator, which tells on the schedule or on the attempt before."""
    if observed.metadata.owner_references:
        return ()
    by = f", which {observed.created_by} created" if observed.created_by else ""
    details = {"job": observed.metadata.name, "trigger": spec.trigger, **origin(observed)}
    return (Event("Normal", reasons.RUN_ACCEPTED, f"made the Job of RetrainJob {observed.metadata.name}{by}", details),)


def _job_deleted(name: str, now: datetime) -> Stopping:
    message = f"Job {name} was deleted before it finished; a run is never started twice, so create another RetrainJob"
    return Stopping(reason=reasons.JOB_DELETED, message=message, time=now)


def _refusal(reason: str, message: str) -> RunEnd:
    return RunEnd(Phase.FAILED, error=RunError(reason=reason, message=message, retryable=False))
