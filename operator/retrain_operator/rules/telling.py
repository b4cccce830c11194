"""What is told of what was decided about a schedule: events for people."""

from collections.abc import Iterator

from retrain_operator.api.base import format_time
from retrain_operator.api.job import Trigger
from retrain_operator.api.names import ANNOTATION_REQUESTED_AT
from retrain_operator.api.schedule import Action, MissedRunPolicy, RetrainScheduleSpec, TickDecision
from retrain_operator.rules import reasons
from retrain_operator.rules.decision import Event
from retrain_operator.rules.ticks import MISSED_TICKS_MAX, TickPlan

_EXPECTED = (reasons.SUSPENDED, reasons.PAUSED, reasons.DRY_RUN, reasons.WITHDRAWN)  # a skip that somebody asked for


def events_of_ticks(spec: RetrainScheduleSpec, ticks: TickPlan, before: TickDecision | None) -> Iterator[Event]:
    """`before` is the last decision that was told."""
    if ticks.missed_many:
        counts = {MissedRunPolicy.LATEST: "the newest counts", MissedRunPolicy.ALL: f"the newest {spec.max_catch_up} count"}
        which = counts.get(spec.missed_run_policy, "none of them counts")
        note = f"more than {MISSED_TICKS_MAX} ticks were missed; {which}. Set startingDeadlineSeconds, or see why nothing ran"
        yield Event("Warning", reasons.TOO_MANY_MISSED_TICKS, note)
    started = [start.tick for start in ticks.starts]
    for fate in reversed(ticks.fates):
        if fate.scheduled_time in started and not fate.is_same(ticks.last):
            yield event_of(fate)
    if ticks.last is not None and not ticks.last.is_same(before):
        yield event_of(ticks.last)


def event_of(decision: TickDecision, by: str | None = None) -> Event:
    """What became of a tick or of a request. `by`: the field manager that asked."""
    subject, waits = _subject(decision)
    details = _details(decision, by)
    if decision.action is Action.RUN:
        return Event("Normal", reasons.RUN_CREATED, f"{subject} made RetrainJob {decision.job}{requested(by)}", details)
    if decision.action is Action.WAIT:
        what = f" for the unfinished RetrainJob {decision.job}" if decision.job else ": no RetrainJob can be made at the moment"
        note = f"{subject} {waits}{what}{requested(by)}"
        return Event("Normal", reasons.TICK_WAITS, note, details)
    would_be = "it would be " if decision.reason == reasons.DRY_RUN else ""
    job = f" ({would_be}RetrainJob {decision.job})" if decision.job else ""
    note = f"{subject} made no run: {decision.reason}{job}{requested(by)}"
    return Event("Normal" if decision.reason in _EXPECTED else "Warning", reasons.TICK_SKIPPED, note, details)


def why_forbidden(message: str) -> str:
    """Of a create that the API server forbids with this message, and what to do."""
    return f"{message}: grant the right or raise the quota; it is tried again"


def why_unavailable(message: str) -> str:
    """Of a create that fails again and again with this message while other writes go well, and what to do."""
    return f"{message}: see whether the API server, and each admission webhook that it asks, works; it is tried again"


def why_stuck(message: str | None) -> str:
    """Of what the API server refuses with this message, or of a bug."""
    if message is None:
        return "this is a bug in the operator, whose log tells of it: please report it; it is tried again"
    return f"{message}: the API server refuses what the operator writes, see whether its CRDs are those of the operator; it is tried again"


def requested(by: str | None) -> str:
    """The end of a note: who asked, as a field manager calls itself. It is no authenticated identity."""
    return f" (requested by {by})" if by else ""


def _details(decision: TickDecision, by: str | None) -> dict[str, object]:
    known = {
        "trigger": Trigger.SCHEDULE if decision.requested_at is None else Trigger.MANUAL,
        "tick": format_time(decision.scheduled_time) if decision.requested_at is None else None,
        "ticks": decision.count,
        "requestedAt": decision.requested_at,
        "requestedBy": by,
        "action": decision.action,
        "why": decision.reason,
        "job": decision.job,
    }
    return {name: value for name, value in known.items() if value is not None}


def _subject(decision: TickDecision) -> tuple[str, str]:
    if decision.requested_at is not None:
        return f"{ANNOTATION_REQUESTED_AT}={decision.requested_at}", "waits"
    tick = f"{decision.scheduled_time:%Y-%m-%dT%H:%MZ}"
    return (f"{decision.count} ticks through {tick}", "wait") if decision.count else (f"tick {tick}", "waits")
