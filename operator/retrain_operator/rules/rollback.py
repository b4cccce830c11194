"""Rollback and release of a schedule's slot, by annotation. Each token acts once, also when somebody dies between two writes.

A request acts on the slot's record first, which keeps its token; the schedule's status tells of it when the token is seen there.
"""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.deploy import Deploy, LastRollback, RollbackState
from retrain_operator.api.names import ANNOTATION_RELEASE_AT, ANNOTATION_ROLLBACK_AT
from retrain_operator.api.schedule import RetrainScheduleStatus
from retrain_operator.api.slot import Slot, SlotRecord
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules import reasons
from retrain_operator.rules.decision import Action, Event, SwapSlot
from retrain_operator.rules.notify_rollback import concerns, left_behind
from retrain_operator.rules.observed import ScheduleObserved
from retrain_operator.rules.rollout import POLL, Live, all_ready, patches, what_is_missing
from retrain_operator.rules.slot import SlotObserved, released, request_id, rolled_back, token_of
from retrain_operator.rules.telling import requested

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
    last = _under_way(status)
    if last is not None and observed.deploy_refused is not None:
        return _follow(observed, asked, last, now)  # a target of it, most likely: nothing is said of another request for that
    if (token := _rollback_token(status, metadata)) is not None:
        return _roll_back(observed, asked, token, now)
    if (token := _release_token(status, metadata)) is not None:
        return _release(observed, token, now)
    assert last is not None
    return _follow(observed, asked, last, now)


def _roll_back(observed: ScheduleObserved, asked: Deploy | None, token: str, now: datetime) -> RollbackPlan:
    seen, by, before = observed.slot, request_id("rollback", token), _under_way(observed.status)
    if asked is None or seen is None:
        why = "jobTemplate.spec.deploy names no slot"
    elif seen.problem is not None:
        why = seen.problem
    elif by in seen.slot.handled:
        return _done(observed, asked, seen, token, now)
    elif (first := _untold(seen.slot, observed.status)) is not None:
        return replace(_done(observed, asked, seen, first, now), wake_at=now)  # its turn comes first; this one is acted on at the next look
    elif observed.deploy_refused is not None:
        why = f"the API server refuses it: {observed.deploy_refused}"
    elif seen.slot.current is None:
        why = f"ConfigMap {seen.key.name} has no model"
    elif seen.slot.previous or before is None:  # that there is nothing to go back to, the slot notes
        return _swap(observed, seen, seen.slot.current, by, now)
    if before is not None:
        return _follow(observed, asked, before, now)  # nothing takes its place: it goes on to its end before this one is answered
    return _impossible(observed, token, why, now)


def _swap(observed: ScheduleObserved, seen: SlotObserved, bad: SlotRecord, by: str, now: datetime) -> RollbackPlan:
    changed = rolled_back(seen.slot, by, now)
    assert changed.current is not None
    undo = patches(observed.metadata.namespace, observed.targets, observed.metadata.name, Live.of(seen.key.name, changed))
    told = f"rolled back by {by} from run {bad.run}, sha256 {bad.sha256}, to run {changed.current.run}"
    # The status says so when the slot is seen to: the next look is at once.
    return RollbackPlan(actions=(SwapSlot(seen.swapped(changed), told), *undo), wake_at=now)


def _done(observed: ScheduleObserved, asked: Deploy, seen: SlotObserved, token: str, now: datetime) -> RollbackPlan:
    """The slot knows of the request, and the status does not."""
    rollback = seen.slot.rollback
    if rollback is None or rollback.by != request_id("rollback", token):
        return RollbackPlan(changes={"last_handled_rollback_requested_at": token})  # done long ago, and told then
    if rollback.to_sha256 is None:
        return _impossible(observed, token, f"ConfigMap {seen.key.name} has no previous model", now)
    last = LastRollback(
        requested_at=token,
        requested_by=_asked_by(observed, token),
        state=RollbackState.ROLLING_OUT,
        time=rollback.time,
        run=rollback.to_run,
        sha256=rollback.to_sha256,
        # In the same write that tells of it, so that a crash before anybody is told is found by whoever comes next.
        notified=concerns(observed.spec),
    )
    held = f"Deploys are held until a run has other data, or: {release_command(observed.metadata.name)}"
    note = f"the slot has the model of {_model(last)} again{requested(last.requested_by)}. {held}"
    began = Event("Normal", reasons.ROLLED_BACK, note, _details(last))
    followed = _follow(observed, asked, last, now)
    overtaken, untold = left_behind(observed.status, now)
    changes = followed.changes | {"last_handled_rollback_requested_at": token, "untold_rollbacks": untold}
    return replace(followed, changes=changes, events=(*_ends(overtaken), began, *followed.events))


