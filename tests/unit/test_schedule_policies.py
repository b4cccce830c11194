"""What is done about a schedule under other policies, and when runs have a time to live. It is hourly, decided through 11:00."""

import pytest
from tests.builders import at, child, ended, ready, schedule, schedule_status, tick_name, waiting
from tests.unit.schedule_table import ELEVEN, TWELVE, Case, active, check, last, z

from retrain_operator.api.schedule import LastTrained, RetrainScheduleStatus

TEN = tick_name("10:00")
LINE = waiting("11:00", tick_name("09:00"), since="11:45").model_copy(update={"first_scheduled_time": at("10:00"), "count": 2})


def counted(reason: str = "Scheduling") -> RetrainScheduleStatus:
    """The run of 11:00 was counted."""
    message = {"Scheduling": "the schedule is accepted", "Suspended": "spec.suspend holds automatic starts"}[reason]
    conditions = [ready(True, reason, message)]
    last_trained = LastTrained(run=ELEVEN, completion_time=at("11:20"))
    next_time = at("12:00") if reason == "Scheduling" else None
    return schedule_status(conditions=conditions, last_successful_time=at("11:20"), last_trained=last_trained, next_schedule_time=next_time)


POLICIES = [
    pytest.param(
        Case(
            schedule(child("11:00"), concurrency_policy="Replace"),
            "12:00",
            (f"run {TWELVE} replaces {ELEVEN}", "status"),
            status={"active": active(ELEVEN, TWELVE), "lastScheduleTime": z("12:00")},
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="Replace: the new run is made at once and says what it replaces",
    ),
    pytest.param(
        Case(
            schedule(missed_run_policy="All", status=schedule_status(decided_through=at("09:00"))),
            "11:45",
            (f"run {TEN}", "status"),
            status={
                "lastScheduleTime": z("10:00"),
                "decidedThrough": z("10:00"),
                "lastDecision": last("Wait", "ConcurrencyForbid", "11:00", TEN, "11:45"),
                "nextScheduleTime": z("12:00"),
            },
            events=(
                f"Normal RunCreated: tick 2026-03-02T10:00Z made RetrainJob {TEN}",
                f"Normal TickWaits: tick 2026-03-02T11:00Z waits for the unfinished RetrainJob {TEN}",
            ),
            wake_at="12:00",
        ),
        id="All: the oldest starts, the next waits; both are told",
    ),
    pytest.param(
        Case(
            schedule(missed_run_policy="All", status=schedule_status(decided_through=at("08:30"))),
            "11:45",
            (f"run {tick_name('09:00')}", "status"),
            status={
                "lastDecision": last("Wait", "ConcurrencyForbid", "11:00", tick_name("09:00"), "11:45")
                | {"firstScheduledTime": z("10:00"), "count": 2},
            },
            events=(
                f"Normal RunCreated: tick 2026-03-02T09:00Z made RetrainJob {tick_name('09:00')}",
                f"Normal TickWaits: 2 ticks through 2026-03-02T11:00Z wait for the unfinished RetrainJob {tick_name('09:00')}",
            ),
            wake_at="12:00",
        ),
        id="All: several wait, in one entry",
    ),
    pytest.param(
        Case(
            schedule(
                child("09:00"),
                missed_run_policy="All",
                schedule="30 * * * *",
                meta={"generation": 2},
                edited_at=at("11:50"),
                status=schedule_status(decided_through=at("09:00"), last_decision=LINE),
            ),
            "11:50",
            ("status",),
            status={"decidedThrough": z("11:50"), "nextScheduleTime": z("12:30"), "effectiveSchedule": "30 * * * * Etc/UTC"},
            skipped=(f"Skip Superseded 10:00..11:00 x2 {tick_name('09:00')}",),
            events=(f"Warning TickSkipped: 2 ticks through 2026-03-02T11:00Z made no run: Superseded (RetrainJob {tick_name('09:00')})",),
            wake_at="12:30",
        ),
        id="All: the schedule is edited while several wait: each ends as superseded",
    ),
    pytest.param(
        Case(
            schedule(missed_run_policy="All", max_catch_up=2, status=schedule_status(decided_through=at("2026-01-01T00:00"))),
            "11:45",
            (f"run {TEN}", "status"),
            skipped=("Skip Superseded 2026-01-01T01:00..09:00 xNone",),
            events=(
                "Warning TooManyMissedTicks: more than 100 ticks were missed; the newest 2 count. "
                "Set startingDeadlineSeconds, or see why nothing ran",
                f"Normal RunCreated: tick 2026-03-02T10:00Z made RetrainJob {TEN}",
                f"Normal TickWaits: tick 2026-03-02T11:00Z waits for the unfinished RetrainJob {TEN}",
            ),
            wake_at="12:00",
        ),
        id="All: more than a hundred were missed",
    ),
    pytest.param(
        Case(
            schedule(missed_run_policy="Skip", status=schedule_status(decided_through=at("2026-01-01T00:00"))),
            "11:45",
            ("status",),
            skipped=("Skip Missed 2026-01-01T01:00..11:00 xNone",),
            events=(
                "Warning TooManyMissedTicks: more than 100 ticks were missed; none of them counts. "
                "Set startingDeadlineSeconds, or see why nothing ran",
                "Warning TickSkipped: tick 2026-03-02T11:00Z made no run: Missed",
            ),
            wake_at="12:00",
        ),
        id="Skip: more than a hundred were missed",
    ),
    pytest.param(
        Case(
            schedule(window="2026-27", meta={"generation": 2}, status=schedule_status(next_schedule_time=at("12:00"))),
            "11:45",
            ("status",),
            status={"observedGeneration": 2, "decidedThrough": z("11:00"), "nextScheduleTime": z("12:00"), "recentDecisions": []},
            wake_at="12:00",
        ),
        id="the window is edited: no tick is touched",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "11:20", expires_at=at("11:45")), status=counted()),
            "11:44:59",
            wake_at="11:45",
        ),
        id="a run's time to live is not over: woken when it is",
    ),
    pytest.param(
        Case(schedule(ended("11:00", "11:20", expires_at=at("11:45")), status=counted()), "11:45", (f"delete {ELEVEN}",), wake_at="12:00"),
        id="it is over: deleted",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "11:20", expires_at=at("11:20"))),
            "11:20",
            ("status", f"delete {ELEVEN}"),
            status={"lastSuccessfulTime": z("11:20")},
            wake_at="12:00",
        ),
        id="a time to live of 0: counted, then deleted",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "11:20", expires_at=at("12:20")), suspend=True, status=counted("Suspended")),
            "11:45",
            ready="True Suspended",
            wake_at="12:20",
        ),
        id="suspended: time to live wakes it all the same",
    ),
]


@pytest.mark.parametrize("case", POLICIES)
def test_decide(case: Case) -> None:
    check(case)
