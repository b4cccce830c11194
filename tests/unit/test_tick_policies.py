"""What becomes of each due tick under concurrencyPolicy, missedRunPolicy, dryRun and pauses. The schedule is hourly."""

from typing import Any

import pytest
from tests.builders import at, child, ended, manual, metadata, tick_name
from tests.unit.tick_table import Case, check, starts, told

from retrain_operator.api.job import Phase
from retrain_operator.api.schedule import Action, TickDecision
from retrain_operator.cron import Cron
from retrain_operator.rules.ticks import Held, dropped

TEN, ELEVEN, TWELVE = (tick_name(tick) for tick in ("10:00", "11:00", "12:00"))
RUNNING = child("11:00")
DEADLINE = {"starting_deadline_seconds": 600}
ALLOW, QUEUE, REPLACE = ({"concurrency_policy": policy} for policy in ("Allow", "Queue", "Replace"))
ALL, SKIP = ({"missed_run_policy": policy} for policy in ("All", "Skip"))
DRY: dict[str, Any] = {"dry_run": True}
RETRIED = ended("11:00", "11:20", Phase.FAILED, has_next=True, next_pending=True)


def known(first: str, last: str | None = None, count: int | None = None) -> TickDecision:
    """Ticks that were told to wait for the run of 11:00."""
    fields: dict[str, Any] = {"first_scheduled_time": at(first), "count": count} if last else {}
    return TickDecision(action=Action.WAIT, reason="x", scheduled_time=at(last or first), job=ELEVEN, time=at(first), **fields)


def replaces(tick: str, run: str, **expected: Any) -> Case:
    return Case(f"Run Scheduled {tick} {tick_name(tick)}", last_run=tick, starts=(f"{tick} {run}",), **expected)


CONCURRENCY = [
    pytest.param(starts("12:00", runs=(RUNNING,), spec=ALLOW), id="Allow: it starts beside the unfinished run"),
    pytest.param(
        starts("12:00", floor="10:00", runs=(child("10:00"),), spec=ALLOW, skipped=("Skip Superseded 11:00",)),
        id="Allow: an older tick was not in the way of anything, but missed",
    ),
    pytest.param(
        Case(f"Wait ConcurrencyQueue 12:00 {ELEVEN}", runs=(RUNNING,), spec=QUEUE, through="11:00"), id="Queue: it waits for the run"
    ),
    pytest.param(
        Case(f"Wait ConcurrencyQueue 12:00 {ELEVEN}", now="12:40", runs=(RUNNING,), spec=QUEUE | DEADLINE, through="11:00"),
        id="Queue: it waits beyond its deadline, and nothing wakes it for that",
    ),
    pytest.param(
        starts("12:00", now="12:40", runs=(ended("11:00", "12:40"),), spec=QUEUE | DEADLINE, waited=known("12:00")),
        id="Queue: it starts when the run ends, past its deadline",
    ),
    pytest.param(
        starts("12:00", now="12:40", runs=(), spec=QUEUE | DEADLINE, waited=known("12:00")),
        id="Queue: so it does when that run's record is gone",
    ),
    pytest.param(
        Case("Skip DeadlineMissed 12:00", now="12:40", spec=QUEUE | DEADLINE, skipped=("Skip DeadlineMissed 12:00",)),
        id="Queue: a tick that waited for nothing has its deadline",
    ),
    pytest.param(
        Case(
            f"Wait ConcurrencyQueue 13:00 {ELEVEN}",
            now="13:00",
            runs=(RUNNING,),
            spec=QUEUE,
            waited=known("12:00"),
            skipped=("Skip Superseded 12:00",),
            through="12:00",
            wake_at="14:00",
        ),
        id="Queue: a newer tick takes the place of the one that waits",
    ),
    pytest.param(replaces("12:00", ELEVEN, runs=(RUNNING,), spec=REPLACE), id="Replace: it starts in place of the run"),
    pytest.param(starts("12:00", runs=(ended("11:00", "11:20"),), spec=REPLACE), id="Replace: nothing is unfinished, nothing is replaced"),
    pytest.param(replaces("12:00", ELEVEN, runs=(RETRIED,), spec=REPLACE), id="Replace: a retry that is still to be made is replaced"),
    pytest.param(
        replaces("12:00", TEN, runs=(child("10:00"), manual("hand", phase=Phase.PENDING)), spec=REPLACE),
        id="Replace: of several the one that runs",
    ),
    pytest.param(
        replaces("12:00", ELEVEN, runs=(child("10:00"), child("11:00", phase=Phase.PENDING, replaces=TEN)), spec=REPLACE),
        id="Replace: a run that itself waits to replace another is replaced, not that other again",
    ),
    pytest.param(
        Case(
            "Skip Superseded 12:00 hand",
            now="12:30",
            runs=(manual("hand", created=at("12:10")),),
            spec=REPLACE,
            skipped=("Skip Superseded 12:00 hand",),
        ),
        id="Replace: a run that was made after the tick is not replaced by it",
    ),
    pytest.param(
        Case(
            "Skip Superseded 12:00 hand",
            runs=(manual("hand", created=at("12:00")),),
            spec=REPLACE,
            skipped=("Skip Superseded 12:00 hand",),
        ),
        id="Replace: nor one that was made in the tick's own second",
    ),
    pytest.param(
        replaces(
            "12:00",
            f"{ELEVEN}-r1",
            now="12:10",
            runs=(
                ended("11:00", "11:50", Phase.FAILED, has_next=True),
                child("11:00", name=f"{ELEVEN}-r1", uid="r1", created=at("12:05"), root_uid="uid-11:00"),
            ),
            spec=REPLACE,
        ),
        id="Replace: a retry is as old as its first attempt",
    ),
    pytest.param(
        replaces("12:00", "a", runs=(manual("a", replaces="b"), manual("b", replaces="a")), spec=REPLACE),
        id="Replace: two runs that people made to replace each other: one of them",
    ),
]

