"""Rollback and release of a schedule's slot, by annotation. Each token acts once, also when somebody dies between two writes.

A request acts on the slot's record first, which keeps its token; the schedule's status tells of it when the token is seen there.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.deploy import Deploy, LastRollback, RollbackState
from retrain_operator.api.names import ANNOTATION_RELEASE_AT, ANNOTATION_ROLLBACK_AT
from retrain_operator.api.schedule import RetrainScheduleStatus
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules import reasons
from retrain_operator.rules.decision import Action, Event, SwapSlot
from retrain_operator.rules.observed import ScheduleObserved
from retrain_operator.rules.rollout import POLL, Live, all_ready, patches, what_is_missing
from retrain_operator.rules.slot import released, request_id, rolled_back

ROLLOUT_TIMEOUT = timedelta(seconds=600)  # when jobTemplate.spec.deploy is gone by now


@dataclass(frozen=True, slots=True)
class RollbackPlan:
    """What becomes of the requests: for the slot, for the status, and for people."""

    actions: tuple[Action, ...] = ()
    changes: dict[str, object] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    wake_at: datetime | None = None


def asks_for_slot(status: RetrainScheduleStatus, metadata: ObjectMeta) -> bool:
    """Whether the slot must be read: a request is new, or a rollback is under way."""
    return _rollback_token(status, metadata) is not None or _release_token(status, metadata) is not None or _under_way(status) is not None


def release_command(schedule: str) -> str:
    """What a person types to let models go live again."""
    return f"kubectl annotate rts {schedule} {ANNOTATION_RELEASE_AT}=$(date +%s) --overwrite"


def plan_rollback(observed: ScheduleObserved, now: datetime) -> RollbackPlan:
    """The next step. It needs neither a valid schedule nor one that is not suspended."""
    status, metadata = observed.status, observed.metadata
    if not asks_for_slot(status, metadata):
        return RollbackPlan()
    asked = None if isinstance(observed.spec, InvalidSpec) else observed.spec.job_template.spec.deploy
    if (token := _rollback_token(status, metadata)) is not None:
        return _roll_back(observed, asked, token, now)
    if (token := _release_token(status, metadata)) is not None:
        return _release(observed, token, now)
    last = _under_way(status)
    assert last is not None
    return _follow(observed, asked, last, now, told=True)


def _roll_back(observed: ScheduleObserved, asked: Deploy | None, token: str, now: datetime) -> RollbackPlan:
    seen, by = observed.slot, request_id("rollback", token)
    if asked is None or seen is None:
        return _impossible(token, "jobTemplate.spec.deploy names no slot", now)
    if seen.problem is not None or observed.deploy_refused is not None:
        return _impossible(token, seen.problem or f"the API server refuses it: {observed.deploy_refused}", now)
    rollback = seen.slot.rollback
    if by in seen.slot.handled:
        if rollback is None or rollback.by != by:
            return RollbackPlan(changes={"last_handled_rollback_requested_at": token})  # done long ago, and told then
        if rollback.to_sha256 is None:
            return _impossible(token, f"ConfigMap {seen.key.name} has no previous model", now)
        last = LastRollback(
            requested_at=token, state=RollbackState.ROLLING_OUT, time=rollback.time, run=rollback.to_run, sha256=rollback.to_sha256
        )
        return _follow(observed, asked, last, now, told=False)
    if seen.slot.current is None:
        return _impossible(token, f"ConfigMap {seen.key.name} has no model", now)
    changed = rolled_back(seen.slot, by, now)
    assert changed.current is not None
    undo = patches(observed.metadata.namespace, observed.targets, observed.metadata.name, Live.of(seen.key.name, changed))
    told = f"rolled back by {by} from run {seen.slot.current.run}, sha256 {seen.slot.current.sha256}, to run {changed.current.run}"
    # The status says so when the slot is seen to: the next look is at once.
    return RollbackPlan(actions=(SwapSlot(seen.swapped(changed), told), *undo), wake_at=now)


def _follow(observed: ScheduleObserved, asked: Deploy | None, last: LastRollback, now: datetime, *, told: bool) -> RollbackPlan:
    """The slot has the restored model; the targets follow."""
    seen, owner = observed.slot, observed.metadata.name
    current = seen.slot.current if seen is not None and seen.problem is None else None
    back = f"RetrainJob {last.run}, sha256 {last.sha256}"
    held = f"Deploys are held until a run has other data, or: {release_command(owner)}"
    began = () if told else (Event("Normal", reasons.ROLLED_BACK, f"the slot has the model of {back} again. {held}"),)

    def step(state: RollbackState, message: str, *events: Event) -> RollbackPlan:
        changes = {
            "last_handled_rollback_requested_at": last.requested_at,
            "last_rollback": last.model_copy(update={"state": state, "message": message}),
        }
        return RollbackPlan(changes=changes, events=(*began, *events))

    if seen is None or current is None or current.sha256 != last.sha256:
        return step(RollbackState.ROLLED_BACK, f"{back} was restored; by now another model is current")
    live = Live.of(seen.key.name, seen.slot)
    if all_ready(observed.targets, live):
        return step(RollbackState.ROLLED_BACK, f"{back} is live again. {held}")
    timeout = timedelta(seconds=asked.rollout_timeout_seconds) if asked else ROLLOUT_TIMEOUT
    if now >= last.time + timeout:
        message = f"{back} is in the slot, but {what_is_missing(observed.targets, live, owner)}"
        return step(RollbackState.TIMED_OUT, message, Event("Warning", reasons.ROLLBACK_TIMEOUT, message))
    going = step(RollbackState.ROLLING_OUT, f"{back} is in the slot; rolling out {', '.join(map(str, observed.targets))}")
    return replace(going, actions=patches(observed.metadata.namespace, observed.targets, owner, live), wake_at=now + POLL)


def _release(observed: ScheduleObserved, token: str, now: datetime) -> RollbackPlan:
    seen, by = observed.slot, request_id("release", token)
    done: dict[str, object] = {"last_handled_release_requested_at": token}
    problem = seen.problem if seen is not None else "jobTemplate.spec.deploy names no slot"
    problem = problem or observed.deploy_refused
    if seen is None or problem is not None:
        return RollbackPlan(changes=done, events=(Event("Warning", reasons.ROLLBACK_IMPOSSIBLE, f"nothing was released: {problem}"),))
    if by in seen.slot.handled:
        return RollbackPlan(changes=done, events=(Event("Normal", reasons.RELEASED, "models that pass their gates go live again"),))
    if seen.slot.hold is None:
        return RollbackPlan(changes=done, events=(Event("Normal", reasons.RELEASED, "nothing was held"),))
    return RollbackPlan(actions=(SwapSlot(seen.swapped(released(seen.slot, by)), f"released by {by}"),), wake_at=now)


def _impossible(token: str, why: str, now: datetime) -> RollbackPlan:
    last = LastRollback(requested_at=token, state=RollbackState.IMPOSSIBLE, message=f"nothing was rolled back: {why}", time=now)
    changes: dict[str, object] = {"last_handled_rollback_requested_at": token, "last_rollback": last}
    return RollbackPlan(changes=changes, events=(Event("Warning", reasons.ROLLBACK_IMPOSSIBLE, last.message),))


def _rollback_token(status: RetrainScheduleStatus, metadata: ObjectMeta) -> str | None:
    token = metadata.annotations.get(ANNOTATION_ROLLBACK_AT)
    return token if token and token != status.last_handled_rollback_requested_at else None


def _release_token(status: RetrainScheduleStatus, metadata: ObjectMeta) -> str | None:
    token = metadata.annotations.get(ANNOTATION_RELEASE_AT)
    return token if token and token != status.last_handled_release_requested_at else None


def _under_way(status: RetrainScheduleStatus) -> LastRollback | None:
    last = status.last_rollback
    return last if last is not None and last.state is RollbackState.ROLLING_OUT else None
