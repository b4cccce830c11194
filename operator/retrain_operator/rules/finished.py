"""What is left to do about a finished run: its next attempt, its time to live, an edit to acknowledge. Its end itself stands."""

from dataclasses import replace
from datetime import datetime, timedelta

from retrain_operator.api.job import NextAttempt, RetrainJobSpec, RetrainJobStatus, Trigger
from retrain_operator.api.names import Key
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.common import belongs_to_schedule
from retrain_operator.manifests.runs import retry_run
from retrain_operator.rules import reasons
from retrain_operator.rules.decision import CreateRun, Decision, DeleteJob, DeleteRun, Event, WriteStatus
from retrain_operator.rules.deploy import deploy, is_undecided
from retrain_operator.rules.notify import tell
from retrain_operator.rules.observed import RunObserved
from retrain_operator.rules.run_status import write

SLOT_RECHECK = timedelta(minutes=15)  # how late the record of a model goes that is nothing to go back to any more
ORPHAN_RECHECK = timedelta(seconds=10)  # the garbage collector takes it, or its owner off it: this is only for a lost event
ATTEMPTS_RECHECK = timedelta(minutes=1)  # how late goes what others still need: the first of several attempts, or a replaced run


def after_the_end(observed: RunObserved, now: datetime) -> Decision:
    """A finished run is final, whatever became of its Job, its spec and its replacement."""
    return tell(observed, _what_is_left(observed, now), now)


def _what_is_left(observed: RunObserved, now: datetime) -> Decision:
    acknowledged = observed.status.model_copy(update={"observed_generation": observed.metadata.generation})
    late = observed.job
    if late is not None and late.owner_uid == observed.metadata.uid and late.end is None and not late.deleted:
        # It was asked for before the end was known, and nothing will come of it. Until it is gone it is in the way.
        end = DeleteJob(Key(observed.metadata.namespace, late.name), late.uid)
        return Decision(actions=() if late.deleting else (end,))
    if is_undecided(observed.status) and not isinstance(observed.spec, InvalidSpec):
        return deploy(replace(observed, status=acknowledged), observed.spec, now)
    following = observed.status.next_attempt
    if following is None or following.made:
        return _expire(observed, write(observed, acknowledged), now)
    if isinstance(observed.spec, InvalidSpec):
        return _cannot_try_again(observed, observed.spec, acknowledged, following, now)
    return _try_again(observed, observed.spec, acknowledged, following, now)


def _cannot_try_again(
    observed: RunObserved, problem: InvalidSpec, acknowledged: RetrainJobStatus, following: NextAttempt, now: datetime
) -> Decision:
    """The spec was stored under another version of the CRD. An attempt that is for ever to come would hold up all other runs."""
    if now < following.time:
        return replace(write(observed, acknowledged), wake_at=following.time)
    if observed.next_made or observed.next_taken:  # which of the two, only the spec could tell
        return write(observed, acknowledged.model_copy(update={"next_attempt": following.model_copy(update={"made": True})}))
    given_up = Event("Warning", reasons.RETRY_GIVEN_UP, f"{problem.message}: there is no further attempt")
    return write(observed, acknowledged.model_copy(update={"next_attempt": None}), given_up)


def _try_again(
    observed: RunObserved, spec: RetrainJobSpec, acknowledged: RetrainJobStatus, following: NextAttempt, now: datetime
) -> Decision:
    made = acknowledged.model_copy(update={"next_attempt": following.model_copy(update={"made": True})})
    attempt = spec.attempt + 1
    details = {"job": following.job, "trigger": Trigger.RETRY, "attempt": attempt}
    event = Event("Normal", reasons.RETRY_CREATED, f"made RetrainJob {following.job}, attempt {attempt}", details)
    if observed.next_made:
        return write(observed, made, event)
    if obstacle := _obstacle(observed, following):
        given_up = Event("Warning", reasons.RETRY_GIVEN_UP, obstacle)
        return write(observed, acknowledged.model_copy(update={"next_attempt": None}), given_up)
    if spec.suspend:
        return write(observed, acknowledged)  # held; released, it goes on
    if now < following.time:
        return replace(write(observed, acknowledged), wake_at=following.time)
    if observed.orphaned:  # what is made now would have its owner too, and might miss that the owner is taken off all of them
        return replace(write(observed, acknowledged), wake_at=now + ORPHAN_RECHECK)
    create = CreateRun(retry_run(observed.metadata, spec, following.job))
    # Made first: a crash between the two finds it by its name.
    return Decision(actions=(create, WriteStatus(made.to_json())), events=(event,))


def _obstacle(observed: RunObserved, following: NextAttempt) -> str | None:
    """Why the next attempt can never be made."""
    if observed.next_taken:
        return f"RetrainJob {following.job} exists and belongs to something else: there is no further attempt"
    if observed.replaced_by is not None:
        return f"RetrainJob {observed.replaced_by} replaces it: there is no further attempt"
    if observed.refused is not None:
        return f"the API server refuses RetrainJob {following.job}: {observed.refused}"
    return None


def _expire(observed: RunObserved, decision: Decision, now: datetime) -> Decision:
    """The end of its time to live. A schedule ends its own runs, because it must have counted them first."""
    spec, completed = observed.spec, observed.status.completion_time
    if isinstance(spec, InvalidSpec) or spec.ttl_seconds_after_finished is None or completed is None:
        return decision
    if belongs_to_schedule(observed.metadata.owner_references):
        return decision
    expires = completed + timedelta(seconds=spec.ttl_seconds_after_finished)
    if now < expires:
        return replace(decision, wake_at=expires)
    if observed.next_made:
        # The attempts after the first are its own and go with it: it waits until the last has expired.
        return replace(decision, wake_at=now + ATTEMPTS_RECHECK)
    if observed.unnoted or observed.replaced_by is not None:
        # A run that was replaced leads its replacement to what that one waits for: see Replacements.replaces_unfinished.
        return replace(decision, wake_at=now + ATTEMPTS_RECHECK)
    if observed.status.notified is False:
        return decision  # it is looked at again when everybody has been told
    if observed.slot is not None and observed.slot.needs(observed.metadata.uid):
        return replace(decision, wake_at=now + SLOT_RECHECK)
    return Decision(actions=(DeleteRun(observed.metadata.key, observed.metadata.uid),))
