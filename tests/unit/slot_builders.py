"""Slots and targets for tests."""

from typing import Any

from tests.builders import SCHEDULE, at

from retrain_operator.api.deploy import Target
from retrain_operator.api.names import Key
from retrain_operator.api.slot import SlotRecord
from retrain_operator.manifests.slot import slot_labels
from retrain_operator.rules.rollout import TargetObserved

API = Target.model_validate({"kind": "Deployment", "name": "api"})
KEY, LABELS = Key("ml", "churn-production"), slot_labels(SCHEDULE, "production", is_schedule=True)


def record(name: str, hour: str, **changes: Any) -> SlotRecord:
    base: dict[str, Any] = {
        "run": name,
        "run_uid": f"uid-{name}",
        "uri": f"s3://m/{name}",
        "sha256": name[0] * 64,
        "order": f"2026-03-02T{hour}:00:00Z/x/{name}",
        "deployed_at": at(f"{hour}:30"),
        "data_version": "v0",
    }
    return SlotRecord(**base | changes)


def target(**changes: Any) -> TargetObserved:
    """A Deployment that has opted in and shows the old model, all of it."""
    base: dict[str, Any] = {
        "target": API,
        "version": "3",
        "deploy_from": (SCHEDULE,),
        "uri": "s3://m/old",
        "sha256": "o" * 64,
        "stamp": "churn-production/1",
        "is_complete": True,
        "progress": "0 of 1 replicas updated",
    }
    return TargetObserved(**base | changes)