MISSED = [
    pytest.param(starts("12:00", now="12:01", spec=SKIP), id="Skip: a minute late counts as on time"),
    pytest.param(Case("Skip Missed 12:00", now="12:01:01", spec=SKIP, skipped=("Skip Missed 12:00",)), id="Skip: later is missed"),
    pytest.param(
        starts("12:00", floor="09:00", spec=SKIP, skipped=("Skip Missed 10:00..11:00 x2",)), id="Skip: the tick that is on time runs alone"
    ),
    pytest.param(
        Case(f"Wait ConcurrencyForbid 12:00 {ELEVEN}", now="12:30", runs=(RUNNING,), spec=SKIP, waited=known("12:00"), through="11:00"),
        id="Skip: what waits for a run was looked at in time",
    ),
    pytest.param(
        starts("12:00", now="12:30", runs=(ended("11:00", "12:30"),), spec=SKIP, waited=known("12:00")),
        id="Skip: and starts when that run ends",
    ),
    pytest.param(
        Case(
            f"Skip ConcurrencyForbid 12:00 {ELEVEN}",
            now="12:30",
            runs=(RUNNING,),
            spec=SKIP,
            skipped=(f"Skip ConcurrencyForbid 12:00 {ELEVEN}",),
        ),
        id="Skip: missed, and blocked as well: the run is named",
    ),
    pytest.param(starts("12:00", spec=ALL), id="All: one tick: it starts"),
    pytest.param(
        Case(
            f"Wait ConcurrencyForbid 11:00..12:00 x2 {TEN}",
            floor="09:00",
            spec=ALL,
            through="10:00",
            starts=("10:00",),
            last_run="10:00",
        ),
        id="All: three missed: the oldest starts, the others wait for it",
    ),
    pytest.param(
        Case(
            f"Wait ConcurrencyForbid 12:00 {ELEVEN}",
            now="12:30",
            floor="10:00",
            runs=(ended("10:00", "12:30"),),
            spec=ALL,
            waited=known("11:00", "12:00", 2),
            through="11:00",
            starts=("11:00",),
            last_run="11:00",
        ),
        id="All: the former run has finished: the next starts",
    ),
    pytest.param(
        Case(
            f"Wait ConcurrencyForbid 12:00 {ELEVEN}",
            floor="08:00",
            spec=ALL | {"max_catch_up": 2},
            through="11:00",
            starts=("11:00",),
            last_run="11:00",
            skipped=("Skip Superseded 09:00..10:00 x2",),
        ),
        id="All: the ones beyond maxCatchUp are superseded",
    ),
    pytest.param(
        starts("12:00", floor="08:00", spec=ALL | {"max_catch_up": 1}, skipped=("Skip Superseded 09:00..11:00 x3",)),
        id="All: maxCatchUp 1 is Latest",
    ),
    pytest.param(
        Case(
            f"Wait ConcurrencyForbid 12:00 {ELEVEN}",
            floor="2026-01-01T00:30",
            spec=ALL | {"max_catch_up": 2},
            through="11:00",
            starts=("11:00",),
            last_run="11:00",
            skipped=("Skip Superseded 01-01T01:00..10:00 xNone",),
            missed_many=True,
        ),
        id="All: more than a hundred missed: maxCatchUp of them run all the same",
    ),
    pytest.param(
        Case(
            f"Wait ConcurrencyForbid 12:00 {ELEVEN}",
            now="12:05",
            floor="09:00",
            spec=ALL | {"starting_deadline_seconds": 3900},
            through="11:00",
            starts=("11:00",),
            last_run="11:00",
            skipped=("Skip DeadlineMissed 10:00",),
            wake_at="13:00",
        ),
        id="All: a tick past its deadline loses its turn",
    ),
    pytest.param(
        Case(
            f"Wait ConcurrencyForbid 11:00..12:00 x2 {TEN}",
            floor="10:00",
            runs=(child("10:00"),),
            spec=ALL | {"starting_deadline_seconds": 3700},
            through="10:00",
            wake_at="12:01:41",
        ),
        id="All: woken when the first that waits is too late",
    ),
    pytest.param(
        Case(
            f"Wait ConcurrencyForbid 12:00 {ELEVEN}",
            floor="09:00",
            runs=(child("10:00", phase=Phase.COMPLETED, completion_time=at("10:30")), child("11:00")),
            spec=ALL,
            through="11:00",
            last_run="11:00",
        ),
        id="All: two that were made before a crash are told, and the third waits",
    ),
    pytest.param(
        Case(
            f"Run Scheduled 12:00 {TWELVE}",
            floor="10:00",
            runs=(child("12:00"),),
            spec=ALL,
            last_run="12:00",
            skipped=("Skip Superseded 11:00",),
        ),
        id="All: before a crash a tick was too late, and its deadline was lifted since: its turn has passed",
    ),
    pytest.param(
        Case(
            f"Wait ConcurrencyQueue 12:00..13:00 x2 {ELEVEN}",
            now="13:00",
            runs=(RUNNING,),
            spec=ALL | QUEUE,
            waited=known("12:00"),
            through="11:00",
            wake_at="14:00",
        ),
        id="All and Queue: the queue holds up to maxCatchUp ticks",
    ),
    pytest.param(
        Case(
            f"Wait CatchingUp 11:00..12:00 x2 {TEN}",
            floor="09:00",
            spec=ALL | ALLOW,
            through="10:00",
            starts=("10:00",),
            last_run="10:00",
        ),
        id="All and Allow: missed ticks run one after another all the same",
    ),
    pytest.param(starts("12:00", runs=(RUNNING,), spec=ALL | ALLOW), id="All and Allow: a tick on time starts beside what runs"),
    pytest.param(
        Case(
            f"Wait CatchingUp 11:00..12:00 x2 {TEN}",
            floor="09:00",
            spec=ALL | REPLACE,
            through="10:00",
            starts=("10:00",),
            last_run="10:00",
        ),
        id="All and Replace: missed ticks do not replace each other",
    ),
    pytest.param(replaces("12:00", ELEVEN, runs=(RUNNING,), spec=ALL | REPLACE), id="All and Replace: a tick on time replaces what runs"),
    pytest.param(
        Case(
            "Wait CatchingUp 12:00 hand",
            runs=(manual("hand", created=at("12:00")),),
            spec=ALL | REPLACE,
            through="11:00",
        ),
        id="All and Replace: but not a run that was made after it: it waits",
    ),
]

