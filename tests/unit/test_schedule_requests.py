"""What is done about a schedule whose annotation asks for a run. The schedule is hourly, decided through 11:00; it is 11:45."""

import hashlib
from dataclasses import replace
from typing import Any

import pytest
from tests.builders import NAMESPACE, SCHEDULE_UID, at, child, ended, manual, ready, schedule, schedule_status
from tests.unit.schedule_table import ELEVEN, TWELVE, WAITS, Case, active, check, last, request, z

from retrain_operator.api.job import Phase
from retrain_operator.api.names import ANNOTATION_REQUESTED_AT
from retrain_operator.api.schedule import ActiveRun, RetrainScheduleStatus, TickDecision
from retrain_operator.manifests.runs import manual_run_name
from retrain_operator.rules.decision import CreateRun
from retrain_operator.rules.observed import ChildRun, ScheduleObserved
from retrain_operator.rules.schedule import decide

ONE, TWO = manual_run_name("churn", "one"), manual_run_name("churn", "two")
RUNNING = child("11:00")


def asked(token: str | None, *runs: ChildRun, **changes: Any) -> ScheduleObserved:
    annotations = {ANNOTATION_REQUESTED_AT: token} if token is not None else {}
    observed = schedule(*runs, **changes)
    return replace(observed, metadata=observed.metadata.model_copy(update={"annotations": annotations}))


def by_request(token: str = "one", **changes: Any) -> ChildRun:
    """The run that was made for a token, unfinished."""
    name = manual_run_name("churn", token)
    return manual(name, **{"owner_uid": SCHEDULE_UID, "created": at("11:40")} | changes)


def waiting_request(token: str = "one", **changes: Any) -> RetrainScheduleStatus:
    """A status that tells of a request that waits since 11:30."""
    fields = {"action": "Wait", "reason": "ConcurrencyForbid", "scheduled_time": at("11:30"), "requested_at": token, "job": ELEVEN}
    told = TickDecision.model_validate(fields | {"time": at("11:30")})
    return schedule_status(**{"last_request": told, "active": [ActiveRun(name=ELEVEN)]} | changes)


