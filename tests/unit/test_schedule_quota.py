"""What is done about a schedule whose runs cannot be made at the moment, for want of a right or a quota: all else goes on."""

from dataclasses import replace

import pytest
from tests.builders import NOW, at, child, ended, ready, schedule, schedule_status
from tests.unit.schedule_table import TWELVE, Case, check, last, request, z
from tests.unit.test_drift import watched
from tests.unit.test_schedule_races import SCHEDULE, Bench

from retrain_operator.api.names import ANNOTATION_REQUESTED_AT, Key
from retrain_operator.api.schedule import TickDecision
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, Forbidden, Resource
from retrain_operator.rules.decision import WriteStatus
from retrain_operator.rules.schedule import decide

FULL = "exceeded quota: runs, used: 3, limited: 3: raise it"
ASKED = {"annotations": {ANNOTATION_REQUESTED_AT: "now"}}
WAITED = schedule_status(
    conditions=[ready(False, "CreateFailed", FULL)],
    last_decision=TickDecision.model_validate(last("Wait", "CreateFailed", "12:00", None, "12:00")),
    next_schedule_time=at("13:00"),
)


def wait(tick: str, note: str = "tick 2026-03-02T{}Z waits: no RetrainJob can be made at the moment") -> str:
    return f"Normal TickWaits: {note.format(tick)}"


ROWS = [
    pytest.param(
        Case(
            schedule(blocked=FULL),
            "12:00",
            ("status",),
            ready="False CreateFailed",
            status={
                "lastDecision": last("Wait", "CreateFailed", "12:00", None, "12:00"),
                "decidedThrough": z("11:00"),
                "nextScheduleTime": z("13:00"),
            },
            events=(wait("12:00"),),
            wake_at="13:00",
        ),
        id="a tick: waits, and stays due",
    ),
    pytest.param(
        Case(schedule(blocked=FULL, status=WAITED), "12:10", ready="False CreateFailed", wake_at="13:00"),
        id="still full: nothing is written, nobody is told twice",
    ),
    pytest.param(
        Case(
            schedule(ended("10:00", "10:20"), ended("11:00", "11:20"), blocked=FULL, successful_jobs_history_limit=1, status=WAITED),
            "12:10",
            ("status", "delete churn-29540760"),
            ready="False CreateFailed",
            status={"lastSuccessfulTime": z("11:20")},
            wake_at="13:00",
        ),
        id="a lower history limit: records go all the same, which may be what frees the quota",
    ),
    pytest.param(
        Case(
            schedule(status=WAITED),
            "12:10",
            (f"run {TWELVE}", "status"),
            status={"lastDecision": last("Run", "Scheduled", "12:00", TWELVE, "12:10"), "decidedThrough": z("12:00")},
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="raised: the tick starts",
    ),
    pytest.param(
        Case(
            schedule(status=WAITED, missed_run_policy="Skip"),
            "12:10",
            (f"run {TWELVE}", "status"),
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="raised, and what is missed is skipped: it was looked at in time",
    ),
    pytest.param(
        Case(
            schedule(status=WAITED, blocked=FULL),
            "13:00",
            ("status",),
            ready="False CreateFailed",
            status={"lastDecision": last("Wait", "CreateFailed", "13:00", None, "13:00"), "decidedThrough": z("12:00")},
            skipped=("Skip Superseded 12:00",),
            events=(wait("13:00"),),
            wake_at="14:00",
        ),
        id="a newer tick: it waits, and the one before is told",
    ),
    pytest.param(
        Case(
            schedule(status=WAITED, blocked=FULL, concurrency_policy="Allow", missed_run_policy="All"),
            "13:00",
            ("status",),
            ready="False CreateFailed",
            events=(wait("13:00", "2 ticks through 2026-03-02T{}Z wait: no RetrainJob can be made at the moment"),),
            wake_at="14:00",
        ),
        id="each must run: both wait",
    ),
    pytest.param(
        Case(
            schedule(child("11:00"), blocked=FULL, concurrency_policy="Replace"),
            "12:00",
            ("status",),
            ready="False CreateFailed",
            events=(wait("12:00"),),
            wake_at="13:00",
        ),
        id="Replace: what runs goes on",
    ),
    pytest.param(
        Case(
            schedule(blocked=FULL, suspend=True, meta=ASKED),
            "12:30",
            ("status",),
            ready="True Suspended",
            status={"lastRequest": request("Wait", "CreateFailed", "now", None, "12:30"), "lastHandledRequestedAt": None},
            skipped=("Skip Suspended 12:00",),
            events=(
                "Normal TickWaits: retrain.dev/requestedAt=now waits: no RetrainJob can be made at the moment",
                "Normal TickSkipped: tick 2026-03-02T12:00Z made no run: Suspended",
            ),
        ),
        id="a request while suspended: waits, and the ticks were suspended",
    ),
]


@pytest.mark.parametrize("case", ROWS)
def test_decide(case: Case) -> None:
    check(case)


class Quota(Bench):
    """A namespace that takes two RetrainJobs."""

    def _before(self, method: str, resource: Resource, key: Key) -> None:
        if (method, resource) == ("create", RUNS) and len(self.store.list(RUNS, "ml").items) >= 2:
            raise Forbidden(FULL, status=403)
        super()._before(method, resource, key)

    @property
    def ready(self) -> str:
        return str(self.status["conditions"][0]["reason"])


def test_a_lower_history_limit_frees_a_quota_and_the_tick_that_waited_starts() -> None:
    async def main(clock: VirtualClock) -> list[tuple[int, str, int]]:
        on = Quota(clock)
        found = []

        async def look() -> None:
            await on.look(times=3)
            found.append((len(on.made), on.ready, on.store.version))

        for _ in range(2):
            await clock.sleep(60)
            await on.look(times=2)
            on.finish(on.made[-1])
        await clock.sleep(60)
        await look()
        await look()
        await on.patch(SCHEDULES, SCHEDULE, {"spec": {"successfulJobsHistoryLimit": 1}})
        on.controller.take(SCHEDULES, "MODIFIED", on._stored(SCHEDULES, SCHEDULE.name))
        await look()
        return found

    full, still, lowered = run_virtual(main, NOW)
    assert full[:2] == (2, "CreateFailed")
    assert still == full, "nothing is written while it stays full"
    assert lowered[:2] == (3, "Scheduling")


def test_drift_that_asks_for_a_run_asks_again() -> None:
    decision = decide(replace(watched(), blocked=FULL), NOW)
    [write] = decision.actions
    assert isinstance(write, WriteStatus)
    assert write.status["conditions"][0]["reason"] == "CreateFailed"
    assert "lastEvaluation" not in write.status


def test_drift_that_asks_for_none_is_evaluated() -> None:
    [write] = decide(replace(watched(read={"psi": 0.1}), blocked=FULL), NOW).actions
    assert isinstance(write, WriteStatus)
    assert "lastEvaluation" in write.status
