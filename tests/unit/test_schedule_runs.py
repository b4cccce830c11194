"""What is done about a schedule that cannot work as it stands, and about its runs. The schedule is hourly, decided through 11:00."""

from dataclasses import replace
from typing import Any

import pytest
from tests.builders import (
    at,
    child,
    ended,
    manual,
    ready,
    schedule,
    schedule_status,
    tick_name,
)
from tests.unit.schedule_table import ELEVEN, TWELVE, WAITS, Case, active, check, last, z

from retrain_operator.api.job import Phase
from retrain_operator.errors import InvalidSpec

BAD_ZONE = 'timeZone "Mars/Base" is not an IANA time zone: write its name, capitals included, e.g. Europe/London or Etc/UTC'
TEN = tick_name("10:00")
NO_LIMITS: dict[str, Any] = {"successful_jobs_history_limit": 0, "failed_jobs_history_limit": 0}
REFUSAL = 'RetrainJob "x" is invalid: metadata.labels: Invalid value'

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
            schedule(
                ended("10:00", "10:20"),
                ended("11:00", "11:20", expires_at=at("14:00")),
                time_zone="Mars/Base",
                successful_jobs_history_limit=1,
                status=schedule_status(
                    conditions=[ready(False, "InvalidSpec", BAD_ZONE)], next_schedule_time=None, last_successful_time=at("11:20")
                ),
            ),
            "13:00",
            ("delete " + TEN,),
            ready="False InvalidSpec",
            wake_at="14:00",
        ),
        id="invalid, and records beyond the limit or near the end of their time: pruned all the same",
    ),
    pytest.param(
        Case(
            schedule(
                ended("10:00", "10:20"),
                spec=InvalidSpec("spec.schedule: Field required"),
                status=schedule_status(
                    conditions=[ready(False, "InvalidSpec", "spec.schedule: Field required")],
                    next_schedule_time=None,
                    last_successful_time=at("10:20"),
                ),
            ),
            "13:00",
            ready="False InvalidSpec",
        ),
        id="a spec that cannot be read: its limits cannot either, nothing is pruned",
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


@pytest.mark.parametrize("case", [*REFUSED, *RUNS])
def test_decide(case: Case) -> None:
    check(case)
