"""What a written status adds to the counters, by what stood there before."""

from typing import Any

import pytest
from tests.builders import at

from retrain_operator.api.notify import Delivery, DeliveryState, Occasion
from retrain_operator.api.schedule import Action, TickDecision
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, Resource
from retrain_operator.reconcile.counting import count
from retrain_operator.reconcile.metrics import Metrics
from retrain_operator.rules.decision import Decision

NONE: dict[str, Any] = {}
MISSED = TickDecision(action=Action.SKIP, reason="DeadlineMissed", scheduled_time=at("11:00"), count=3, time=at("12:00"))
RAN = TickDecision(action=Action.RUN, reason="Scheduled", scheduled_time=at("12:00"), time=at("12:00"))
GIVEN_UP = Delivery(webhook="team", occasion=Occasion.FAILED, state=DeliveryState.GIVEN_UP, time=at("12:00"), message="404")


def failed(reason: str, **error: Any) -> dict[str, Any]:
    return {"phase": "Failed", "error": {"reason": reason, **error}}


def deployment(state: str, reason: str = "") -> dict[str, Any]:
    return {
        "deployment": {"state": state},
        "conditions": [{"type": "Ready", "reason": "Completed"}, {"type": "Deployed", "reason": reason}],
    }


def rollback(state: str, token: str = "one") -> dict[str, Any]:
    return {"lastRollback": {"requestedAt": token, "state": state}}


def evaluation(instant: str, action: str = "none") -> dict[str, Any]:
    return {"lastEvaluation": instant, "recommendation": {"action": action}}


ROWS = [
    pytest.param(
        SCHEDULES, Decision(fates=(MISSED,)), NONE, NONE, {("ticks", "Skip", "DeadlineMissed"): 3}, id="ticks with one fate: each"
    ),
    pytest.param(
        SCHEDULES,
        Decision(fates=(MISSED, RAN)),
        NONE,
        NONE,
        {("ticks", "Skip", "DeadlineMissed"): 3, ("ticks", "Run", "Scheduled"): 1},
        id="ticks with several fates: by fate",
    ),
    pytest.param(
        SCHEDULES,
        Decision(),
        evaluation("12:00"),
        evaluation("12:05"),
        {("drift_evaluations", "none"): 1},
        id="another evaluation: counted",
    ),
    pytest.param(SCHEDULES, Decision(), evaluation("12:00"), evaluation("12:00"), {}, id="the same evaluation: not again"),
    pytest.param(RUNS, Decision(), {"phase": "Pending"}, {"phase": "Running"}, {}, id="a run that is not finished: not counted"),
    pytest.param(
        RUNS,
        Decision(),
        {"phase": "Running"},
        {"phase": "Completed"},
        {("runs_finished", "Completed", "Completed"): 1},
        id="a run that went well: its phase is the reason",
    ),
    pytest.param(
        RUNS,
        Decision(),
        {"phase": "Running"},
        failed("row-4711-is-broken", exitCode=3),
        {("runs_finished", "Failed", "DataUnreadable"): 1},
        id="a run that failed: its reason, bounded",
    ),
    pytest.param(RUNS, Decision(), failed("PodLost"), failed("PodLost"), {}, id="a run that was finished before: not again"),
    pytest.param(RUNS, Decision(deliveries=(GIVEN_UP,)), NONE, NONE, {("notifications", "GivenUp"): 1}, id="a notification: on record"),
    pytest.param(RUNS, Decision(), deployment("Pending"), deployment("RollingOut"), {}, id="a rollout under way: not counted"),
    pytest.param(
        RUNS,
        Decision(),
        deployment("Pending"),
        deployment("Blocked", "GateFailed"),
        {("deploys", "Blocked", "GateFailed"): 1},
        id="a model that was decided on: counted, with the condition's reason",
    ),
    pytest.param(
        RUNS, Decision(), deployment("Deployed", "Live"), deployment("Deployed", "Live"), {}, id="a model decided on before: not again"
    ),
    pytest.param(SCHEDULES, Decision(), NONE, rollback("RollingOut"), {}, id="a rollback under way: not counted"),
    pytest.param(
        SCHEDULES, Decision(), rollback("RollingOut"), rollback("RolledBack"), {("rollbacks", "RolledBack"): 1}, id="a rollback's end"
    ),
    pytest.param(SCHEDULES, Decision(), rollback("RolledBack"), rollback("RolledBack"), {}, id="a rollback counted before: not again"),
    pytest.param(
        SCHEDULES,
        Decision(),
        rollback("Impossible"),
        rollback("Impossible", "two"),
        {("rollbacks", "Impossible"): 1},
        id="another rollback with the same end: counted",
    ),
]


@pytest.mark.parametrize(("resource", "decision", "before", "after", "expected"), ROWS)
def test_count(
    resource: Resource, decision: Decision, before: dict[str, Any], after: dict[str, Any], expected: dict[tuple[str, ...], int]
) -> None:
    metrics = Metrics()
    count(metrics, resource, decision, before, after)
    assert counted(metrics) == expected


def counted(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Counters above zero, by their name and labels."""
    return {
        (family.name.removeprefix("retrain_"), *sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.endswith("_total") and sample.value
    }