MINUTELY: dict[str, Any] = {"cron": "* * * * *", "now": "12:01", "floor": "11:59", "wake_at": "12:02"}
ON_TIME = [
    pytest.param(
        Case(
            f"Run Scheduled 12:01 {tick_name('12:01')}",
            spec=ALL | ALLOW,
            through="12:01",
            starts=("12:00", "12:01"),
            last_run="12:01",
            **MINUTELY,
        ),
        id="All and Allow: two ticks within a minute, both on time: both start",
    ),
    pytest.param(
        Case(
            f"Wait CatchingUp 12:01 {TWELVE}",
            runs=(child("10:00"),),
            spec=ALL | REPLACE,
            through="12:00",
            starts=(f"12:00 {TEN}",),
            last_run="12:00",
            **MINUTELY,
        ),
        id="All and Replace: the second does not replace what the first replaces",
    ),
]

REPORTED = [
    pytest.param(Case(f"Skip DryRun 12:00 {TWELVE}", spec=DRY, skipped=(f"Skip DryRun 12:00 {TWELVE}",)), id="dry run: told, not made"),
    pytest.param(
        Case(
            f"Skip DryRun 12:00 {TWELVE}",
            floor="10:00",
            spec=DRY | ALL,
            skipped=(f"Skip DryRun 12:00 {TWELVE}", f"Skip DryRun 11:00 {ELEVEN}"),
        ),
        id="dry run: nothing is waited for, so all are told at once",
    ),
    pytest.param(
        Case(f"Wait ConcurrencyForbid 12:00 {ELEVEN}", runs=(RUNNING,), spec=DRY, through="11:00"),
        id="dry run: a run from before is unfinished: it waits as it would",
    ),
    pytest.param(
        Case(f"Run Scheduled 12:00 {TWELVE}", runs=(child("12:00"),), spec=DRY, last_run="12:00"),
        id="dry run switched on after a crash that left the run: the run is told",
    ),
    pytest.param(Case("Skip Paused 12:00", paused_until="12:00", skipped=("Skip Paused 12:00",)), id="paused: tick consumed, no run"),
    pytest.param(
        starts("12:00", floor="09:00", paused_until="11:30", skipped=("Skip Paused 10:00..11:00 x2",)),
        id="the pause was lifted: only the ticks since then run",
    ),
    pytest.param(
        Case(
            "Skip Paused 12:00",
            floor="10:00",
            held_until="11:00",
            paused_until="12:00",
            skipped=("Skip Paused 12:00", "Skip Suspended 11:00"),
        ),
        id="suspended, then paused: each tick with its reason",
    ),
    pytest.param(
        Case(
            "Skip Paused 12:00",
            floor="10:00",
            runs=(ended("10:00", "12:00", Phase.FAILED),),
            spec=ALL,
            waited=known("11:00", "12:00", 2),
            paused_until="12:00",
            skipped=("Skip Paused 11:00..12:00 x2",),
        ),
        id="paused while several wait: none of them runs",
    ),
]