def _follow(observed: ScheduleObserved, asked: Deploy | None, last: LastRollback, now: datetime) -> RollbackPlan:
    """The slot has the restored model; the targets follow."""
    seen, owner, refused = observed.slot, observed.metadata.name, observed.deploy_refused
    current = seen.slot.current if seen is not None and seen.problem is None else None
    back = _model(last)

    def step(state: RollbackState, message: str, *events: Event) -> RollbackPlan:
        over = None if state is RollbackState.ROLLING_OUT else now
        changed = last.model_copy(update={"state": state, "message": message, "completion_time": over})
        return RollbackPlan(changes={"last_rollback": changed}, events=events)

    if seen is None or current is None:
        return step(RollbackState.ROLLED_BACK, f"{back} was restored; by now the slot cannot be seen, and no target is looked after")
    if current.sha256 != last.sha256:
        return step(RollbackState.ROLLED_BACK, f"{back} was restored; by now another model is current")
    live = Live.of(seen.key.name, seen.slot)
    if all_ready(observed.targets, live):
        held = f"Deploys are held until a run has other data, or: {release_command(owner)}"
        return step(RollbackState.ROLLED_BACK, f"{back} is live again. {held}")
    going = f"{back} is in the slot; rolling out {', '.join(map(str, observed.targets))}"
    going = f"{back} is in the slot; the API server refuses to change a target: {refused}" if refused else last.message or going
    timeout = timedelta(seconds=asked.rollout_timeout_seconds) if asked else ROLLOUT_TIMEOUT
    if now >= last.time + timeout:
        message = f"{going}; not complete in time: {what_is_missing(observed.targets, live, owner)}"
        return step(RollbackState.TIMED_OUT, message, Event("Warning", reasons.ROLLBACK_TIMEOUT, message, _details(last)))
    # What was refused a moment ago is tried again at the next look, or the two would take turns without a pause.
    actions = () if refused else patches(observed.metadata.namespace, observed.targets, owner, live)
    return replace(step(RollbackState.ROLLING_OUT, going), actions=actions, wake_at=now + POLL)


def _release(observed: ScheduleObserved, token: str, now: datetime) -> RollbackPlan:
    seen, by = observed.slot, request_id("release", token)
    done: dict[str, object] = {"last_handled_release_requested_at": token}
    asker = observed.asked_by.get(ANNOTATION_RELEASE_AT)
    details = {"requestedAt": token, **({"requestedBy": asker} if asker else {})}

    def told(kind: Literal["Normal", "Warning"], reason: str, note: str) -> RollbackPlan:
        return RollbackPlan(changes=done, events=(Event(kind, reason, note + requested(asker), details),))

    problem = seen.problem if seen is not None else "jobTemplate.spec.deploy names no slot"
    problem = problem or observed.deploy_refused
    if seen is None or problem is not None:
        return told("Warning", reasons.ROLLBACK_IMPOSSIBLE, f"nothing was released: {problem}")
    if by in seen.slot.handled:
        return told("Normal", reasons.RELEASED, "models that pass their gates go live again")
    if seen.slot.hold is None:
        return told("Normal", reasons.RELEASED, "nothing was held")
    return RollbackPlan(actions=(SwapSlot(seen.swapped(released(seen.slot, by)), f"released by {by}"),), wake_at=now)


def _impossible(observed: ScheduleObserved, token: str, why: str, now: datetime) -> RollbackPlan:
    message, by = f"nothing was rolled back: {why}", _asked_by(observed, token)
    last = LastRollback(requested_at=token, requested_by=by, state=RollbackState.IMPOSSIBLE, message=message, time=now, completion_time=now)
    overtaken, untold = left_behind(observed.status, now)
    changes: dict[str, object] = {"last_handled_rollback_requested_at": token, "last_rollback": last, "untold_rollbacks": untold}
    event = Event("Warning", reasons.ROLLBACK_IMPOSSIBLE, message + requested(by), _details(last))
    return RollbackPlan(changes=changes, events=(*_ends(overtaken), event))


def _untold(slot: Slot, status: RetrainScheduleStatus) -> str | None:
    """Token of the slot's last rollback, when another took its place in the annotation before the status told of it."""
    rollback, last = slot.rollback, status.last_rollback
    if rollback is None:
        return None
    # An older one is of a time when the schedule named another slot.
    is_told = last is not None and (rollback.by == request_id("rollback", last.requested_at) or rollback.time < last.time)
    return None if is_told else token_of("rollback", rollback.by)


def _ends(overtaken: LastRollback | None) -> tuple[Event, ...]:
    return () if overtaken is None else (Event("Normal", reasons.ROLLED_BACK, overtaken.message, _details(overtaken)),)


def _asked_by(observed: ScheduleObserved, token: str) -> str | None:
    """Of the token that stands there now; who wrote an earlier one is not known any more."""
    is_current = token == observed.metadata.annotations.get(ANNOTATION_ROLLBACK_AT)
    return observed.asked_by.get(ANNOTATION_ROLLBACK_AT) if is_current else None


def _model(last: LastRollback) -> str:
    return f"RetrainJob {last.run}, sha256 {last.sha256}"


def _details(last: LastRollback) -> dict[str, object]:
    known = {"requestedAt": last.requested_at, "requestedBy": last.requested_by, "job": last.run, "sha256": last.sha256}
    return {name: value for name, value in known.items() if value is not None}


def _rollback_token(status: RetrainScheduleStatus, metadata: ObjectMeta) -> str | None:
    token = metadata.annotations.get(ANNOTATION_ROLLBACK_AT)
    return token if token and token != status.last_handled_rollback_requested_at else None


def _release_token(status: RetrainScheduleStatus, metadata: ObjectMeta) -> str | None:
    token = metadata.annotations.get(ANNOTATION_RELEASE_AT)
    return token if token and token != status.last_handled_release_requested_at else None


def _under_way(status: RetrainScheduleStatus) -> LastRollback | None:
    last = status.last_rollback
    return last if last is not None and last.state is RollbackState.ROLLING_OUT else None
