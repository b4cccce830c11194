"""What is done about a schedule whose runs fail, and about one that only reports. The schedule is hourly, decided through 11:00."""

from typing import Any

import pytest
from tests.builders import CREATED, at, child, ended, schedule, schedule_status, tick_name
from tests.unit.schedule_table import ELEVEN, THIRTEEN, TWELVE, WAITS, Case, active, check, last, z

from retrain_operator.api.base import Condition
from retrain_operator.api.job import Phase
from retrain_operator.api.policy import Recommendation
from retrain_operator.api.schedule import RetrainScheduleStatus
from retrain_operator.rules.schedule import decide

FAILED, TEN = Phase.FAILED, tick_name("10:00")
THREE: dict[str, Any] = {"suspend_after_failures": 3}
HOW = (
    "3 runs failed in a row: automatic starts are held. Mend the cause, then edit the spec or start a run by hand: "
    "kubectl annotate rts churn retrain.dev/requestedAt=$(date +%s) --overwrite"
)


def condition(type_: str, status: str, reason: str, message: str, generation: int = 1) -> Condition:
    base = {"type": type_, "status": status, "reason": reason, "message": message, "observed_generation": generation}
    return Condition.model_validate(base | {"last_transition_time": CREATED})


def paused(**fields: Any) -> RetrainScheduleStatus:
    """Paused since its run of 11:00 failed at 11:20, the third in a row."""
    ready = condition("Ready", "True", "Paused", "failed runs hold automatic starts, see the condition Paused")
    conditions = [ready, condition("Paused", "True", "TooManyFailures", HOW)]
    base: dict[str, Any] = {"conditions": conditions, "consecutive_failures": 3, "last_failure_time": at("11:20")}
    return schedule_status(**base | {"next_schedule_time": None} | fields)


PAUSES = [
    pytest.param(
        Case(
            schedule(ended("11:00", "11:20", FAILED), status=schedule_status(consecutive_failures=2), **THREE),
            "11:20",
            ("status",),
            ready="True Paused",
            status={
                "Paused": "True TooManyFailures",
                "consecutiveFailures": 3,
                "nextScheduleTime": None,
                "LastRunSucceeded": "False Failed",
            },
            events=(f"Warning Paused: {HOW}",),
        ),
        id="the third failure in a row: paused, and what to do",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "11:20", FAILED), status=schedule_status(consecutive_failures=1), **THREE),
            "11:20",
            ("status",),
            status={"Paused": None, "consecutiveFailures": 2, "nextScheduleTime": z("12:00")},
            wake_at="12:00",
        ),
        id="the second: not yet",
    ),
    pytest.param(
        Case(
            schedule(
                ended("11:00", "11:20", FAILED, has_next=True, next_pending=True), status=schedule_status(consecutive_failures=2), **THREE
            ),
            "11:20",
            ("status",),
            status={"Paused": None, "consecutiveFailures": 2, "active": active(ELEVEN)},
            wake_at="12:00",
        ),
        id="an attempt that another one follows is not counted",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "11:20", FAILED, tells_nothing=True), status=schedule_status(consecutive_failures=2), **THREE),
            "11:20",
            status={"Paused": None, "consecutiveFailures": 2, "lastFailureTime": None},
            wake_at="12:00",
        ),
        id="a run that was replaced is not counted",
    ),
    pytest.param(
        Case(
            schedule(
                ended("11:00", "12:20", FAILED),
                status=schedule_status(consecutive_failures=2, last_decision=WAITS.last_decision),
                **THREE,
            ),
            "12:20",
            ("status",),
            ready="True Paused",
            status={"lastDecision": last("Skip", "Paused", "12:00", None, "12:20"), "decidedThrough": z("12:00")},
            skipped=("Skip Paused 12:00",),
            events=(f"Warning Paused: {HOW}", "Normal TickSkipped: tick 2026-03-02T12:00Z made no run: Paused"),
        ),
        id="paused while a tick waits: it does not start",
    ),
    pytest.param(
        Case(schedule(status=paused(), **THREE), "11:45", ready="True Paused", status={"Paused": "True TooManyFailures"}), id="still"
    ),
    pytest.param(
        Case(
            schedule(status=paused(), **THREE),
            "13:30",
            ("status",),
            ready="True Paused",
            skipped=("Skip Paused 12:00..13:00 x2",),
            events=("Normal TickSkipped: tick 2026-03-02T13:00Z made no run: Paused",),
        ),
        id="still, and somebody looks after two ticks: told",
    ),
    pytest.param(
        Case(
            schedule(child("11:00", name="hand", created=at("12:10")), status=paused(), **THREE),
            "12:10",
            ("status",),
            ready="True Paused",
            status={"active": active("hand"), "Paused": "True TooManyFailures"},
            skipped=("Skip Paused 12:00",),
            events=("Normal TickSkipped: tick 2026-03-02T12:00Z made no run: Paused",),
        ),
        id="a run is started by hand: it lifts nothing before it went well",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "12:20", name="hand"), status=paused(), **THREE),
            "13:05",
            (f"run {THIRTEEN}", "status"),
            status={"Paused": "False Resumed", "consecutiveFailures": 0, "nextScheduleTime": z("14:00")},
            skipped=("Skip Paused 12:00",),
            events=(
                "Normal Resumed: a run went well: automatic starts go on",
                f"Normal RunCreated: tick 2026-03-02T13:00Z made RetrainJob {THIRTEEN}",
            ),
            wake_at="14:00",
        ),
        id="it goes well: lifted from its end on, also when nobody looked",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "12:20", FAILED, name="hand"), status=paused(), **THREE),
            "12:20",
            ("status",),
            ready="True Paused",
            status={"Paused": "True TooManyFailures", "consecutiveFailures": 4},
            skipped=("Skip Paused 12:00",),
            events=("Normal TickSkipped: tick 2026-03-02T12:00Z made no run: Paused",),
        ),
        id="it fails as well: still paused",
    ),
    pytest.param(
        Case(
            schedule(status=paused(last_successful_time=at("09:10")), meta={"generation": 2}, **THREE),
            "12:10",
            ("status",),
            status={"Paused": "False Resumed", "consecutiveFailures": 0, "nextScheduleTime": z("13:00"), "observedGeneration": 2},
            skipped=("Skip Paused 12:00",),
            events=(
                "Normal Resumed: the spec was edited: automatic starts go on",
                "Normal TickSkipped: tick 2026-03-02T12:00Z made no run: Paused",
            ),
            wake_at="13:00",
        ),
        id="the spec is edited: lifted from now on, and failures count from zero",
    ),
    pytest.param(
        Case(
            schedule(ended("11:00", "11:50", FAILED, name="hand"), status=paused(), meta={"generation": 2}, suspend_after_failures=1),
            "11:50",
            ("status",),
            status={"Paused": "False Resumed", "consecutiveFailures": 0},
            events=("Normal Resumed: the spec was edited: automatic starts go on",),
            wake_at="12:00",
        ),
        id="a failure from before the edit does not pause it again",
    ),
    pytest.param(
        Case(
            schedule(status=paused(), meta={"generation": 2}),
            "11:45",
            ("status",),
            status={"Paused": "False Resumed", "consecutiveFailures": 0},
            events=("Normal Resumed: the spec was edited: automatic starts go on",),
            wake_at="12:00",
        ),
        id="the limit is removed: lifted",
    ),
    pytest.param(
        Case(
            schedule(status=schedule_status(consecutive_failures=5), meta={"generation": 2}, **THREE),
            "11:45",
            ("status",),
            ready="True Paused",
            status={"Paused": "True TooManyFailures", "consecutiveFailures": 5},
            events=(f"Warning Paused: {HOW.replace('3 runs', '5 runs')}",),
        ),
        id="a limit is set where more runs failed already: paused at once",
    ),
    pytest.param(
        Case(
            schedule(status=paused(), suspend=True, **THREE),
            "12:00",
            ("status",),
            ready="True Suspended",
            status={"Paused": "True TooManyFailures"},
            skipped=("Skip Suspended 12:00",),
            events=("Normal TickSkipped: tick 2026-03-02T12:00Z made no run: Suspended",),
        ),
        id="suspended as well: that is the reason that is told",
    ),
    pytest.param(
        Case(
            schedule(time_zone="Mars/Base", status=paused(), meta={"generation": 2}, **THREE),
            "11:45",
            ("status",),
            ready="False InvalidSpec",
            status={"Paused": "True TooManyFailures", "consecutiveFailures": 3},
            events=(
                'Warning InvalidSpec: timeZone "Mars/Base" is not an IANA time zone: write its name, capitals included, '
                "e.g. Europe/London or Etc/UTC",
            ),
        ),
        id="edited to something invalid: lifted once it is mended, not before",
    ),
]