REQUESTS = [
    pytest.param(
        Case(
            asked("one"),
            "11:45",
            (f"run {ONE}", "status"),
            status={
                "lastHandledRequestedAt": "one",
                "lastRequest": request("Run", "Requested", "one", ONE, "11:45"),
                "active": active(ONE),
                "lastDecision": None,
                "lastScheduleTime": None,
                "decidedThrough": z("11:00"),
            },
            events=(f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",),
            wake_at="12:00",
        ),
        id="a new token: the run, then the status; ticks are not touched",
    ),
    pytest.param(
        Case(asked("one", status=schedule_status(last_handled_requested_at="one")), "11:45", wake_at="12:00"),
        id="a token that was acted on",
    ),
    pytest.param(Case(asked(""), "11:45", wake_at="12:00"), id="an empty token asks for nothing"),
    pytest.param(
        Case(
            asked("one", by_request()),
            "11:45",
            ("status",),
            status={
                "lastHandledRequestedAt": "one",
                "lastRequest": request("Run", "Requested", "one", ONE, "11:45"),
                "active": active(ONE),
            },
            events=(f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",),
            wake_at="12:00",
        ),
        id="crashed between run and status: the run is told, not made again",
    ),
    pytest.param(
        Case(
            asked("one", by_request(owner_uid=None)),
            "11:45",
            ("status",),
            status={"lastHandledRequestedAt": "one", "lastRequest": request("Skip", "NameTaken", "one", ONE, "11:45")},
            skipped=(f"Skip NameTaken one {ONE}",),
            events=(f"Warning TickSkipped: retrain.dev/requestedAt=one made no run: NameTaken (RetrainJob {ONE})",),
            wake_at="12:00",
        ),
        id="the run's name belongs to something else: it made no run",
    ),
    pytest.param(
        Case(
            asked("one", RUNNING),
            "11:45",
            ("status",),
            status={
                "lastHandledRequestedAt": None,
                "lastRequest": request("Wait", "ConcurrencyForbid", "one", ELEVEN, "11:45"),
                "active": active(ELEVEN),
            },
            events=(f"Normal TickWaits: retrain.dev/requestedAt=one waits for the unfinished RetrainJob {ELEVEN}",),
            wake_at="12:00",
        ),
        id="Forbid, a run is unfinished: it waits",
    ),
    pytest.param(Case(asked("one", RUNNING, status=waiting_request()), "11:45", wake_at="12:00"), id="it still waits: nothing is written"),
    pytest.param(
        Case(
            asked("one", ended("11:00", "11:45"), status=waiting_request()),
            "11:45",
            (f"run {ONE}", "status"),
            status={"lastHandledRequestedAt": "one", "lastRequest": request("Run", "Requested", "one", ONE, "11:45", since="11:30")},
            events=(f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",),
            wake_at="12:00",
        ),
        id="that run ends: it starts, and tells since when it waited",
    ),
    pytest.param(
        Case(
            asked("one", RUNNING, concurrency_policy="Queue"),
            "11:45",
            ("status",),
            status={"lastRequest": request("Wait", "ConcurrencyQueue", "one", ELEVEN, "11:45")},
            events=(f"Normal TickWaits: retrain.dev/requestedAt=one waits for the unfinished RetrainJob {ELEVEN}",),
            wake_at="12:00",
        ),
        id="Queue: so does it",
    ),
    pytest.param(
        Case(
            asked("one", RUNNING, concurrency_policy="Allow"),
            "11:45",
            (f"run {ONE}", "status"),
            status={"active": active(ELEVEN, ONE)},
            events=(f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",),
            wake_at="12:00",
        ),
        id="Allow: it starts beside what runs",
    ),
    pytest.param(
        Case(
            asked("one", RUNNING, concurrency_policy="Replace"),
            "11:45",
            (f"run {ONE} replaces {ELEVEN}", "status"),
            events=(f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",),
            wake_at="12:00",
        ),
        id="Replace: it replaces what runs",
    ),
    pytest.param(
        Case(
            asked(
                "one",
                child("12:00", created=at("12:01")),
                status=schedule_status(decided_through=at("12:00")),
                concurrency_policy="Replace",
            ),
            "12:01",
            (f"run {ONE} replaces {TWELVE}", "status"),
            events=(f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",),
            wake_at="13:00",
        ),
        id="Replace: also what was made in the same second",
    ),
    pytest.param(
        Case(
            asked("two", RUNNING, status=waiting_request()),
            "11:45",
            ("status",),
            status={"lastRequest": request("Wait", "ConcurrencyForbid", "two", ELEVEN, "11:45"), "lastHandledRequestedAt": None},
            skipped=("Skip Superseded one",),
            events=(
                "Warning TickSkipped: retrain.dev/requestedAt=one made no run: Superseded",
                f"Normal TickWaits: retrain.dev/requestedAt=two waits for the unfinished RetrainJob {ELEVEN}",
            ),
            wake_at="12:00",
        ),
        id="a newer token while one waits: the older never ran",
    ),
    pytest.param(
        Case(
            asked("two", by_request(phase=Phase.COMPLETED, completion_time=at("11:44")), status=waiting_request()),
            "11:45",
            (f"run {TWO}", "status"),
            status={"lastRequest": request("Run", "Requested", "two", TWO, "11:45"), "lastHandledRequestedAt": "two"},
            events=(
                f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",
                f"Normal RunCreated: retrain.dev/requestedAt=two made RetrainJob {TWO}",
            ),
            wake_at="12:00",
        ),
        id="a newer token after a crash that left the older one's run: both acted",
    ),
    pytest.param(
        Case(
            asked(None, RUNNING, status=waiting_request()),
            "11:45",
            ("status",),
            status={"lastRequest": request("Skip", "Withdrawn", "one", None, "11:45", since="11:30"), "lastHandledRequestedAt": None},
            skipped=("Skip Withdrawn one",),
            events=("Normal TickSkipped: retrain.dev/requestedAt=one made no run: Withdrawn",),
            wake_at="12:00",
        ),
        id="the annotation is taken back while it waits: withdrawn",
    ),
    pytest.param(
        Case(
            asked("zero", RUNNING, status=waiting_request(last_handled_requested_at="zero")),
            "11:45",
            ("status",),
            status={"lastHandledRequestedAt": "zero"},
            skipped=("Skip Withdrawn one",),
            events=("Normal TickSkipped: retrain.dev/requestedAt=one made no run: Withdrawn",),
            wake_at="12:00",
        ),
        id="so it is when the token before comes back, which does not act again",
    ),
]

WITH_TICKS = [
    pytest.param(
        Case(
            asked("one"),
            "12:00",
            (f"run {ONE}", "status"),
            status={"lastDecision": last("Wait", "ConcurrencyForbid", "12:00", ONE, "12:00"), "decidedThrough": z("11:00")},
            events=(
                f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",
                f"Normal TickWaits: tick 2026-03-02T12:00Z waits for the unfinished RetrainJob {ONE}",
            ),
            wake_at="13:00",
        ),
        id="Forbid, and a tick is due: the request first",
    ),
    pytest.param(
        Case(
            asked("one", ended("11:00", "12:20"), status=waiting_request(last_decision=WAITS.last_decision)),
            "12:20",
            (f"run {ONE}", "status"),
            status={"lastDecision": last("Wait", "ConcurrencyForbid", "12:00", ONE, "12:20"), "active": active(ONE)},
            events=(
                f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",
                f"Normal TickWaits: tick 2026-03-02T12:00Z waits for the unfinished RetrainJob {ONE}",
            ),
            wake_at="13:00",
        ),
        id="both wait for the same run: the request first, or it might wait for ever",
    ),
    pytest.param(
        Case(
            asked("one", concurrency_policy="Allow"),
            "12:00",
            (f"run {ONE}", f"run {TWELVE}", "status"),
            status={"active": active(TWELVE, ONE), "lastScheduleTime": z("12:00")},
            events=(
                f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",
                f"Normal RunCreated: tick 2026-03-02T12:00Z made RetrainJob {TWELVE}",
            ),
            wake_at="13:00",
        ),
        id="Allow: both start",
    ),
    pytest.param(
        Case(
            asked("one", RUNNING, concurrency_policy="Replace"),
            "12:00",
            (f"run {ONE} replaces {ELEVEN}", "status"),
            status={"lastDecision": last("Skip", "Superseded", "12:00", ONE, "12:00")},
            skipped=(f"Skip Superseded 12:00 {ONE}",),
            events=(
                f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",
                f"Warning TickSkipped: tick 2026-03-02T12:00Z made no run: Superseded (RetrainJob {ONE})",
            ),
            wake_at="13:00",
        ),
        id="Replace: the request is newer, and nothing is made to be ended at once",
    ),
]

HELD = [
    pytest.param(
        Case(
            asked("one", suspend=True, status=schedule_status(conditions=[ready(True, "Suspended")], next_schedule_time=None)),
            "11:45",
            (f"run {ONE}", "status"),
            ready="True Suspended",
            status={"nextScheduleTime": None, "lastHandledRequestedAt": "one"},
            events=(f"Normal RunCreated: retrain.dev/requestedAt=one made RetrainJob {ONE}",),
        ),
        id="suspended: a request works",
    ),
    pytest.param(
        Case(
            asked("one", time_zone="Mars/Base", status=schedule_status(conditions=[ready(False, "InvalidSpec", "x")])),
            "11:45",
            ("status",),
            ready="False InvalidSpec",
            status={"lastHandledRequestedAt": None, "lastRequest": None},
            events=(
                'Warning InvalidSpec: timeZone "Mars/Base" is not an IANA time zone: write its name, capitals included, '
                "e.g. Europe/London or Etc/UTC",
            ),
        ),
        id="invalid: it acts when the spec is mended, not before",
    ),
    pytest.param(
        Case(
            asked("one", dry_run=True),
            "11:45",
            ("status",),
            status={
                "lastHandledRequestedAt": "one",
                "lastRequest": request("Skip", "DryRun", "one", ONE, "11:45"),
                "recommendation": {"action": "recommended", "reasons": ["Requested"], "evaluatedAt": z("11:45"), "job": ONE},
                "active": [],
            },
            skipped=(f"Skip DryRun one {ONE}",),
            events=(f"Normal TickSkipped: retrain.dev/requestedAt=one made no run: DryRun (it would be RetrainJob {ONE})",),
            wake_at="12:00",
        ),
        id="dry run: reported, nothing is made",
    ),
]


@pytest.mark.parametrize("case", [*REQUESTS, *WITH_TICKS, *HELD])
def test_decide(case: Case) -> None:
    check(case)


def test_name_of_a_request_derives_from_its_token_alone() -> None:
    assert "churn-m" + hashlib.sha256(b"one").hexdigest()[:10] == ONE
    assert len(manual_run_name("s" * 40, "2026-03-02T12:00:00Z")) <= 57


def test_run_of_a_request_is_a_manual_run_of_the_schedule() -> None:
    observed = asked("one", window="2025-26", status=schedule_status(decided_through=at("13:00")))
    [run] = [action.body for action in decide(observed, at("13:00")).actions if isinstance(action, CreateRun)]
    assert run["metadata"]["namespace"] == NAMESPACE
    assert run["metadata"]["ownerReferences"][0]["uid"] == SCHEDULE_UID
    labels = run["metadata"]["labels"]
    assert (labels["retrain.dev/trigger"], labels["retrain.dev/schedule"], labels["retrain.dev/window"]) == ("Manual", "churn", "2025-26")
    assert {"trigger": "Manual", "schedule": "churn", "window": "2025-26"}.items() <= run["spec"].items()
    assert run["spec"].keys().isdisjoint({"scheduledTime", "replaces"})
    assert run["metadata"]["name"] == ONE
