"""What a written status adds to the counters: ticks, drift evaluations, ends of runs, notifications, deploys and rollbacks."""

from collections.abc import Mapping
from typing import Any

from retrain_operator.api.deploy import DeploymentState, RollbackState
from retrain_operator.api.job import Phase
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, Resource
from retrain_operator.reconcile.metrics import Metrics, bounded_reason
from retrain_operator.rules.decision import Decision
from retrain_operator.rules.run_status import DEPLOYED

Status = Mapping[str, Any]


def count(metrics: Metrics, resource: Resource, decision: Decision, before: Status, after: Status) -> None:
    """Count what is new between two statuses of an object, the second one being written by `decision`."""
    for fate in decision.fates:
        metrics.ticks.labels(fate.action.value, fate.reason).inc(fate.count or 1)
    for delivery in decision.deliveries:
        metrics.notifications.labels(delivery.state.value).inc()
    if resource is SCHEDULES and after.get("lastEvaluation") not in (None, before.get("lastEvaluation")):
        metrics.evaluations.labels(after["recommendation"]["action"]).inc()
    phase = after.get("phase")
    if resource is RUNS and phase and phase != before.get("phase") and Phase(phase).is_finished:
        error = after.get("error") or {}
        metrics.runs.labels(phase, bounded_reason(error.get("reason") or phase, error.get("exitCode"))).inc()
    _count_deploy(metrics, before, after)
    _count_rollback(metrics, before.get("lastRollback") or {}, after.get("lastRollback") or {})


def _count_deploy(metrics: Metrics, before: Status, after: Status) -> None:
    deployment = after.get("deployment")
    state: str = deployment["state"] if deployment else ""
    if deployment and state != (before.get("deployment") or {}).get("state") and DeploymentState(state).is_decided:
        reason = next((each["reason"] for each in after["conditions"] if each["type"] == DEPLOYED), "")
        metrics.deploys.labels(state, reason).inc()


def _count_rollback(metrics: Metrics, before: Status, after: Status) -> None:
    known = (before.get("requestedAt"), before.get("state"))
    if after and after["state"] != RollbackState.ROLLING_OUT and (after["requestedAt"], after["state"]) != known:
        metrics.rollbacks.labels(after["state"]).inc()
