"""What becomes of each due tick, under the default policies. The schedule is hourly; a tick is written as its time of day."""

import pytest
from tests.builders import at, child, ended, manual, tick_name
from tests.unit.tick_table import Case, check, starts, waits

from retrain_operator.api.job import Phase

ELEVEN = tick_name("11:00")
TWELVE = tick_name("12:00")
RUNNING = child("11:00")
DEADLINE = {"starting_deadline_seconds": 600}

CASES = [
    # The clock
    pytest.param(Case(None, now="11:59:59", through="11:00", wake_at="12:00"), id="a second before the tick: nothing is due"),
    pytest.param(starts("12:00"), id="exactly at the tick: it starts"),
    pytest.param(starts("12:00", now="12:59:59"), id="an hour late, without a deadline: it starts"),
    pytest.param(Case(None, floor="12:00", through="12:00"), id="floor exactly at the tick: it is decided on"),
    pytest.param(Case(None, floor="12:30", through="12:30"), id="floor later than now, after the clock was set back: nothing is due"),
    # More than one due
    pytest.param(
        starts("12:00", floor="08:30", skipped=("Skip Superseded 09:00..11:00 x3",)),
        id="four missed: the newest runs, the others are one entry",
    ),
    pytest.param(starts("12:00", floor="10:00", skipped=("Skip Superseded 11:00",)), id="two missed: one entry without a count"),
    pytest.param(
        starts("12:00", floor="2026-02-26T08:00", skipped=("Skip Superseded 02-26T09:00..11:00 x99",)),
        id="a hundred missed: counted",
    ),
    pytest.param(
        starts("12:00", floor="2026-02-26T07:00", skipped=("Skip Superseded 02-26T08:00..11:00 xNone",), missed_many=True),
        id="a hundred and one missed: not counted, reaches back to the first",
    ),
    pytest.param(
        starts("12:00", floor="2020-01-01T00:00", skipped=("Skip Superseded 01-01T01:00..11:00 xNone",), missed_many=True),
        id="six years missed: the entry reaches back to the first",
    ),
    # Deadline
    pytest.param(starts("12:00", now="12:10", spec=DEADLINE), id="exactly at the deadline: it starts"),
    pytest.param(
        Case("Skip DeadlineMissed 12:00", now="12:10:01", spec=DEADLINE, skipped=("Skip DeadlineMissed 12:00",)), id="past it: a miss"
    ),
    pytest.param(
        Case(
            "Skip DeadlineMissed 12:00",
            now="12:00:11",
            spec={"starting_deadline_seconds": 10},
            skipped=("Skip DeadlineMissed 12:00",),
        ),
        id="deadline shorter than the delay of the operator: a miss, not a late start",
    ),
    pytest.param(
        starts("12:00", now="12:05", floor="09:00", spec=DEADLINE, skipped=("Skip DeadlineMissed 10:00..11:00 x2",)),
        id="older ticks are past the deadline: that is their reason",
    ),
    pytest.param(
        starts(
            "12:00",
            floor="09:00",
            spec={"starting_deadline_seconds": 3600},
            skipped=("Skip Superseded 11:00", "Skip DeadlineMissed 10:00"),
        ),
        id="older ticks within and past the deadline: two entries, newest first",
    ),
    # An unfinished run
    pytest.param(waits("12:00", RUNNING, runs=(RUNNING,), through="11:00"), id="a run is unfinished: the tick waits and stays due"),
    pytest.param(
        waits("12:00", RUNNING, runs=(RUNNING,), spec=DEADLINE, through="11:00", wake_at="12:10:01"),
        id="it waits with a deadline: woken just after it",
    ),
    pytest.param(
        waits("12:00", RUNNING, runs=(RUNNING,), spec={"starting_deadline_seconds": 7200}, through="11:00"),
        id="it waits with a deadline beyond the next tick: woken at the tick",
    ),
    pytest.param(
        Case(
            f"Skip ConcurrencyForbid 12:00 {ELEVEN}",
            now="12:10:01",
            runs=(RUNNING,),
            spec=DEADLINE,
            skipped=(f"Skip ConcurrencyForbid 12:00 {ELEVEN}",),
        ),
        id="the deadline passes while it waits: skipped for the run in its way",
    ),
    pytest.param(
        waits("13:00", RUNNING, now="13:00", runs=(RUNNING,), skipped=(f"Skip ConcurrencyForbid 12:00 {ELEVEN}",), wake_at="14:00"),
        id="a newer tick is due while it waits: skipped, and the newer one waits",
    ),
    pytest.param(starts("12:00", now="12:20", runs=(ended("11:00", "12:20"),)), id="the run in its way ends: it starts"),
    pytest.param(
        starts(
            "13:00",
            now="13:05",
            runs=(ended("11:00", "13:02"),),
            skipped=(f"Skip ConcurrencyForbid 12:00 {ELEVEN}",),
            through="13:00",
            wake_at="14:00",
        ),
        id="the run ended after two ticks: the newer starts, the older was blocked",
    ),
    pytest.param(
        starts("13:00", now="13:05", runs=(ended("11:00", "12:00"),), skipped=("Skip Superseded 12:00",), through="13:00", wake_at="14:00"),
        id="the run ended in the second of the tick: it was not in its way",
    ),
    pytest.param(
        waits("12:00", manual("hand"), runs=(manual("hand"),), through="11:00"),
        id="a person's run of this schedule is unfinished: it waits",
    ),
    pytest.param(starts("12:00", runs=(manual("hand", schedule="other"),)), id="a run of another schedule is unfinished: it starts"),
    pytest.param(starts("12:00", runs=(manual("hand", schedule=None),)), id="a run of no schedule is unfinished: it starts"),
    pytest.param(
        waits(
            "12:00", manual("hand"), floor="09:00", runs=(manual("hand"),), skipped=("Skip Superseded 10:00..11:00 x2",), through="11:00"
        ),
        id="waiting with older ticks due: they are decided on",
    ),
    pytest.param(
        Case(
            "Skip ConcurrencyForbid 13:00 hand",
            now="13:20",
            runs=(ended("11:00", "12:10"), manual("hand", created=at("12:40"))),
            spec=DEADLINE,
            skipped=("Skip ConcurrencyForbid 13:00 hand", f"Skip ConcurrencyForbid 12:00 {ELEVEN}"),
            through="13:00",
            wake_at="14:00",
        ),
        id="two ticks blocked by two runs: two entries, each with its run",
    ),
    # Crash between the run and the status
    pytest.param(
        Case(f"Run Scheduled 12:00 {TWELVE}", runs=(child("12:00"),), last_run="12:00"), id="its run exists and is going: not made again"
    ),
    pytest.param(
        Case(f"Run Scheduled 12:00 {TWELVE}", runs=(ended("12:00", "12:01"),), now="12:30", last_run="12:00"),
        id="its run exists and has finished: not made again",
    ),
    pytest.param(
        waits("12:00", RUNNING, floor="10:00", runs=(RUNNING,), through="11:00", last_run="11:00"),
        id="an older tick made its run before a crash: that is told, and is no skip",
    ),
    pytest.param(
        Case(
            "Skip DeadlineMissed 13:00",
            now="13:30",
            floor="10:00",
            runs=(ended("12:00", "12:01"),),
            spec=DEADLINE,
            skipped=("Skip DeadlineMissed 13:00", "Skip DeadlineMissed 11:00"),
            last_run="12:00",
            through="13:00",
            wake_at="14:00",
        ),
        id="skips on both sides of a tick that made its run: two entries, and none covers it",
    ),
    # The name is taken
    pytest.param(
        Case(
            f"Skip NameTaken 12:00 {TWELVE}",
            runs=(child("12:00", owner_uid=None, schedule=None),),
            skipped=(f"Skip NameTaken 12:00 {TWELVE}",),
        ),
        id="a person's RetrainJob has the tick's name: skipped",
    ),
    pytest.param(
        Case(f"Skip NameTaken 12:00 {TWELVE}", runs=(child("12:00", owner_uid="old"),), skipped=(f"Skip NameTaken 12:00 {TWELVE}",)),
        id="a run of a deleted schedule of the same name has it: skipped",
    ),
    # Suspended
    pytest.param(
        Case("Skip Suspended 12:00", spec={"suspend": True}, held_until="12:00", skipped=("Skip Suspended 12:00",), wake_at=None),
        id="suspended: tick consumed, no run",
    ),
    pytest.param(
        Case(
            "Skip Suspended 12:00",
            spec={"suspend": True},
            held_until="12:00",
            runs=(RUNNING,),
            skipped=("Skip Suspended 12:00",),
            wake_at=None,
        ),
        id="suspended while it waited: consumed",
    ),
    pytest.param(
        Case(None, now="11:30", spec={"suspend": True}, held_until="11:30", through="11:00", wake_at=None), id="suspended: nothing wakes it"
    ),
    pytest.param(
        Case("Skip Suspended 12:00", floor="09:00", now="12:30", held_until="12:30", skipped=("Skip Suspended 10:00..12:00 x3",)),
        id="resumed: the ticks of the suspension do not run",
    ),
    pytest.param(
        starts("12:00", floor="09:00", now="12:30", held_until="11:30", skipped=("Skip Suspended 10:00..11:00 x2",)),
        id="resumed while the operator was down: the tick after the resumption runs",
    ),
    pytest.param(
        Case("Skip Suspended 12:00", held_until="12:00", skipped=("Skip Suspended 12:00",)), id="resumed exactly at a tick: still suspended"
    ),
    pytest.param(
        Case(
            "Skip Suspended 12:00",
            floor="2026-01-01T00:30",
            held_until="12:00",
            skipped=("Skip Suspended 01-01T01:00..12:00 xNone",),
        ),
        id="resumed after two months: one entry, and nobody is warned of missed ticks",
    ),
    pytest.param(
        Case(
            f"Run Scheduled 12:00 {TWELVE}",
            spec={"suspend": True},
            held_until="12:00",
            runs=(child("12:00"),),
            last_run="12:00",
            wake_at=None,
        ),
        id="suspended after a crash that left the run: the run is told",
    ),
]


@pytest.mark.parametrize("case", CASES)
def test_plan(case: Case) -> None:
    check(case)


def test_job_that_finished_without_a_time_is_in_nobodys_way() -> None:
    assert not child(phase=Phase.FAILED).was_unfinished_at(at("11:30"))
