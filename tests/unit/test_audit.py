"""The audit trail: each transition is told exactly once, with who or what made it, and its line has fields for machines."""

import json
import logging
from dataclasses import replace
from typing import Any

import pytest
from tests.builders import (
    NOW,
    SCHEDULE_UID,
    SHA256,
    at,
    job_ended,
    job_failed,
    job_state,
    metadata,
    owner,
    pod_end,
    ready,
    run,
    schedule,
    schedule_spec,
    schedule_status,
    tick_name,
)
from tests.unit import test_deploy_rules as deploying
from tests.unit import test_drift as drifting
from tests.unit import test_rollback_rules as rolling
from tests.unit.run_table import seen

from retrain_operator.api.deploy import DeploymentState
from retrain_operator.api.job import NextAttempt, Phase, RetrainJobStatus
from retrain_operator.api.names import ANNOTATION_RELEASE_AT, ANNOTATION_REQUESTED_AT, ANNOTATION_ROLLBACK_AT
from retrain_operator.clock import SystemClock
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.logs import JsonFormatter
from retrain_operator.reconcile.events import EventRecorder
from retrain_operator.reconcile.workqueue import Item, Kind, WorkQueue
from retrain_operator.rules.decision import Decision, Event, WriteStatus
from retrain_operator.rules.observed import GuardObserved, GuardState, RunObserved, ScheduleObserved
from retrain_operator.rules.run import decide as decide_run
from retrain_operator.rules.schedule import decide as decide_schedule

NAME = tick_name("12:00")
LATER = at("12:05")
ASKED_BY = dict.fromkeys((ANNOTATION_REQUESTED_AT, ANNOTATION_ROLLBACK_AT, ANNOTATION_RELEASE_AT), "kubectl-annotate")


def going(reason: str, phase: Phase = Phase.PENDING, **fields: Any) -> RetrainJobStatus:
    base: dict[str, Any] = {"observed_generation": 1, "phase": phase, "attempt": 1, "conditions": [ready(False, reason, "so it is")]}
    return RetrainJobStatus(**base | fields)


RUNNING = going("Running", Phase.RUNNING, job_name=NAME, start_time=at("12:00:05"))
NEXT = NextAttempt(job=f"{NAME}-r1", time=at("12:03:30"), made=False)
FAILED = going("DataUnreadable", Phase.FAILED, completion_time=at("12:03"), next_attempt=NEXT)
HELD = GuardObserved(GuardState.HELD, "other")
BY_SCHEDULE = {"owner_references": [owner("RetrainSchedule", "churn", SCHEDULE_UID)]}
ROLLED_BACK = deploying.observed(
    status_=deploying.status(DeploymentState.ROLLING_BACK), deploy=deploying.TARGETED, slot=deploying.slot(deploying.BACK)
)

RUNS = [
    pytest.param(seen(created_by="flux"), "RunAccepted", {"createdBy": "flux", "trigger": "Schedule"}, id="created by a person, or Git"),
    pytest.param(run(suspend=True), "Suspended", {}, id="held"),
    pytest.param(seen(waits_for="old"), "Replacing", {}, id="waits for the run that it replaces"),
    pytest.param(run(job=job_state(suspended=True)), "Queued", {}, id="queued"),
    pytest.param(run(job=job_state(), status=going("Queued")), "Pending", {}, id="admitted"),
    pytest.param(run(job=job_state(ready=1)), "RunStarted", {"phaseBefore": "Pending", "phase": "Running"}, id="started"),
    pytest.param(
        run(job=job_state(suspended=True), status=RUNNING), "Queued", {"phaseBefore": "Running", "phase": "Pending"}, id="preempted"
    ),
    pytest.param(seen(run(job=job_state(ready=1), status=RUNNING), replaced_by="new"), "Stopping", {}, id="stopped"),
    pytest.param(
        run(job=job_ended(), pod=pod_end(), status=RUNNING),
        "RunCompleted",
        {"phaseBefore": "Running", "phase": "Completed"},
        id="completed",
    ),
    pytest.param(
        run(job=job_failed(), status=RUNNING, retry={"limit": 0}),
        "RunFailed",
        {"phaseBefore": "Running", "phase": "Failed"},
        id="failed",
    ),
    pytest.param(seen(guard=HELD, created_by="kubectl"), "RunSkipped", {"phase": "Skipped", "createdBy": "kubectl"}, id="skipped"),
    pytest.param(run(status=FAILED), "RetryCreated", {"job": f"{NAME}-r1", "trigger": "Retry", "attempt": 2}, id="retried"),
    pytest.param(seen(run(status=FAILED), replaced_by="new"), "RetryGivenUp", {}, id="not retried any more"),
    pytest.param(
        deploying.observed(),
        "Deployed",
        {"slot": "production", "sha256": SHA256, "previousSha256": "o" * 64, "deploymentBefore": "Pending", "deployment": "Deployed"},
        id="deployed",
    ),
    pytest.param(
        deploying.observed(deploy={"gates": [{"metric": "auc", "min": 0.95}]}),
        "GateFailed",
        {"slot": "production", "sha256": SHA256, "deployment": "Blocked"},
        id="blocked",
    ),
    pytest.param(ROLLED_BACK, "RolloutTimeout", {"sha256": SHA256, "deployment": "RolledBack"}, id="rolled back"),
]  # fmt: skip


