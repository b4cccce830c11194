"""How a schedule's runs are counted, once each, and which records may go."""

from dataclasses import dataclass, field

import pytest
from tests.builders import NOW, at, child, ended, manual, metadata, schedule_spec, tick_name

from retrain_operator.api.job import Phase
from retrain_operator.api.schedule import ActiveRun, LastTrained, RetrainScheduleStatus
from retrain_operator.rules.history import account, prunable
from retrain_operator.rules.observed import ChildRun

FAILED, SKIPPED, COMPLETED = Phase.FAILED, Phase.SKIPPED, Phase.COMPLETED
NINE, TEN, ELEVEN = (tick_name(tick) for tick in ("09:00", "10:00", "11:00"))


def status(
    *, success: str | None = None, failure: str | None = None, failures: int = 0, active: tuple[str, ...] = (), trained: str = ""
) -> RetrainScheduleStatus:
    return RetrainScheduleStatus(
        last_successful_time=at(success) if success else None,
        last_failure_time=at(failure) if failure else None,
        consecutive_failures=failures,
        active=[ActiveRun(name=name) for name in active],
        last_trained=LastTrained(run="earlier", data_version="d0", completion_time=at(trained)) if trained else None,
    )


@dataclass(frozen=True)
class Case:
    """Runs, and how the account stands with them: times of day, failures in a row, the last trained run and the last to finish."""

    runs: tuple[ChildRun, ...]
    success: str | None = None
    failure: str | None = None
    failures: int = 0
    trained: str | None = None
    last_run: str | None = None
    status: RetrainScheduleStatus = field(default_factory=status)


ACCOUNTS = [
    pytest.param(Case(()), id="no runs: nothing"),
    pytest.param(Case((child("10:00"),)), id="an unfinished run is not counted"),
    pytest.param(Case((ended("10:00", "10:20"),), success="10:20", trained=TEN, last_run=TEN), id="completed: a success, trained"),
    pytest.param(
        Case((ended("10:00", "10:20", trained=False),), success="10:20", last_run=TEN), id="simulated: a success, nothing trained"
    ),
    pytest.param(
        Case((ended("10:00", "10:20", SKIPPED),), success="10:20", last_run=TEN, trained="earlier", status=status(trained="08:00")),
        id="skipped: a success, the trained run stays",
    ),
    pytest.param(
        Case((ended("10:00", "10:20", FAILED),), failure="10:20", failures=3, last_run=TEN, status=status(failures=2)),
        id="failed: one more in a row",
    ),
    pytest.param(
        Case((ended("10:00", "10:20", FAILED, trained=True),), failure="10:20", failures=1, last_run=TEN),
        id="failed with a trained result: nothing to compare with",
    ),
    pytest.param(
        Case(
            (ended("09:00", "09:10", FAILED), ended("10:00", "10:10"), ended("11:00", "11:10", FAILED)),
            success="10:10",
            failure="11:10",
            failures=1,
            trained=TEN,
            last_run=ELEVEN,
        ),
        id="several at once: in the order in which they finished",
    ),
    pytest.param(
        Case((ended("10:00", "10:20", FAILED, tells_nothing=True), ended("11:00", "11:20", SKIPPED, tells_nothing=True))),
        id="replaced, or kept from starting by the guard: neither a failure nor a success",
    ),
    pytest.param(
        Case(
            (ended("10:00", "10:20", FAILED, has_next=True), ended("10:00", "10:50", name="r1")),
            success="10:50",
            trained="r1",
            last_run="r1",
        ),
        id="an attempt that another one follows is not counted, its last one is",
    ),
    pytest.param(Case((ended("10:00", "10:20"),), success="10:20", status=status(success="10:20")), id="counted before: not counted again"),
    pytest.param(
        Case(
            (ended("10:00", "10:20", FAILED),),
            success="10:30",
            failure="10:20",
            failures=0,
            status=status(success="10:30", failure="10:20"),
        ),
        id="older than the last that was counted: not counted again",
    ),
    pytest.param(
        Case(
            (ended("10:00", "10:20", FAILED), manual("hand", phase=FAILED, completion_time=at("10:20"))),
            failure="10:20",
            failures=2,
            last_run="hand",
        ),
        id="two finish in the same second: both are counted",
    ),
    pytest.param(
        Case(
            (ended("10:00", "10:20", FAILED), manual("hand", phase=FAILED, completion_time=at("10:20"))),
            failure="10:20",
            failures=2,
            last_run="hand",
            status=status(failure="10:20", failures=1, active=("hand",)),
        ),
        id="one finishes in the second in which the last was counted: known by having been active",
    ),
    pytest.param(
        Case(
            (ended("10:00", "10:20", FAILED), manual("hand", phase=FAILED, completion_time=at("10:50"))),
            failure="10:50",
            failures=2,
            status=status(failure="10:50", failures=1, active=(TEN,)),
        ),
        id="a failure is heard of after a later one: counted, and no time goes back",
    ),
    pytest.param(
        Case(
            (ended("10:00", "10:20"), manual("hand", phase=FAILED, completion_time=at("10:50"))),
            success="10:20",
            failure="10:50",
            failures=1,
            trained=TEN,
            status=status(failure="10:50", failures=1, active=(TEN,)),
        ),
        id="a success is heard of after a later failure: that failure still stands",
    ),
    pytest.param(
        Case(
            (ended("10:00", "10:20", FAILED), ended("11:00", "11:20")),
            success="11:20",
            failure="10:20",
            failures=0,
            status=status(success="11:20", active=(TEN,)),
        ),
        id="a failure is heard of after a later success: not one in a row",
    ),
    pytest.param(
        Case(
            (ended("10:00", "10:20"),), success="11:20", trained="earlier", status=status(success="11:20", trained="11:20", active=(TEN,))
        ),
        id="a trained run is heard of after a later one: the later one stays",
    ),
]