RECOMMENDED = Recommendation.model_validate(
    {"action": "recommended", "reasons": ["Scheduled"], "evaluated_at": at("11:00"), "job": ELEVEN},
)
DRY = schedule_status(recommendation=RECOMMENDED)
REPORTS = [
    pytest.param(
        Case(
            schedule(dry_run=True),
            "12:00",
            ("status",),
            status={
                "recommendation": {"action": "recommended", "reasons": ["Scheduled"], "evaluatedAt": z("12:00"), "job": TWELVE},
                "lastDecision": last("Skip", "DryRun", "12:00", TWELVE, "12:00"),
                "active": [],
                "lastScheduleTime": None,
                "nextScheduleTime": z("13:00"),
            },
            skipped=(f"Skip DryRun 12:00 {TWELVE}",),
            events=(f"Normal TickSkipped: tick 2026-03-02T12:00Z made no run: DryRun (it would be RetrainJob {TWELVE})",),
            wake_at="13:00",
        ),
        id="a tick is due: recommended, with the job that would be made",
    ),
    pytest.param(Case(schedule(dry_run=True, status=DRY), "11:45", wake_at="12:00"), id="nothing new: the recommendation stays"),
    pytest.param(
        Case(
            schedule(dry_run=True, starting_deadline_seconds=60, status=DRY),
            "12:30",
            ("status",),
            status={"recommendation": {"action": "none", "reasons": ["DeadlineMissed"], "evaluatedAt": z("12:30")}},
            skipped=("Skip DeadlineMissed 12:00",),
            events=("Warning TickSkipped: tick 2026-03-02T12:00Z made no run: DeadlineMissed",),
            wake_at="13:00",
        ),
        id="a tick would not have run: none, and why",
    ),
    pytest.param(
        Case(
            schedule(status=DRY),
            "12:00",
            (f"run {TWELVE}", "status"),
            status={"recommendation": None},
            events=(f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",),
            wake_at="13:00",
        ),
        id="dry run switched off: runs are made, nothing is recommended any more",
    ),
]


@pytest.mark.parametrize("case", [*PAUSES, *REPORTS])
def test_decide(case: Case) -> None:
    check(case)


def test_message_of_a_pause_is_left_alone_while_it_lasts() -> None:
    observed = schedule(ended("11:00", "11:50", FAILED, name="hand"), status=paused(), **THREE)
    [write] = decide(observed, at("11:50")).actions
    found = [each for each in write.status["conditions"] if each["type"] == "Paused"]  # type: ignore[union-attr]
    assert [(each["message"], each["lastTransitionTime"]) for each in found] == [(HOW, z("08:30"))]
