"""Notifications: what is told to whom, until it is on record that it was told. Here of finished runs; of rollbacks in notify_rollback.

What happened is recomputed from status, so that a crash before the record repeats a notification and never loses one. Its id is made of
what it tells of: a receiver that keeps ids drops the repeat.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from string import Template
from typing import Any

from retrain_operator.api.base import ObjectMeta, format_time
from retrain_operator.api.deploy import DeploymentState
from retrain_operator.api.job import Phase, RetrainJobSpec, RetrainJobStatus
from retrain_operator.api.names import API_VERSION
from retrain_operator.api.notify import Delivery, DeliveryState, NotifyFormat, Occasion, Webhook
from retrain_operator.api.schedule import RetrainScheduleStatus
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules import reasons
from retrain_operator.rules.conditions import find
from retrain_operator.rules.decision import Decision, Event, Notification
from retrain_operator.rules.observed import ChildRun, RunObserved, Sent
from retrain_operator.rules.run_status import write

GIVE_UP_AFTER = timedelta(days=1)  # what is older than a day is no news, and a receiver that comes back is not flooded
METRICS_SHOWN = 4
_TEXT = "$occasion: $run of $namespace$of_schedule: $message$with_metrics"
_EVENT_TYPE = "dev.retrain."
_OF_DEPLOYMENT = {
    DeploymentState.DEPLOYED: Occasion.DEPLOYED,
    DeploymentState.BLOCKED: Occasion.BLOCKED,
    DeploymentState.HELD: Occasion.BLOCKED,
    DeploymentState.FAILED: Occasion.DEPLOY_FAILED,
    DeploymentState.ROLLED_BACK: Occasion.ROLLED_BACK,
}


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened to an object."""

    occasion: Occasion
    reason: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Subject:
    """The object that it happened to, as receivers are told of it."""

    metadata: ObjectMeta
    kind: str  # in the event's type: run, schedule
    plural: str
    data: Mapping[str, Any]
    words: Mapping[str, str]  # for the template; `metrics` among them
    identity: str  # of all that is told of it; with occasion and receiver it is the notification's


def tell(observed: RunObserved, decision: Decision, now: datetime) -> Decision:
    """`decision` about a finished run, with what is to be told, and on record what was. Nothing where nobody is to be told."""
    status, spec = observed.status, observed.spec
    if status.notified is not False or isinstance(spec, InvalidSpec):
        return decision
    told = happenings(status, after_failure=observed.after_failure)
    wanted = pending(_subject(observed.metadata, spec, status), spec.notify or (), status.notifications, told)
    deliveries, events, left = record(wanted, observed.sent, now)
    if decision.actions:
        return replace(decision, notifications=left)  # first things first: it is looked at again when those are done
    following, deployment = status.next_attempt, status.deployment
    is_over = (following is None or following.made) and (deployment is None or deployment.state.is_decided)
    changes = {"notifications": [*status.notifications, *deliveries], "notified": is_over and not left}
    recorded = write(observed, status.model_copy(update=changes))
    return replace(
        recorded,
        events=(*decision.events, *events),
        wake_at=decision.wake_at,
        notifications=left,
        deliveries=tuple(deliveries),
        all_told=is_over and not left,
    )


def follows_failure(run: ChildRun, runs: Iterable[ChildRun], schedule: RetrainScheduleStatus | None) -> bool:
    """Whether the last run of the schedule that ended before this one, further attempts counted as one with the first, failed.

    `schedule` tells of runs whose records are gone.
    """
    ended = run.completion_time
    if ended is None:
        return False
    before = [
        each
        for each in runs
        if each.completion_time is not None and each.completion_time < ended
        and not each.has_next and not each.tells_nothing and (each.root_uid or each.uid) != (run.root_uid or run.uid)
    ]  # fmt: skip
    last = max(before, key=lambda each: (each.completion_time, each.name), default=None)
    failed = schedule.last_failure_time if schedule else None
    if schedule is None or failed is None or failed >= ended or (last and last.completion_time and last.completion_time >= failed):
        return last is not None and last.phase is Phase.FAILED
    well = find(schedule.conditions, "LastRunSucceeded")  # since the first run that went well after the failure, this one perhaps
    is_first = well is not None and well.status == "True" and well.last_transition_time >= ended
    return is_first or schedule.last_successful_time is None or schedule.last_successful_time < failed