@pytest.mark.parametrize("case", ACCOUNTS)
def test_account(case: Case) -> None:
    def instant(text: str | None) -> object:
        return at(text) if text else None

    for runs in (case.runs, case.runs[::-1]):
        counted = account(case.status, runs)
        assert counted.last_successful_time == instant(case.success)
        assert counted.last_failure_time == instant(case.failure)
        assert counted.consecutive_failures == case.failures
        assert (counted.last_trained.run if counted.last_trained else None) == case.trained
        assert (counted.last_run.name if counted.last_run else None) == case.last_run
        told = RetrainScheduleStatus(
            last_successful_time=counted.last_successful_time,
            last_failure_time=counted.last_failure_time,
            consecutive_failures=counted.consecutive_failures,
            last_trained=counted.last_trained,
        )
        again = account(told, runs)
        assert (again.last_run, again.consecutive_failures, again.last_trained) == (None, case.failures, counted.last_trained)


def history(**limits: int) -> dict[str, int]:
    return {f"{name}_jobs_history_limit": limit for name, limit in limits.items()}


def retried(name: str, end: str, phase: Phase) -> ChildRun:
    """A further attempt of the tick at 10:00."""
    return ended("10:00", end, phase, name=name, uid=name, root_uid="uid-10:00")


PRUNINGS = [
    pytest.param(history(successful=3), (ended("09:00", "09:10"), ended("10:00", "10:10")), (), id="within the limit: all stay"),
    pytest.param(
        history(successful=1),
        (ended("11:00", "11:10"), ended("09:00", "09:10"), ended("10:00", "10:10")),
        (NINE, TEN),
        id="beyond: oldest go",
    ),
    pytest.param(
        history(successful=1),
        (ended("09:00", "11:50"), ended("10:00", "10:10")),
        (TEN,),
        id="the oldest is the one that finished first, not that was created first",
    ),
    pytest.param(
        history(successful=1, failed=1),
        (ended("09:00", "09:10", FAILED), ended("10:00", "10:10"), ended("11:00", "11:10", FAILED)),
        (NINE,),
        id="failed runs have a limit of their own",
    ),
    pytest.param(
        history(successful=1), (ended("09:00", "09:10"), ended("10:00", "10:10", SKIPPED)), (NINE,), id="skipped count as successful"
    ),
    pytest.param(
        history(successful=0, failed=0), (ended("09:00", "09:10"), ended("10:00", "10:10", FAILED)), (TEN, NINE), id="limit 0: all go"
    ),
    pytest.param(history(successful=0, failed=0), (child("09:00"), child("10:00", phase=Phase.PENDING)), (), id="unfinished: never"),
    pytest.param(
        history(successful=0, failed=0),
        (manual("hand", phase=COMPLETED, completion_time=at("11:40")),),
        (),
        id="a person's run: a person removes it",
    ),
    pytest.param(
        history(successful=0), (ended("09:00", "09:10", owner_uid="old"),), (), id="a run of a deleted schedule of the same name: not ours"
    ),
    pytest.param(
        history(failed=1),
        (ended("10:00", "10:10", FAILED, has_next=True), retried("r1", "10:20", FAILED)),
        (),
        id="a run and its further attempts are one: within the limit",
    ),
    pytest.param(
        history(failed=1),
        (ended("10:00", "10:10", FAILED, has_next=True), retried("r1", "10:40", FAILED), ended("09:00", "10:30", FAILED)),
        (NINE,),
        id="attempts are as old as the last of them",
    ),
    pytest.param(
        history(failed=1),
        (ended("10:00", "10:10", FAILED, has_next=True), retried("r1", "10:20", FAILED), ended("11:00", "11:10", FAILED)),
        (TEN, "r1"),
        id="beyond the limit all attempts go together",
    ),
    pytest.param(
        history(failed=0, successful=1),
        (ended("10:00", "10:10", FAILED, has_next=True), retried("r1", "10:20", COMPLETED)),
        (),
        id="a run that succeeded in its second attempt is kept as a success, with the first",
    ),
    pytest.param(
        history(failed=0),
        (ended("10:00", "10:10", FAILED, has_next=True), child("10:00", name="r1", uid="r1", root_uid="uid-10:00")),
        (),
        id="an attempt whose run goes on stays, whatever the limit",
    ),
]