@pytest.mark.parametrize(("observed", "reason", "details"), RUNS)
def test_a_transition_of_a_run_is_told_once(observed: RunObserved, reason: str, details: dict[str, Any]) -> None:
    decision = decide_run(observed, LATER)
    check(decision, reason, details)
    written = [each.status for each in decision.actions if isinstance(each, WriteStatus)]
    if written:
        after = seen(observed, status=RetrainJobStatus.model_validate(written[-1]), next_made=reason == "RetryCreated")
        assert decide_run(after, LATER).events == (), "a second look tells nothing"


def test_what_the_operator_made_it_tells_of_on_the_schedule() -> None:
    assert decide_run(run(meta=BY_SCHEDULE), LATER).events == ()


def annotated(annotation: str, **changes: Any) -> ScheduleObserved:
    return with_(schedule(meta={"annotations": {annotation: "t"}}, status=schedule_status(decided_through=NOW)), **changes)


def with_(observed: ScheduleObserved, **changes: Any) -> ScheduleObserved:
    return replace(observed, **({"asked_by": ASKED_BY} | changes))


SCHEDULES = [
    pytest.param(
        schedule(), "RunCreated", {"trigger": "Schedule", "tick": "2026-03-02T12:00:00Z", "job": NAME}, "made RetrainJob", id="by a tick"
    ),
    pytest.param(
        annotated(ANNOTATION_REQUESTED_AT),
        "RunCreated",
        {"trigger": "Manual", "requestedAt": "t", "requestedBy": "kubectl-annotate"},
        "(requested by kubectl-annotate)",
        id="by a request",
    ),
    pytest.param(
        annotated(ANNOTATION_REQUESTED_AT, asked_by={}), "RunCreated", {"requestedAt": "t"}, "made RetrainJob", id="nobody knows by whom"
    ),
    pytest.param(
        with_(rolling.asked(rolling.BACK)),
        "RolledBack",
        {"requestedAt": "t", "requestedBy": "kubectl-annotate", "job": "a", "sha256": "a" * 64},
        "(requested by kubectl-annotate)",
        id="rolled back",
    ),
    pytest.param(
        with_(rolling.asked(None, spec=schedule_spec(suspend=True))),
        "RollbackImpossible",
        {"requestedAt": "t", "requestedBy": "kubectl-annotate"},
        "(requested by kubectl-annotate)",
        id="nothing to roll back",
    ),
    pytest.param(
        with_(rolling.asked(rolling.BOTH, rollback=None, release="r")),
        "Released",
        {"requestedAt": "r", "requestedBy": "kubectl-annotate"},
        "(requested by kubectl-annotate)",
        id="released",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("observed", "reason", "details", "note"), SCHEDULES)
def test_a_transition_of_a_schedule_is_told_once(observed: ScheduleObserved, reason: str, details: dict[str, Any], note: str) -> None:
    decision = decide_schedule(observed, NOW)
    check(decision, reason, details)
    assert note in decision.events[0].note


def test_a_run_by_drift_tells_why() -> None:
    decision = decide_schedule(drifting.watched(), NOW)
    [created] = [each for each in decision.events if each.reason == "RunCreated"]
    assert created.details == {"job": drifting.NAME, "trigger": "Drift", "driftReasons": ["psi: 0.3 is above 0.2"]}


def check(decision: Decision, reason: str, details: dict[str, Any]) -> None:
    assert [each.reason for each in decision.events] == [reason]
    found = decision.events[0].details
    assert {name: found.get(name) for name in details} == details
    assert None not in found.values()
    json.dumps(dict(found))


def test_the_line_in_json_and_in_plain_text(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    recorder = EventRecorder(MemoryCluster(SystemClock().now), SystemClock(), "one", WorkQueue().calm)
    event = Event("Normal", "RunCreated", "t made RetrainJob x (requested by me)", {"requestedAt": "t", "requestedBy": "me"})
    recorder.record(Item(Kind.SCHEDULE, metadata().key), metadata(), event)
    [line] = caplog.records
    assert line.getMessage() == "schedule ml/churn: RunCreated: t made RetrainJob x (requested by me)"
    told = json.loads(JsonFormatter().format(line))
    assert told.pop("time")
    assert told == {
        "level": "info",
        "logger": "retrain_operator.reconcile.events",
        "message": line.getMessage(),
        "kind": "RetrainSchedule",
        "namespace": "ml",
        "name": "churn",
        "uid": metadata().uid,
        "type": "Normal",
        "reason": "RunCreated",
        "note": "t made RetrainJob x (requested by me)",
        "requestedAt": "t",
        "requestedBy": "me",
    }
