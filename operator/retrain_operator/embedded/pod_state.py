"""The status of a pod as a scheduler and a kubelet write it, for pods with one container that matters. Pure."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from retrain_operator.cluster.objects import timestamp
from retrain_operator.cluster.protocol import Body
from retrain_operator.embedded.pods import Terminated

NODE = "embedded"
LOOPBACK = "127.0.0.1"
_OWN_CONDITIONS = ("PodScheduled", "Initialized", "ContainersReady", "Ready")


def unschedulable(pod: Body, message: str, now: datetime) -> Body:
    condition = {**_condition("PodScheduled", "False", timestamp(now), "Unschedulable"), "message": message}
    return {**pod, "status": {**pod["status"], "conditions": [condition]}}


def waiting(pod: Body, reason: str, message: str, now: datetime) -> Body:
    container = {"ready": False, "started": False, "state": {"waiting": {"reason": reason, "message": message}}}
    return _on_node(pod, "Pending", False, "ContainersNotReady", container, now)


def running(pod: Body, started_at: datetime, now: datetime) -> Body:
    container = {"ready": True, "started": True, "state": {"running": {"startedAt": timestamp(started_at)}}}
    return _on_node(pod, "Running", True, "", container, now)


def finished(pod: Body, end: Terminated, now: datetime) -> Body:
    terminated = {
        "exitCode": end.exit_code,
        "reason": end.reason,
        **({"message": end.message} if end.message else {}),
        "startedAt": timestamp(end.started_at),
        "finishedAt": timestamp(end.finished_at),
    }
    container = {"ready": False, "started": False, "state": {"terminated": terminated}}
    phase, reason = ("Failed", "PodFailed") if end.exit_code else ("Succeeded", "PodCompleted")
    return _on_node(pod, phase, False, reason, container, now)


def evicted(pod: Body, message: str, now: datetime) -> Body:
    """What the eviction API writes before it deletes the pod."""
    condition = {**_condition("DisruptionTarget", "True", timestamp(now), "EvictionByEvictionAPI"), "message": message}
    return {**pod, "status": {**pod["status"], "conditions": [*(pod["status"].get("conditions") or ()), condition]}}


def _foreign_conditions(pod: Body) -> list[Body]:
    return [each for each in pod["status"].get("conditions") or () if each["type"] not in _OWN_CONDITIONS]


def _on_node(pod: Body, phase: str, ready: bool, reason: str, container: Mapping[str, Any], now: datetime) -> Body:
    spec, truth, at = pod["spec"], "True" if ready else "False", timestamp(now)
    status = {
        **pod["status"],
        "phase": phase,
        "hostIP": LOOPBACK,
        "podIP": LOOPBACK,
        "startTime": pod["status"].get("startTime") or at,
        "conditions": [
            _condition("PodScheduled", "True", at),
            _condition("Initialized", "True", at),
            _condition("ContainersReady", truth, at, reason),
            _condition("Ready", truth, at, reason),
            *_foreign_conditions(pod),
        ],
        "containerStatuses": [
            {
                "name": spec["containers"][0]["name"],
                "image": spec["containers"][0]["image"],
                "imageID": spec["containers"][0]["image"],
                "restartCount": 0,
                **container,
            }
        ],
    }
    return {**pod, "spec": {**spec, "nodeName": NODE}, "status": status}


def _condition(kind: str, truth: str, at: str, reason: str = "") -> Body:
    return {"type": kind, "status": truth, "lastTransitionTime": at, **({"reason": reason} if reason else {})}
