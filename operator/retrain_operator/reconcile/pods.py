"""What is read of a run's pods: whether they run, why they do not, and how the trainer ended."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from retrain_operator.api.base import parse_time
from retrain_operator.api.names import TRAINER_CONTAINER, Key
from retrain_operator.rules.observed import PodEnd

LABEL_JOB_UID = "batch.kubernetes.io/controller-uid"  # on every pod of a Job

Body = Mapping[str, Any]


def pod_end(pods: Iterable[Body]) -> PodEnd | None:
    """How the trainer's container ended, in the pod that ended last; an earlier one was replaced after a disruption."""
    ended: list[tuple[str, PodEnd]] = []
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            terminated = (container.get("state") or {}).get("terminated")
            if container.get("name") == TRAINER_CONTAINER and terminated:
                end = PodEnd(terminated["exitCode"], terminated.get("reason") or "", terminated.get("message") or "")
                ended.append((terminated.get("finishedAt") or "", end))
    return max(ended, key=lambda each: each[0])[1] if ended else None


def running_pod(pods: Iterable[Body]) -> Key | None:
    """The pod whose trainer runs; of several the newest, which took the place of one that is being disrupted."""
    running = [pod for pod in pods if (pod.get("status") or {}).get("phase") == "Running"]
    if not running:
        return None
    metadata = max(running, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))["metadata"]
    return Key(metadata["namespace"], metadata["name"])


def unended(pods: Iterable[Body]) -> str | None:
    """Name of a pod that has not ended."""
    ended = ("Succeeded", "Failed")
    return next((pod["metadata"]["name"] for pod in pods if (pod.get("status") or {}).get("phase") not in ended), None)


def why_not_running(pods: Iterable[Body], *, made_by: datetime | None = None) -> str | None:
    """Why the trainer does not run, in Kubernetes' words; None when it does, or has ended.

    made_by: only for want of a pod that is at least so old.
    """
    why = "it has no pod, and the events of its Job say why" if made_by is None else ""
    for pod in pods:
        status = pod.get("status") or {}
        if status.get("phase") == "Failed" and _true(status, "DisruptionTarget"):
            continue  # another takes its place
        if status.get("phase") != "Pending" or (made_by is not None and parse_time(pod["metadata"]["creationTimestamp"]) > made_by):
            return None
        why = "its pod is Pending"
        scheduled: Body = next((each for each in status.get("conditions") or () if each["type"] == "PodScheduled"), {})
        if scheduled.get("status") == "False":
            why = f"{scheduled.get('reason', 'Unschedulable')}: {scheduled.get('message', '')}"
        for container in status.get("containerStatuses") or ():
            if waiting := (container.get("state") or {}).get("waiting"):
                why = f"{waiting.get('reason', 'Waiting')}: {waiting.get('message', '')}"
    return why.rstrip(": ") or None


def _true(status: Body, kind: str) -> bool:
    return any(each["type"] == kind and each["status"] == "True" for each in status.get("conditions") or ())
