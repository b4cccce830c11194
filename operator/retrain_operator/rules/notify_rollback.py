"""Notifications of rollbacks that were asked for by annotation, to the webhooks of the schedule's jobTemplate.

A rollback that another one follows before everybody was told stays in status.untoldRollbacks until they have been.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.deploy import LastRollback, RollbackState
from retrain_operator.api.notify import Occasion
from retrain_operator.api.schedule import UNTOLD_ROLLBACKS_MAX, RetrainScheduleSpec, RetrainScheduleStatus
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules.decision import Decision, WriteStatus
from retrain_operator.rules.notify import Happening, Subject, pending, record
from retrain_operator.rules.observed import ScheduleObserved


def concerns(spec: RetrainScheduleSpec | InvalidSpec) -> bool | None:
    """`notified` of a rollback as it begins: None when nobody is to be told."""
    hooks = () if isinstance(spec, InvalidSpec) else spec.job_template.spec.notify or ()
    return False if any(Occasion.ROLLED_BACK in hook.occasions for hook in hooks) else None


def left_behind(status: RetrainScheduleStatus, now: datetime) -> tuple[LastRollback | None, list[LastRollback]]:
    """When another rollback takes the place of the last one: its end, if it was not over, and status.untoldRollbacks."""
    last, overtaken = status.last_rollback, None
    if last is not None and last.state is RollbackState.ROLLING_OUT:
        message = (
            f"RetrainJob {last.run}, sha256 {last.sha256}, was restored; "
            "another rollback took its place before its targets were seen to serve it"
        )
        last = overtaken = last.model_copy(update={"state": RollbackState.ROLLED_BACK, "message": message, "completion_time": now})
    kept = [last] if last is not None and last.notified is False else []
    return overtaken, [*kept, *status.untold_rollbacks][:UNTOLD_ROLLBACKS_MAX]


def tell_of_rollbacks(observed: ScheduleObserved, decision: Decision, now: datetime) -> Decision:
    """`decision` with what is to be told, and on record what was. Nothing where nobody is to be told."""
    status, spec = observed.status, observed.spec
    if status.last_rollback is None or isinstance(spec, InvalidSpec):
        return decision
    hooks, recorded, now_known = spec.job_template.spec.notify or (), decision, list[LastRollback]()
    for each in (status.last_rollback, *status.untold_rollbacks):
        if each.notified is not False:
            now_known.append(each)
            continue
        wanted = pending(_subject(observed.metadata, spec, each), hooks, each.notifications, _happenings(each))
        deliveries, events, left = record(wanted, observed.sent, now)
        is_told = each.completion_time is not None and not left
        now_known.append(each.model_copy(update={"notifications": [*each.notifications, *deliveries], "notified": is_told}))
        recorded = replace(
            recorded,
            events=(*recorded.events, *events),
            notifications=(*recorded.notifications, *left),
            deliveries=(*recorded.deliveries, *deliveries),
        )
    if decision.actions:
        return replace(decision, notifications=recorded.notifications)  # first things first: it is looked at again when those are done
    last, *others = now_known
    untold = [each for each in others if each.notified is False]
    new = status.model_copy(update={"last_rollback": last, "untold_rollbacks": untold})
    if new == status:
        return recorded
    return replace(recorded, actions=(WriteStatus(new.to_json()),), all_told=last.notified is not False and not untold)


def _happenings(last: LastRollback) -> Iterator[Happening]:
    """One that was impossible has rolled nothing back: who asked is told by an event."""
    if last.completion_time is not None and last.state is not RollbackState.IMPOSSIBLE:
        yield Happening(Occasion.ROLLED_BACK, last.state.value, last.message, last.completion_time)


def _subject(metadata: ObjectMeta, spec: RetrainScheduleSpec, last: LastRollback) -> Subject:
    rollback = {
        "requestedAt": last.requested_at,
        "requestedBy": last.requested_by,
        "run": last.run,
        "sha256": last.sha256,
    }
    data = {
        "schedule": metadata.name,
        "window": spec.window,
        "rollback": {name: value for name, value in rollback.items() if value is not None},
    }
    words = {"run": last.run or "", "schedule": metadata.name, "window": spec.window or "", "metrics": ""}
    token = hashlib.sha256(last.requested_at.encode()).hexdigest()[:16]  # itself it may be long, and unfit for a header
    return Subject(metadata, "schedule", "retrainschedules", data, words, f"{metadata.uid}/{token}")
