"""Starts by hand: the annotation `retrain.dev/requestedAt`. Each distinct token acts once.

The token that waits stands in status.lastRequest, so that nothing is forgotten when another one takes its place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.names import ANNOTATION_REQUESTED_AT
from retrain_operator.api.schedule import Action, RetrainScheduleSpec, RetrainScheduleStatus, TickDecision
from retrain_operator.manifests.runs import manual_run_name
from retrain_operator.rules import reasons
from retrain_operator.rules.concurrency import about_to_be_made, for_request, unless_blocked
from retrain_operator.rules.observed import ChildRun


@dataclass(frozen=True, slots=True)
class RequestPlan:
    """What becomes of a request."""

    last: TickDecision | None  # of the last request, for status
    handled: str | None  # the last token that was acted on, for status
    made: ChildRun | None = None  # the run that the request needs, as it will be
    fates: tuple[TickDecision, ...] = ()  # of the requests that have one now, newest first

    @property
    def skipped(self) -> tuple[TickDecision, ...]:
        return tuple(fate for fate in self.fates if fate.action is Action.SKIP)


def plan_request(
    status: RetrainScheduleStatus,
    schedule: ObjectMeta,
    spec: RetrainScheduleSpec,
    runs: Sequence[ChildRun],
    now: datetime,
    *,
    is_blocked: bool = False,
) -> RequestPlan:
    """Suspension and pauses do not hold a request; concurrencyPolicy does, as a tick. `is_blocked`: no run can be made."""
    handled = status.last_handled_requested_at
    token = schedule.annotations.get(ANNOTATION_REQUESTED_AT)
    if token == handled:
        token = None
    waited = status.last_request if status.last_request and status.last_request.action is Action.WAIT else None
    if waited is not None and token and waited.requested_at == token:
        return _decided(token, waited, RequestPlan(waited, handled), schedule, spec, runs, now, is_blocked=is_blocked)
    before = RequestPlan(status.last_request, handled)
    if waited is not None:
        before = _left(waited, handled, reasons.SUPERSEDED if token else reasons.WITHDRAWN, schedule, runs, now)
    return _decided(token, None, before, schedule, spec, runs, now, is_blocked=is_blocked) if token else before


def _left(
    waited: TickDecision, handled: str | None, reason: str, schedule: ObjectMeta, runs: Sequence[ChildRun], now: datetime
) -> RequestPlan:
    """The request that waited is asked for no more."""
    existing = _existing(waited.requested_at or "", schedule, runs, waited.scheduled_time, now)
    if existing is not None:  # it ran before a crash, which kept it from being told
        return RequestPlan(existing, existing.requested_at, fates=(existing,))
    fate = _told(Action.SKIP, reason, waited.requested_at or "", None, waited.scheduled_time, now)
    return RequestPlan(fate, handled, fates=(fate,))


def _decided(
    token: str,
    waited: TickDecision | None,
    before: RequestPlan,
    schedule: ObjectMeta,
    spec: RetrainScheduleSpec,
    runs: Sequence[ChildRun],
    now: datetime,
    *,
    is_blocked: bool,
) -> RequestPlan:
    since = waited.scheduled_time if waited else now
    existing = _existing(token, schedule, runs, since, now)
    if existing is not None:
        return replace(before, last=existing, handled=token, fates=(existing, *before.fates))
    name = manual_run_name(schedule.name, token)
    verdict = unless_blocked(for_request(spec.concurrency_policy, schedule, runs), is_blocked=is_blocked)
    if verdict.action is Action.WAIT:
        told = _told(Action.WAIT, verdict.reason, token, verdict.run, since, now)
        return replace(before, last=waited if waited is not None and told.is_same(waited) else told)
    if spec.dry_run:
        fate = _told(Action.SKIP, reasons.DRY_RUN, token, name, since, now)
        return replace(before, last=fate, handled=token, fates=(fate, *before.fates))
    fate = _told(Action.RUN, reasons.REQUESTED, token, name, since, now)
    made = about_to_be_made(schedule, name, now, verdict.run)
    return replace(before, last=fate, handled=token, made=made, fates=(fate, *before.fates))


def _existing(token: str, schedule: ObjectMeta, runs: Sequence[ChildRun], since: datetime, now: datetime) -> TickDecision | None:
    """Fate of a request whose run exists: made before a crash, or when the token stood there before. Or whose name is taken."""
    found = next((run for run in runs if run.name == manual_run_name(schedule.name, token)), None)
    if found is None:
        return None
    is_own = found.owner_uid == schedule.uid
    action, reason = (Action.RUN, reasons.REQUESTED) if is_own else (Action.SKIP, reasons.NAME_TAKEN)
    return _told(action, reason, token, found.name, since, now)


def _told(action: Action, reason: str, token: str, job: str | None, since: datetime, now: datetime) -> TickDecision:
    return TickDecision(action=action, reason=reason, scheduled_time=since, requested_at=token, job=job, time=now)