@pytest.mark.parametrize("case", [*CONCURRENCY, *MISSED, *ON_TIME, *REPORTED])
def test_plan(case: Case) -> None:
    check(case)


DROPPED = [
    pytest.param(known("12:00"), "0 * * * * Etc/UTC", "11:00", (), [f"Skip Superseded 12:00 {ELEVEN}"], id="one waited"),
    pytest.param(
        known("10:00", "12:00", 3), "0 * * * * Etc/UTC", "09:00", (), [f"Skip Superseded 10:00..12:00 x3 {ELEVEN}"], id="three waited"
    ),
    pytest.param(None, "0 * * * * Etc/UTC", "09:00", (), ["Skip Superseded 10:00..12:00 x3"], id="three that nobody had looked at"),
    pytest.param(
        known("11:00"), "0 * * * * Etc/UTC", "10:00", (), ["Skip Superseded 12:00", f"Skip Superseded 11:00 {ELEVEN}"], id="one of each"
    ),
    pytest.param(None, "* * * * * Etc/UTC", "09:00", (), ["Skip Superseded 09:01..12:10 xNone"], id="more than are counted"),
    pytest.param(None, "* * * * * Etc/UTC", "18:00", (), [], id="decided beyond now by a clock that went wrong"),
    pytest.param(
        known("10:00", "12:00", 3),
        "0 * * * * Etc/UTC",
        "09:00",
        (child("10:00"),),
        [f"Skip Superseded 11:00..12:00 x2 {ELEVEN}", f"Run Scheduled 10:00 {TEN}"],
        id="one of them was made before a crash",
    ),
    pytest.param(
        known("10:00", "12:30", 3),
        "30 * * * * Etc/UTC",
        "10:00",
        (),
        [f"Skip Superseded 10:30..11:30 x2 {ELEVEN}"],
        id="a tick of the new schedule as well: it is still due",
    ),
]


@pytest.mark.parametrize(("waited", "effective", "since", "runs", "expected"), DROPPED)
def test_ticks_that_were_due_or_waited_when_the_schedule_was_edited(
    waited: TickDecision | None, effective: str, since: str, runs: tuple[Any, ...], expected: list[str]
) -> None:
    cron, times = Cron.parse("30 12 * * *"), {"since": at(since), "floor": at("12:10"), "now": at("12:40")}
    fates = dropped(waited, effective, cron, metadata(), runs, Held(), **times)
    assert [told(each) for each in fates] == expected
