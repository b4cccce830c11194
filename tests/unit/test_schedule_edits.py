"""What is done about a schedule that is edited, suspended or resumed. The schedule is hourly, decided through 11:00."""

import pytest
from tests.builders import (
    at,
    ended,
    new_schedule,
    ready,
    schedule,
    schedule_status,
    tick_name,
    waiting,
)
from tests.unit.schedule_table import THIRTEEN, TWELVE, Case, check, last, z

from retrain_operator.rules.schedule import decide

SUSPENDED = schedule_status(conditions=[ready(True, "Suspended", "spec.suspend holds automatic starts")], next_schedule_time=None)

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
            status={"decidedThrough": z("12:20"), "nextScheduleTime": z("13:15")},
            skipped=("Skip Superseded 12:00",),
            events=("Warning TickSkipped: tick 2026-03-02T12:00Z made no run: Superseded",),
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
            schedule(schedule="15 * * * *", meta={"generation": 2}, edited_at=at("13:10")),
            "13:20",
            (f"run {tick_name('13:15')}", "status"),
            status={"decidedThrough": z("13:15"), "lastDecision": last("Run", "Scheduled", "13:15", tick_name("13:15"), "13:20")},
            skipped=("Skip Superseded 12:00..13:00 x2",),
            events=(f"Normal RunCreated: tick 2026-03-02T13:15Z made RetrainJob {tick_name('13:15')}",),
            wake_at="14:15",
        ),
        id="due before the edit, and nobody had looked: they are told, and do not run",
    ),
    pytest.param(
        Case(
            schedule(ended("12:00", "12:03"), schedule="15 * * * *", meta={"generation": 2}, edited_at=at("12:01")),
            "12:05",
            ("status",),
            status={"decidedThrough": z("12:01"), "lastScheduleTime": z("12:00"), "nextScheduleTime": z("12:15")},
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="12:15",
        ),
        id="edited before it was told that a tick had run: told as well",
    ),
    pytest.param(
        Case(
            schedule(schedule="15 * * * *", suspend=True, meta={"generation": 2}, status=SUSPENDED, edited_at=at("12:10")),
            "12:10",
            ("status",),
            ready="True Suspended",
            status={"decidedThrough": z("12:10")},
            skipped=("Skip Suspended 12:00",),
            events=("Normal TickSkipped: tick 2026-03-02T12:00Z made no run: Suspended",),
        ),
        id="edited while it is suspended: the ticks before were suspended",
    ),
    pytest.param(
        Case(
            schedule(status=schedule_status(decided_through=at("18:00"))),
            "12:05",
            ("status",),
            status={"decidedThrough": z("18:00"), "nextScheduleTime": z("19:00")},
            wake_at="19:00",
        ),
        id="decided beyond now by a clock that went wrong: the next tick is the next that will start",
    ),
    pytest.param(
        Case(
            schedule(
                schedule="15 * * * *", meta={"generation": 2}, status=schedule_status(decided_through=at("18:00")), edited_at=at("12:04")
            ),
            "12:05",
            ("status",),
            status={"decidedThrough": z("12:04"), "nextScheduleTime": z("12:15")},
            wake_at="12:15",
        ),
        id="the same, and edited: the new ticks count from the edit",
    ),
    pytest.param(
        Case(
            schedule(
                schedule="15 * * * *", meta={"generation": 2}, status=schedule_status(decided_through=at("18:00")), edited_at=at("17:04")
            ),
            "12:05",
            ("status",),
            status={"decidedThrough": z("18:00"), "nextScheduleTime": z("18:15")},
            wake_at="18:15",
        ),
        id="the same, edited later than now: it is now that is wrong, and nothing is decided twice",
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
    pytest.param(
        Case(
            schedule(
                meta={"generation": 2},
                status=schedule_status(
                    effective_schedule="0 * * * * US/Gone", last_decision=waiting("11:30", tick_name("11:00"), since="11:30")
                ),
                edited_at=at("12:10"),
            ),
            "12:15",
            ("status",),
            status={"decidedThrough": z("12:10"), "effectiveSchedule": "0 * * * * Etc/UTC"},
            skipped=(f"Skip Superseded 11:30 {tick_name('11:00')}",),
            events=(f"Warning TickSkipped: tick 2026-03-02T11:30Z made no run: Superseded (RetrainJob {tick_name('11:00')})",),
            wake_at="13:00",
        ),
        id="edited because the time zone is known no more: what waited is told",
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


@pytest.mark.parametrize("case", [*EDITS, *SUSPENSIONS])
def test_decide(case: Case) -> None:
    check(case)


def test_fates_of_ticks_that_share_one_skip_count_every_tick_once() -> None:
    fates = [(each.action.value, each.reason, each.count or 1) for each in decide(schedule(status=SUSPENDED), at("13:30")).fates]
    assert fates == [("Skip", "Suspended", 2)]
