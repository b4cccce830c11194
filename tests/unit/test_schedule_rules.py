"""What is done about a schedule when ticks are due and while one waits. The schedule is hourly, decided through 11:00."""

import pytest
from tests.builders import (
    CREATED,
    at,
    child,
    ended,
    new_schedule,
    schedule,
    schedule_spec,
    schedule_status,
)
from tests.unit.schedule_table import ELEVEN, TWELVE, WAITS, Case, active, after, check, condition, last, status_after, z

from retrain_operator.api.job import Phase
from retrain_operator.api.schedule import LastTrained
from retrain_operator.rules.decision import CreateRun
from retrain_operator.rules.schedule import decide

LAST_TRAINED = LastTrained(run=ELEVEN, data_version="d1", config_hash="c1", completion_time=at("11:20"))

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


@pytest.mark.parametrize("case", [*TICKS, *WAITING])
def test_decide(case: Case) -> None:
    check(case)


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
    assert run["spec"]["previous"] == {"run": ELEVEN, "dataVersion": "d1", "configHash": "c1", "completionTime": "2026-03-02T11:20:00Z"}


def test_a_version_too_long_to_hand_on_does_not_keep_ticks_from_their_runs() -> None:
    last_trained = LAST_TRAINED.model_copy(update={"data_version": "x" * 257, "config_hash": "y" * 256})
    [create] = [
        each
        for each in decide(schedule(status=schedule_status(last_trained=last_trained)), at("12:00")).actions
        if isinstance(each, CreateRun)
    ]
    assert create.body["spec"]["previous"] == {"run": ELEVEN, "configHash": "y" * 256, "completionTime": "2026-03-02T11:20:00Z"}


def test_run_that_ends_as_its_successor_starts_is_what_the_successor_compares_with() -> None:
    observed = schedule(ended("11:00", "12:00", data_version="d2"), status=schedule_status(last_trained=LAST_TRAINED))
    [run] = [each.body for each in decide(observed, at("12:00")).actions if isinstance(each, CreateRun)]
    assert run["spec"]["previous"] == {"run": ELEVEN, "dataVersion": "d2", "completionTime": "2026-03-02T12:00:00Z"}


def test_decision_that_makes_a_run_says_that_it_starts_something() -> None:
    assert decide(schedule(), at("12:00")).starts
    assert not decide(schedule(starting_deadline_seconds=10), at("12:30")).starts


def test_fates_count_every_tick_once() -> None:
    observed = schedule(status=schedule_status(decided_through=at("08:30")), spec=schedule_spec())
    fates = [(each.action.value, each.reason, each.count or 1) for each in decide(observed, at("12:00")).fates]
    assert fates == [("Run", "Scheduled", 1), ("Skip", "Superseded", 3)]
