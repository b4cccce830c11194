"""What is done about a schedule, as rows of a table, and the check of one row. The schedule is hourly, decided through 11:00."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

from tests.builders import (
    at,
    schedule_status,
    tick_name,
    waiting,
)

from retrain_operator.api.base import Condition
from retrain_operator.api.names import Key
from retrain_operator.api.schedule import RetrainScheduleStatus
from retrain_operator.reconcile import edge
from retrain_operator.rules.decision import CreateRun, Decision, DeleteRun, WriteStatus
from retrain_operator.rules.observed import ScheduleObserved
from retrain_operator.rules.schedule import decide

ELEVEN, TWELVE, THIRTEEN = tick_name("11:00"), tick_name("12:00"), tick_name("13:00")


@dataclass(frozen=True)
class Case:
    """A schedule, and what is expected. `status` names the fields that matter, as JSON; a field that must be absent is None."""

    observed: ScheduleObserved
    now: str
    actions: tuple[str, ...] = ()
    ready: str = "True Scheduling"
    status: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    wake_at: str | None = None


def z(text: str) -> str:
    return at(text).strftime("%Y-%m-%dT%H:%M:%SZ")


def last(action: str, reason: str, tick: str, job: str | None, time: str) -> dict[str, Any]:
    entry = {"action": action, "reason": reason, "scheduledTime": z(tick), "job": job, "time": z(time)}
    return {name: value for name, value in entry.items() if value is not None}


def request(action: str, reason: str, token: str, job: str | None, time: str, since: str | None = None) -> dict[str, Any]:
    """What became of a request, as JSON."""
    return last(action, reason, since or time, job, time) | {"requestedAt": token}


def active(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


WAITS = schedule_status(last_decision=waiting("12:00", ELEVEN, since="12:00"), next_schedule_time=at("13:00"))


def check(case: Case) -> None:
    """Decide, compare, do it, and see that a second look finds nothing to do."""
    decision = decide(case.observed, at(case.now))
    assert tuple(told(each) for each in decision.actions) == case.actions
    status = status_after(case.observed, decision)
    if case.ready:
        assert condition(status, "Ready") == case.ready
    json_status = status.to_json()
    for name, value in case.status.items():
        assert (condition(status, name) if name in ("LastRunSucceeded", "Paused") else json_status.get(name)) == value, name
    assert tuple(entry(each) for each in new_decisions(case.observed.status, status)) == case.skipped
    assert tuple(f"{each.type} {each.reason}: {each.note}" for each in decision.events) == case.events
    assert decision.wake_at == (at(case.wake_at) if case.wake_at else None)
    again = decide(after(case.observed, decision), at(case.now))
    assert (again.actions, again.events, again.fates) == ((), (), ()), "the same look a second time finds nothing to do"


def told(action: object) -> str:
    match action:
        case CreateRun(body):
            replaces = body["spec"].get("replaces")
            return f"run {body['metadata']['name']}" + (f" replaces {replaces}" if replaces else "")
        case DeleteRun(Key(_, name), _):
            return f"delete {name}"
        case WriteStatus():
            return "status"
    raise AssertionError(action)


def status_after(observed: ScheduleObserved, decision: Decision) -> RetrainScheduleStatus:
    """The status as the API server gives it back."""
    written = [each.status for each in decision.actions if isinstance(each, WriteStatus)]
    return RetrainScheduleStatus.model_validate(json.loads(json.dumps(written[0]))) if written else observed.status


def after(observed: ScheduleObserved, decision: Decision) -> ScheduleObserved:
    """What is observed once all was done."""
    deleted = {each.uid for each in decision.actions if isinstance(each, DeleteRun)}
    made = []
    for action in decision.actions:
        if isinstance(action, CreateRun):
            stored = action.body["metadata"] | {"uid": "made", "creationTimestamp": "2026-03-02T14:00:00Z"}
            made.append(edge.child_run(action.body | {"metadata": stored}))
    runs = (*(run for run in observed.runs if run.uid not in deleted), *made)
    return replace(observed, runs=runs, status=status_after(observed, decision))


def new_decisions(old: RetrainScheduleStatus, new: RetrainScheduleStatus) -> list[dict[str, Any]]:
    added = len(new.recent_decisions) - len(old.recent_decisions)
    return [each.to_json() for each in new.recent_decisions[:added]]


def entry(decision: dict[str, Any]) -> str:
    if "requestedAt" in decision:
        return " ".join(
            [decision["action"], decision["reason"], decision["requestedAt"], *([decision["job"]] if "job" in decision else [])]
        )
    day = at("00:00").strftime("%Y-%m-%dT")

    def tick(name: str) -> str:
        return str(decision[name]).removeprefix(day).removesuffix(":00Z")

    ticks = tick("scheduledTime")
    if "firstScheduledTime" in decision:
        ticks = f"{tick('firstScheduledTime')}..{ticks} x{decision.get('count')}"
    return " ".join([decision["action"], decision["reason"], ticks, *([decision["job"]] if "job" in decision else [])])


def condition(status: RetrainScheduleStatus, type_: str) -> str | None:
    found: list[Condition] = [each for each in status.conditions if each.type == type_]
    assert len(found) <= 1
    return f"{found[0].status} {found[0].reason}" if found else None
