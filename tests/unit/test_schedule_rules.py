"""What is done about a schedule: actions in order, status, events and the next look. The schedule is hourly, decided through 11:00."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from tests.builders import (
    CREATED,
    at,
    child,
    ended,
    manual,
    new_schedule,
    ready,
    schedule,
    schedule_spec,
    schedule_status,
    tick_name,
    waiting,
)

from retrain_operator.api.base import Condition
from retrain_operator.api.job import Phase
from retrain_operator.api.names import Key
from retrain_operator.api.schedule import LastTrained, RetrainScheduleStatus
from retrain_operator.errors import InvalidSpec
from retrain_operator.reconcile import edge
from retrain_operator.rules.decision import CreateRun, Decision, DeleteRun, WriteStatus
from retrain_operator.rules.observed import ScheduleObserved
from retrain_operator.rules.schedule import decide

ELEVEN, TWELVE, THIRTEEN = tick_name("11:00"), tick_name("12:00"), tick_name("13:00")
BAD_ZONE = 'timeZone "Mars/Base" is not an IANA time zone: write its name, capitals included, e.g. Europe/London or Etc/UTC'
NO_LIMITS = {"successful_jobs_history_limit": 0, "failed_jobs_history_limit": 0}


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


def active(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


LAST_TRAINED = LastTrained(run=ELEVEN, data_version="d1", config_hash="c1", completion_time=at("11:20"))
SUSPENDED = schedule_status(conditions=[ready(True, "Suspended", "spec.suspend holds automatic starts")], next_schedule_time=None)
WAITS = schedule_status(
    active=schedule_status().active, last_decision=waiting("12:00", ELEVEN, since="12:00"), next_schedule_time=at("13:00")
)
REFUSAL = 'RetrainJob "x" is invalid: metadata.labels: Invalid value'

TICKS = [
    pytest.param(
        Case(
            new_schedule(meta={"creation_timestamp": at("11:30")}),
            "11:45",
            ("status",),
            status={
                "observedGeneration": 1,
                "effectiveSchedule": "0 * * * * Etc/UTC",
                "decidedThrough": z("11:30"),
                "nextScheduleTime": z("12:00"),
                "lastDecision": None,
                "lastScheduleTime": None,
                "active": [],
                "consecutiveFailures": 0,
            },
            wake_at="12:00",
        ),
        id="new, no tick yet: status only",
    ),
    pytest.param(Case(schedule(), "11:45", wake_at="12:00"), id="nothing changed: nothing is written"),
    pytest.param(
        Case(
            new_schedule(meta={"creation_timestamp": at("12:00")}),
            "12:00",
            ("status",),
            status={"decidedThrough": z("12:00"), "nextScheduleTime": z("13:00"), "lastDecision": None},
            wake_at="13:00",
        ),
        id="created exactly at a tick: that tick is not due",
    ),
    pytest.param(
        Case(
            schedule(),
            "12:00",
            (f"run {TWELVE}", "status"),
            status={
                "decidedThrough": z("12:00"),
                "nextScheduleTime": z("13:00"),
                "lastScheduleTime": z("12:00"),
                "active": active(TWELVE),
                "lastDecision": last("Run", "Scheduled", "12:00", TWELVE, "12:00"),
                "recentDecisions": [],
            },
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="a tick is due: the run, then the status",
    ),
    pytest.param(
        Case(
            schedule(child("12:00")),
            "12:00:20",
            ("status",),
            status={
                "decidedThrough": z("12:00"),
                "lastScheduleTime": z("12:00"),
                "active": active(TWELVE),
                "lastDecision": last("Run", "Scheduled", "12:00", TWELVE, "12:00:20"),
            },
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="crashed between run and status: the run is told, not made again",
    ),
    pytest.param(
        Case(
            schedule(child("12:00")),
            "13:00",
            ("status",),
            status={
                "decidedThrough": z("12:00"),
                "lastScheduleTime": z("12:00"),
                "lastDecision": last("Wait", "ConcurrencyForbid", "13:00", TWELVE, "13:00"),
            },
            events=(f"Normal TickWaits: tick 2026-03-02T13:00Z waits for the unfinished RetrainJob {TWELVE}",),
            wake_at="14:00",
        ),
        id="crashed between run and status, and the next tick is due: lastScheduleTime is of the run",
    ),
    pytest.param(
        Case(
            schedule(meta={"creation_timestamp": CREATED}, status=schedule_status(decided_through=at("08:30"))),
            "12:00",
            (f"run {TWELVE}", "status"),
            status={"decidedThrough": z("12:00")},
            skipped=("Skip Superseded 09:00..11:00 x3",),
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="three more were missed: they stand in recentDecisions as one entry",
    ),
    pytest.param(
        Case(
            schedule(status=schedule_status(decided_through=at("2026-02-01T00:00"))),
            "12:00",
            (f"run {TWELVE}", "status"),
            skipped=("Skip Superseded 2026-02-01T01:00..11:00 xNone",),
            events=(
                "Warning TooManyMissedTicks: more than 100 ticks were missed; the newest counts. "
                "Set startingDeadlineSeconds, or see why nothing ran",
                f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",
            ),
            wake_at="13:00",
        ),
        id="more than a hundred were missed: one warning, and on with the newest",
    ),
    pytest.param(
        Case(
            schedule(starting_deadline_seconds=60),
            "12:01:01",
            ("status",),
            status={"decidedThrough": z("12:00"), "lastDecision": last("Skip", "DeadlineMissed", "12:00", None, "12:01:01")},
            skipped=("Skip DeadlineMissed 12:00",),
            events=("Warning TickSkipped: tick 2026-03-02T12:00Z made no run: DeadlineMissed",),
            wake_at="13:00",
        ),
        id="past the deadline: a miss",
    ),
    pytest.param(
        Case(
            schedule(child("12:00", owner_uid="a person's", schedule=None)),
            "12:00",
            ("status",),
            status={"active": [], "lastDecision": last("Skip", "NameTaken", "12:00", TWELVE, "12:00")},
            skipped=(f"Skip NameTaken 12:00 {TWELVE}",),
            events=(f"Warning TickSkipped: tick 2026-03-02T12:00Z made no run: NameTaken (RetrainJob {TWELVE})",),
            wake_at="13:00",
        ),
        id="the run's name belongs to something else: skipped, and it is not counted as active",
    ),
    pytest.param(
        Case(
            new_schedule(meta={"creation_timestamp": at("12:00"), "deletion_timestamp": at("12:30")}),
            "13:00",
            ready="",
        ),
        id="being deleted: nothing",
    ),
]

WAITING = [
    pytest.param(
        Case(
            schedule(child("11:00"), status=schedule_status(active=[])),
            "12:00",
            ("status",),
            status={
                "decidedThrough": z("11:00"),
                "active": active(ELEVEN),
                "nextScheduleTime": z("13:00"),
                "lastDecision": last("Wait", "ConcurrencyForbid", "12:00", ELEVEN, "12:00"),
                "recentDecisions": [],
            },
            events=(f"Normal TickWaits: tick 2026-03-02T12:00Z waits for the unfinished RetrainJob {ELEVEN}",),
            wake_at="13:00",
        ),
        id="a run is unfinished: the tick waits, and stays due",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "12:20"), status=WAITS),
            "12:20",
            ("run " + TWELVE, "status"),
            status={
                "decidedThrough": z("12:00"),
                "active": active(TWELVE),
                "lastScheduleTime": z("12:00"),
                "lastSuccessfulTime": z("12:20"),
                "lastDecision": last("Run", "Scheduled", "12:00", TWELVE, "12:20"),
            },
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="the run it waits for ends: it starts",
    ),
    pytest.param(
        Case(
            schedule(child("11:00"), status=WAITS, starting_deadline_seconds=600),
            "12:10:01",
            ("status",),
            status={
                "decidedThrough": z("12:00"),
                "lastDecision": last("Skip", "ConcurrencyForbid", "12:00", ELEVEN, "12:10:01"),
            },
            skipped=(f"Skip ConcurrencyForbid 12:00 {ELEVEN}",),
            events=(f"Warning TickSkipped: tick 2026-03-02T12:00Z made no run: ConcurrencyForbid (RetrainJob {ELEVEN})",),
            wake_at="13:00",
        ),
        id="its deadline passes: skipped, blocked by the run",
    ),
    pytest.param(
        Case(
            schedule(child("11:00"), status=WAITS),
            "13:00",
            ("status",),
            status={"decidedThrough": z("12:00"), "lastDecision": last("Wait", "ConcurrencyForbid", "13:00", ELEVEN, "13:00")},
            skipped=(f"Skip ConcurrencyForbid 12:00 {ELEVEN}",),
            events=(f"Normal TickWaits: tick 2026-03-02T13:00Z waits for the unfinished RetrainJob {ELEVEN}",),
            wake_at="14:00",
        ),
        id="a newer tick is due: that one waits now",
    ),
    pytest.param(
        Case(
            schedule(child("11:00"), status=WAITS, suspend=True),
            "12:30",
            ("status",),
            ready="True Suspended",
            status={"decidedThrough": z("12:00"), "lastDecision": last("Skip", "Suspended", "12:00", None, "12:30")},
            skipped=("Skip Suspended 12:00",),
            events=("Normal TickSkipped: tick 2026-03-02T12:00Z made no run: Suspended",),
        ),
        id="suspended while it waits: consumed, and the unfinished run goes on",
    ),
    pytest.param(
        Case(
            schedule(child("11:00"), status=WAITS, schedule="30 * * * *", meta={"generation": 2}, edited_at=at("12:10")),
            "12:10",
            ("status",),
            status={
                "decidedThrough": z("12:10"),
                "effectiveSchedule": "30 * * * * Etc/UTC",
                "nextScheduleTime": z("12:30"),
                "lastDecision": last("Skip", "Superseded", "12:00", ELEVEN, "12:10"),
            },
            skipped=(f"Skip Superseded 12:00 {ELEVEN}",),
            events=(f"Warning TickSkipped: tick 2026-03-02T12:00Z made no run: Superseded (RetrainJob {ELEVEN})",),
            wake_at="12:30",
        ),
        id="the schedule is edited while it waits: it ends as superseded, not without a word",
    ),
]

EDITS = [
    pytest.param(
        Case(
            schedule(schedule="*/30 * * * *", meta={"generation": 2}, edited_at=at("11:10")),
            "12:05",
            (f"run {TWELVE}", "status"),
            status={"observedGeneration": 2, "decidedThrough": z("12:00"), "effectiveSchedule": "*/30 * * * * Etc/UTC"},
            skipped=("Skip Superseded 11:30",),
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="12:30",
        ),
        id="edited while the operator was down: the new ticks count from the edit",
    ),
    pytest.param(
        Case(
            schedule(schedule="15 * * * *", meta={"generation": 2}),
            "12:20",
            ("status",),
            status={"decidedThrough": z("12:20"), "nextScheduleTime": z("13:15"), "lastDecision": None},
            wake_at="13:15",
        ),
        id="edited, nobody tells when: the new ticks count from now",
    ),
    pytest.param(
        Case(
            schedule(time_zone="Asia/Kolkata", meta={"generation": 2}, edited_at=at("11:40")),
            "11:45",
            ("status",),
            status={"decidedThrough": z("11:40"), "nextScheduleTime": z("12:30"), "effectiveSchedule": "0 * * * * Asia/Kolkata"},
            wake_at="12:30",
        ),
        id="the time zone is edited: so do they",
    ),
    pytest.param(
        Case(
            schedule(schedule="@hourly", meta={"generation": 2}, edited_at=at("11:59")),
            "12:00",
            (f"run {TWELVE}", "status"),
            status={"observedGeneration": 2, "decidedThrough": z("12:00")},
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="edited to the same meaning: no tick is lost",
    ),
    pytest.param(
        Case(
            schedule(schedule="*/30 * * * *", meta={"generation": 2}, edited_at=at("11:30")),
            "11:30",
            ("status",),
            status={"decidedThrough": z("11:30"), "nextScheduleTime": z("12:00")},
            wake_at="12:00",
        ),
        id="edited exactly at a new tick: that tick is not due",
    ),
    pytest.param(
        Case(
            schedule(schedule="*/30 * * * *", meta={"generation": 2}, edited_at=at("18:00")),
            "11:45",
            ("status",),
            status={"decidedThrough": z("11:45"), "nextScheduleTime": z("12:00")},
            wake_at="12:00",
        ),
        id="edited at a time that has not come, by a clock that is ahead: counts from now",
    ),
    pytest.param(
        Case(
            new_schedule(meta={"generation": 2}, edited_at=at("11:40")),
            "11:45",
            ("status",),
            status={"decidedThrough": z("11:40"), "nextScheduleTime": z("12:00"), "lastDecision": None},
            wake_at="12:00",
        ),
        id="mended before it was ever accepted: counts from the edit, not from the creation",
    ),
    pytest.param(
        Case(
            new_schedule(meta={"creation_timestamp": at("11:30")}, edited_at=at("11:30")),
            "12:01",
            (f"run {TWELVE}", "status"),
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="created while the operator was down: counts from the creation",
    ),
]

SUSPENSIONS = [
    pytest.param(
        Case(
            schedule(suspend=True, meta={"generation": 2}),
            "11:30",
            ("status",),
            ready="True Suspended",
            status={"nextScheduleTime": None, "decidedThrough": z("11:00"), "observedGeneration": 2},
        ),
        id="suspended: no next tick, and nothing wakes it",
    ),
    pytest.param(Case(schedule(suspend=True, status=SUSPENDED), "11:59:59", ready="True Suspended"), id="still suspended: nothing"),
    pytest.param(
        Case(
            schedule(suspend=True, status=SUSPENDED),
            "12:00",
            ("status",),
            ready="True Suspended",
            status={"lastDecision": last("Skip", "Suspended", "12:00", None, "12:00"), "decidedThrough": z("12:00")},
            skipped=("Skip Suspended 12:00",),
            events=("Normal TickSkipped: tick 2026-03-02T12:00Z made no run: Suspended",),
        ),
        id="suspended: tick consumed, no run",
    ),
    pytest.param(
        Case(
            schedule(status=SUSPENDED),
            "13:30",
            ("status",),
            status={
                "lastDecision": last("Skip", "Suspended", "13:00", None, "13:30"),
                "nextScheduleTime": z("14:00"),
            },
            skipped=("Skip Suspended 12:00..13:00 x2",),
            events=("Normal TickSkipped: tick 2026-03-02T13:00Z made no run: Suspended",),
            wake_at="14:00",
        ),
        id="resumed: the ticks of the suspension are told, none runs",
    ),
    pytest.param(
        Case(
            schedule(status=SUSPENDED, suspend_edited_at=at("12:15")),
            "13:30",
            (f"run {THIRTEEN}", "status"),
            skipped=("Skip Suspended 12:00",),
            events=(f"Normal RunCreated: tick 2026-03-02T13:00Z made RetrainJob {THIRTEEN}",),
            wake_at="14:00",
        ),
        id="resumed while the operator was down: the tick since then runs",
    ),
]

REFUSED = [
    pytest.param(
        Case(
            schedule(time_zone="Mars/Base", meta={"generation": 2}),
            "12:00",
            ("status",),
            ready="False InvalidSpec",
            status={"observedGeneration": 2, "nextScheduleTime": None, "decidedThrough": z("11:00"), "lastDecision": None},
            events=("Warning InvalidSpec: " + BAD_ZONE,),
        ),
        id="a time zone that does not exist: not ready, no tick is taken, nothing wakes it",
    ),
    pytest.param(
        Case(
            schedule(
                time_zone="Mars/Base",
                status=schedule_status(conditions=[ready(False, "InvalidSpec", BAD_ZONE)], next_schedule_time=None),
            ),
            "13:00",
            ready="False InvalidSpec",
        ),
        id="still invalid: nothing is written, nobody is told twice",
    ),
    pytest.param(
        Case(
            schedule(
                ended("11:00", "12:20", Phase.FAILED),
                time_zone="Mars/Base",
                status=schedule_status(conditions=[ready(False, "InvalidSpec", BAD_ZONE)], next_schedule_time=None, active=WAITS.active),
            ),
            "13:00",
            ("status",),
            ready="False InvalidSpec",
            status={"consecutiveFailures": 1, "lastFailureTime": z("12:20"), "active": []},
        ),
        id="invalid while a run ends: it is counted all the same",
    ),
    pytest.param(
        Case(
            schedule(schedule="0 0 31 2 *", meta={"generation": 2}),
            "11:30",
            ("status",),
            ready="False InvalidSpec",
            events=(
                'Warning InvalidSpec: schedule "0 0 31 2 *" never fires: day 31 does not exist in month 2; '
                "write a day that the month has, e.g. 28",
            ),
        ),
        id="31 February: not ready",
    ),
    pytest.param(
        Case(
            schedule(spec=InvalidSpec("spec.schedule: Field required")),
            "11:30",
            ("status",),
            ready="False InvalidSpec",
            events=("Warning InvalidSpec: spec.schedule: Field required",),
        ),
        id="a spec stored under another version of the CRD: not ready",
    ),
    pytest.param(
        Case(
            schedule(job_template={"spec": {"trainer": {"image": "i"}, "config": {"big": "x" * 140_000}}}),
            "12:00",
            ("status",),
            ready="False InvalidSpec",
            events=("Warning InvalidSpec: config is longer than 131072 bytes: put it into a ConfigMap and use configFrom",),
        ),
        id="no Job could be made of the template: told before the first tick, no run",
    ),
    pytest.param(
        Case(
            schedule(refused=REFUSAL),
            "12:00",
            ("status",),
            ready="False RunRefused",
            status={"decidedThrough": z("11:00"), "lastDecision": None},
            events=("Warning RunRefused: " + REFUSAL,),
        ),
        id="the API server refuses the run: not ready, the tick stays due",
    ),
    pytest.param(
        Case(
            schedule(status=schedule_status(conditions=[ready(False, "RunRefused", REFUSAL)], next_schedule_time=None)),
            "13:00",
            ready="False RunRefused",
        ),
        id="refused by a process that has ended: not tried again",
    ),
    pytest.param(
        Case(
            schedule(
                status=schedule_status(conditions=[ready(False, "RunRefused", REFUSAL)], next_schedule_time=None),
                meta={"generation": 2},
            ),
            "12:30",
            (f"run {TWELVE}", "status"),
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="refused, and the spec is mended: the tick that is still due runs",
    ),
]

RUNS = [
    pytest.param(
        Case(
            schedule(manual("by-hand"), child("11:00")),
            "11:45",
            ("status",),
            status={"active": active("by-hand", ELEVEN)},
            wake_at="12:00",
        ),
        id="runs are going, a person's among them: active, by name",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "11:20", data_version="d1", config_hash="c1")),
            "11:20",
            ("status",),
            status={
                "lastSuccessfulTime": z("11:20"),
                "lastTrained": {"run": ELEVEN, "dataVersion": "d1", "configHash": "c1", "completionTime": z("11:20")},
                "LastRunSucceeded": "True Completed",
            },
            wake_at="12:00",
        ),
        id="a run completed: counted, and what it trained on is remembered",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "11:20", Phase.FAILED), status=schedule_status(consecutive_failures=2)),
            "11:20",
            ("status",),
            status={"lastFailureTime": z("11:20"), "consecutiveFailures": 3, "LastRunSucceeded": "False Failed", "lastTrained": None},
            wake_at="12:00",
        ),
        id="a run failed: Ready stays True, failures are counted",
    ),
    pytest.param(
        Case(
            schedule(
                manual("churn-2", schedule=None, owner_uid=None),
                replace(ended("10:00", "11:20", Phase.FAILED), name="churn-3", schedule="other"),
            ),
            "11:45",
            wake_at="12:00",
        ),
        id="runs that only have a name like its ticks': neither active nor counted",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "11:20"), **NO_LIMITS),
            "11:20",
            ("status", f"delete {ELEVEN}"),
            status={"lastSuccessfulTime": z("11:20"), "LastRunSucceeded": "True Completed"},
            wake_at="12:00",
        ),
        id="history limit 0: counted, then deleted",
    ),
    pytest.param(
        Case(
            schedule(ended("12:00", "12:00:30", Phase.FAILED), **NO_LIMITS),
            "12:01",
            ("status", f"delete {TWELVE}"),
            status={
                "lastFailureTime": z("12:00:30"),
                "consecutiveFailures": 1,
                "decidedThrough": z("12:00"),
                "lastScheduleTime": z("12:00"),
                "lastDecision": last("Run", "Scheduled", "12:00", TWELVE, "12:01"),
            },
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="history limit 0 after a crash: run and outcome are told before it is deleted",
    ),
    pytest.param(
        Case(
            schedule(
                ended("11:00", "11:20"),
                status=schedule_status(active=[], last_successful_time=at("11:20"), conditions=[ready()]),
                **NO_LIMITS,
            ),
            "11:45",
            (f"delete {ELEVEN}",),
            wake_at="12:00",
        ),
        id="counted before, not yet deleted: deleted without a write",
    ),
]


@pytest.mark.parametrize("case", [*TICKS, *WAITING, *EDITS, *SUSPENSIONS, *REFUSED, *RUNS])
def test_decide(case: Case) -> None:
    decision = decide(case.observed, at(case.now))
    assert tuple(told(each) for each in decision.actions) == case.actions
    status = status_after(case.observed, decision)
    if case.ready:
        assert condition(status, "Ready") == case.ready
    json_status = status.to_json()
    for name, value in case.status.items():
        assert (condition(status, name) if name == "LastRunSucceeded" else json_status.get(name)) == value, name
    assert tuple(entry(each) for each in new_decisions(case.observed.status, status)) == case.skipped
    assert tuple(f"{each.type} {each.reason}: {each.note}" for each in decision.events) == case.events
    assert decision.wake_at == (at(case.wake_at) if case.wake_at else None)
    again = decide(after(case.observed, decision), at(case.now))
    assert (again.actions, again.events, again.fates) == ((), (), ()), "the same look a second time finds nothing to do"


def told(action: object) -> str:
    match action:
        case CreateRun(body):
            return f"run {body['metadata']['name']}"
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


def test_ready_keeps_its_transition_time_while_only_the_reason_changes() -> None:
    suspended = decide(schedule(suspend=True), at("11:30"))
    invalid = decide(schedule(time_zone="Mars/Base"), at("11:30"))
    first = {name: status_after(schedule(), each).conditions[0] for name, each in {"suspended": suspended, "invalid": invalid}.items()}
    assert first["suspended"].last_transition_time == CREATED
    assert first["invalid"].last_transition_time == at("11:30")


def test_last_run_succeeded_is_kept_when_nothing_new_finished() -> None:
    finished = schedule(ended("11:00", "11:20", Phase.FAILED))
    kept = after(finished, decide(finished, at("11:20")))
    later = after(kept, decide(kept, at("12:00")))
    assert condition(later.status, "LastRunSucceeded") == "False Failed"


def test_recent_decisions_are_bounded_newest_first() -> None:
    observed = schedule(starting_deadline_seconds=60)
    for hour in range(12, 24):
        for minute in ("30", "31"):
            observed = after(observed, decide(observed, at(f"{hour}:{minute}")))
    for hour in range(24):
        observed = after(observed, decide(observed, at(f"2026-03-03T{hour:02}:30")))
    times = [each.scheduled_time for each in observed.status.recent_decisions]
    assert times == [at(f"2026-03-03T{hour:02}:00") for hour in range(23, 3, -1)]


def test_next_run_is_told_what_the_last_trained_run_saw() -> None:
    decision = decide(schedule(status=schedule_status(last_trained=LAST_TRAINED)), at("12:00"))
    [run] = [each.body for each in decision.actions if isinstance(each, CreateRun)]
    assert run["spec"]["previous"] == {"run": ELEVEN, "dataVersion": "d1", "configHash": "c1"}


def test_run_that_ends_as_its_successor_starts_is_what_the_successor_compares_with() -> None:
    observed = schedule(ended("11:00", "12:00", data_version="d2"), status=schedule_status(last_trained=LAST_TRAINED))
    [run] = [each.body for each in decide(observed, at("12:00")).actions if isinstance(each, CreateRun)]
    assert run["spec"]["previous"] == {"run": ELEVEN, "dataVersion": "d2"}


def test_decision_that_makes_a_run_says_that_it_starts_something() -> None:
    assert decide(schedule(), at("12:00")).starts
    assert not decide(schedule(starting_deadline_seconds=10), at("12:30")).starts


def test_fates_count_every_tick_once() -> None:
    observed = schedule(status=schedule_status(decided_through=at("08:30")), spec=schedule_spec())
    fates = [(each.action.value, each.reason, each.count or 1) for each in decide(observed, at("12:00")).fates]
    assert fates == [("Run", "Scheduled", 1), ("Skip", "Superseded", 3)]


def test_fates_of_ticks_that_share_one_skip_count_every_tick_once() -> None:
    fates = [(each.action.value, each.reason, each.count or 1) for each in decide(schedule(status=SUSPENDED), at("13:30")).fates]
    assert fates == [("Skip", "Suspended", 2)]