def happenings(status: RetrainJobStatus, *, after_failure: bool) -> Iterator[Happening]:
    """What is worth telling of a run, oldest first. `after_failure`: the schedule's run before it failed."""
    ready, ended, deployment = find(status.conditions, "Ready"), status.completion_time, status.deployment
    if not status.phase.is_finished or ended is None or ready is None:
        return
    if status.phase is Phase.FAILED:
        if status.next_attempt is None and ready.reason != reasons.REPLACED:
            yield Happening(Occasion.FAILED, ready.reason, ready.message, ended)
        return
    if status.phase is Phase.SKIPPED:
        yield Happening(Occasion.SKIPPED, ready.reason, ready.message, ended)
        return
    yield Happening(Occasion.COMPLETED, ready.reason, ready.message, ended)
    if after_failure:
        yield Happening(Occasion.RECOVERED, ready.reason, ready.message, ended)
    if deployment is not None and (occasion := _OF_DEPLOYMENT.get(deployment.state)) is not None:
        yield Happening(occasion, deployment.state.value, deployment.message, deployment.time)


def pending(
    subject: Subject, webhooks: Iterable[Webhook], on_record: Iterable[Delivery], told: Iterable[Happening]
) -> tuple[Notification, ...]:
    """What is not on record as told."""
    done, hooks = {(each.webhook, each.occasion) for each in on_record}, tuple(webhooks)
    return tuple(
        _notification(subject, webhook, happening)
        for happening in told
        for webhook in hooks
        if happening.occasion in webhook.occasions and (webhook.name, happening.occasion) not in done
    )


def record(
    wanted: Sequence[Notification], sent: Mapping[str, Sent], now: datetime
) -> tuple[list[Delivery], list[Event], tuple[Notification, ...]]:
    """What goes on record now, the events that tell of what was given up, and what is still to be sent."""
    deliveries, events, left = [], [], []
    for each in wanted:
        end = sent.get(each.id)
        if end is None and now >= each.at + GIVE_UP_AFTER:
            end = Sent(now, "it is older than a day")
        if end is None:
            left.append(each)
            continue
        state = DeliveryState.SENT if end.failure is None else DeliveryState.GIVEN_UP
        occasion = each.occasion
        deliveries.append(Delivery(webhook=each.webhook.name, occasion=occasion, state=state, time=end.at, message=end.failure or ""))
        if end.failure is not None:
            note = f"webhook {each.webhook.name} was not told of {occasion}: {end.failure}"
            events.append(Event("Warning", reasons.NOTIFICATION_FAILED, note))
    return deliveries, events, tuple(left)


def _notification(subject: Subject, webhook: Webhook, happening: Happening) -> Notification:
    identity = f"{subject.identity}/{happening.occasion}/{webhook.name}"
    metadata, told = subject.metadata, (identity, webhook, happening.occasion, happening.at)
    text = _text(subject, webhook, happening)
    if webhook.format is NotifyFormat.SLACK:
        return Notification(*told, {"text": text}, "application/json", metadata.namespace)
    body = {
        "specversion": "1.0",
        "id": identity,
        "source": f"/apis/{API_VERSION}/namespaces/{metadata.namespace}/{subject.plural}/{metadata.name}",
        "type": f"{_EVENT_TYPE}{subject.kind}.{happening.occasion.value.lower()}",
        "subject": metadata.name,
        "time": format_time(happening.at),
        "datacontenttype": "application/json",
        "data": _data(subject, happening, text),
    }
    return Notification(*told, body, "application/cloudevents+json", metadata.namespace)


def _data(subject: Subject, happening: Happening, text: str) -> dict[str, Any]:
    known = {
        "namespace": subject.metadata.namespace,
        **subject.data,
        "occasion": happening.occasion.value,
        "reason": happening.reason,
        "message": happening.message,
        "text": text,
    }
    return {name: value for name, value in known.items() if value is not None}


def _text(subject: Subject, webhook: Webhook, happening: Happening) -> str:
    """The template filled in; a name that it does not know stays as it is."""
    words = subject.words
    return Template(webhook.template or _TEXT).safe_substitute(
        words,
        occasion=happening.occasion.value,
        namespace=subject.metadata.namespace,
        of_schedule=f" (schedule {words['schedule']})" if words["schedule"] else "",
        reason=happening.reason,
        message=happening.message,
        with_metrics=f" [{words['metrics']}]" if words["metrics"] else "",
    )


def _subject(metadata: ObjectMeta, spec: RetrainJobSpec, status: RetrainJobStatus) -> Subject:
    values = {name: value for name, value in (status.result.metrics if status.result else {}).items() if value is not None}
    metrics = ", ".join(f"{name}={value:.4g}" for name, value in list(values.items())[:METRICS_SHOWN])
    data = {
        "run": metadata.name,
        "schedule": spec.schedule,
        "window": spec.window,
        "trigger": spec.trigger.value,
        "attempt": spec.attempt,
        "metrics": dict(status.result.metrics) if status.result else None,
        "artifact": status.result.artifact.to_json() if status.result and status.result.artifact else None,
        "error": status.error.to_json() if status.error else None,
        "deployment": status.deployment.to_json() if status.deployment else None,
    }
    words = {"run": metadata.name, "schedule": spec.schedule or "", "window": spec.window or "", "metrics": metrics}
    return Subject(metadata, "run", "retrainjobs", data, words, metadata.uid)
