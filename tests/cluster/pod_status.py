"""Pod statuses as a kubelet writes them, as strategic merge patches. Pure."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from retrain_operator.embedded.pods import Terminated

LOOPBACK = "127.0.0.1"
Body = dict[str, Any]


def running(pod: Mapping[str, Any], started_at: dt.datetime, restarts: int = 0) -> Body:
    return _status(
        pod,
        phase="Running",
        conditions=[("Initialized", "True", ""), ("ContainersReady", "True", ""), ("Ready", "True", "")],
        container={"ready": True, "started": True, "state": {"running": {"startedAt": _time(started_at)}}},
        restarts=restarts,
    )


def waiting(pod: Mapping[str, Any], reason: str, message: str, *, restarts: int = 0, last: Terminated | None = None) -> Body:
    """Not started yet or, where `last` is given, between two starts."""
    state: Body = {"state": {"waiting": {"reason": reason, "message": message}}}
    if last is not None:
        state["lastState"] = {"terminated": _terminated(last)}
    return _status(
        pod,
        phase="Pending" if last is None else "Running",
        conditions=[
            ("Initialized", "True", ""),
            ("ContainersReady", "False", "ContainersNotReady"),
            ("Ready", "False", "ContainersNotReady"),
        ],
        container={"ready": False, "started": False, **state},
        restarts=restarts,
    )


def finished(pod: Mapping[str, Any], end: Terminated, restarts: int = 0) -> Body:
    succeeded = end.exit_code == 0
    reason = "PodCompleted" if succeeded else "PodFailed"
    return _status(
        pod,
        phase="Succeeded" if succeeded else "Failed",
        conditions=[("Initialized", "True", ""), ("ContainersReady", "False", reason), ("Ready", "False", reason)],
        container={"ready": False, "started": False, "state": {"terminated": _terminated(end)}},
        restarts=restarts,
    )


def unschedulable(message: str) -> Body:
    """What a scheduler writes when no node fits."""
    condition = _condition("PodScheduled", "False", "Unschedulable")
    return {"status": {"conditions": [{**condition, "message": message}]}}


def _status(
    pod: Mapping[str, Any],
    *,
    phase: str,
    conditions: Sequence[tuple[str, str, str]],
    container: Body,
    restarts: int,
) -> Body:
    spec = pod["spec"]["containers"][0]
    identity = {
        "name": spec["name"],
        "image": spec["image"],
        "imageID": spec["image"],
        "containerID": f"local://{pod['metadata']['uid']}",
        "restartCount": restarts,
    }
    return {
        "metadata": {"uid": pod["metadata"]["uid"]},  # a precondition: never the status of a namesake
        "status": {
            "phase": phase,
            "hostIP": LOOPBACK,
            "podIP": LOOPBACK,
            "podIPs": [{"ip": LOOPBACK}],
            "startTime": pod["metadata"]["creationTimestamp"],
            "conditions": [_condition(*each) for each in conditions],
            "containerStatuses": [identity | container],
        },
    }


def _condition(type_: str, status: str, reason: str) -> Body:
    now = _time(dt.datetime.now(dt.UTC))
    return {"type": type_, "status": status, "lastTransitionTime": now} | ({"reason": reason} if reason else {})


def _terminated(end: Terminated) -> Body:
    return {
        "exitCode": end.exit_code,
        "reason": end.reason,
        "message": end.message,
        "startedAt": _time(end.started_at),
        "finishedAt": _time(end.finished_at),
    }


def _time(moment: dt.datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