@pytest.mark.parametrize(("limits", "runs", "expected"), PRUNINGS)
def test_prunable(limits: dict[str, int], runs: tuple[ChildRun, ...], expected: tuple[str, ...]) -> None:
    assert tuple(run.name for run in prunable(schedule_spec(**limits), metadata(), runs, NOW).runs) == expected


LIVING = [
    pytest.param((ended("10:00", "10:10", expires_at=at("12:00")),), (TEN,), None, id="its time to live is over: it goes"),
    pytest.param((ended("10:00", "10:10", expires_at=at("12:01")),), (), "12:01", id="not yet over: woken when it is"),
    pytest.param(
        (ended("09:00", "09:10", expires_at=at("13:00")), ended("10:00", "10:10", expires_at=at("12:30"))),
        (),
        "12:30",
        id="of several the one that is over first",
    ),
    pytest.param(
        (manual("hand", phase=COMPLETED, completion_time=at("11:40"), expires_at=at("12:00")),),
        (),
        None,
        id="a person's run of the schedule: it ends itself",
    ),
    pytest.param((child("10:00", expires_at=at("11:00")),), (), None, id="unfinished: never"),
    pytest.param(
        (ended("10:00", "10:10", FAILED, expires_at=at("11:00")), child("11:00", phase=Phase.PENDING, replaces=TEN)),
        (),
        None,
        id="replaced by a run that has not finished: that one still looks for what it waits for",
    ),
    pytest.param(
        (ended("10:00", "10:10", FAILED, expires_at=at("11:00")), ended("11:00", "11:10", replaces=TEN)),
        (TEN,),
        None,
        id="replaced by a run that has finished: it goes",
    ),
    pytest.param(
        (ended("10:00", "10:10", FAILED, has_next=True, next_pending=True, expires_at=at("11:00")),),
        (),
        None,
        id="its next attempt is still to be made: never",
    ),
    pytest.param(
        (
            ended("10:00", "10:10", FAILED, has_next=True, next_pending=True),
            ended("10:00", "10:30", name="r1", uid="r1", root_uid="uid-10:00", expires_at=at("11:00")),
        ),
        (),
        None,
        id="an attempt that its forerunner does not know as made: it would be made again",
    ),
]


@pytest.mark.parametrize(("runs", "expected", "wake_at"), LIVING)
def test_time_to_live(runs: tuple[ChildRun, ...], expected: tuple[str, ...], wake_at: str | None) -> None:
    pruning = prunable(schedule_spec(), metadata(), runs, NOW)
    assert tuple(run.name for run in pruning.runs) == expected
    assert pruning.wake_at == (at(wake_at) if wake_at else None)


def test_run_beyond_the_limit_wakes_nobody() -> None:
    run = ended("10:00", "10:10", expires_at=at("13:00"))
    pruning = prunable(schedule_spec(**history(successful=0)), metadata(), (run,), NOW)
    assert ([each.name for each in pruning.runs], pruning.wake_at) == ([TEN], None)


KEPT = [
    pytest.param((ended("09:00", "09:10"), ended("10:00", "10:10")), {"uid-09:00"}, (TEN,), id="its model is live, or one to go back to"),
    pytest.param((ended("09:00", "09:10", deploying=True),), set(), (), id="it is not decided whether its model goes live"),
    pytest.param(
        (ended("09:00", "09:10", expires_at=at("10:00")),), {"uid-09:00"}, (), id="its time to live is over, and its model is live"
    ),
]


@pytest.mark.parametrize(("runs", "in_slots", "expected"), KEPT)
def test_records_that_a_slot_needs_stay(runs: tuple[ChildRun, ...], in_slots: set[str], expected: tuple[str, ...]) -> None:
    pruning = prunable(schedule_spec(**history(successful=0)), metadata(), runs, NOW, frozenset(in_slots))
    assert tuple(run.name for run in pruning.runs) == expected
