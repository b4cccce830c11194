"""What a Job's status is and what becomes of its pods, from the Job and all pods it ever had. Pure.

As kube-controller-manager 1.36.4 was seen to do, for Jobs that run one pod at a time: SuccessCriteriaMet or FailureTarget first, then
Complete or Failed when no pod is left that still terminates. Left out: its batching of one second, the contents of
`uncountedTerminatedPods`, the back-off between pods when `backoffLimit` is above 0, indexes, parallelism and success policies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, NamedTuple

from retrain_operator.cluster.objects import timestamp
from retrain_operator.cluster.protocol import Body


class PodState(Enum):
    ACTIVE = "active"
    TERMINATING = "told to go; how it ends decides what it counts as"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    FAILS_JOB = "fails the Job, by the pod failure policy"
    IGNORED = "counts for nothing, by the policy or because the Job was suspended"


@dataclass(frozen=True, slots=True)
class JobPod:
    """One pod of the Job. `gone`: no longer in the API, this is its last state. `forgiven`: deleted because the Job was suspended."""

    body: Body
    gone: bool = False
    forgiven: bool = False


@dataclass(frozen=True, slots=True)
class JobPlan:
    """Pods to delete and to make, then statuses to write one after the other. `wake_at`: when the deadline is due."""

    statuses: tuple[Body, ...]
    delete_pods: tuple[Body, ...] = ()
    make_pod: bool = False
    wake_at: datetime | None = None


class Target(NamedTuple):
    """The condition that announces the end, and the one that is it."""

    announced: str
    final: str
    reason: str
    message: str


def is_finished(job: Body) -> bool:
    status = job.get("status") or {}
    return has_condition(status, "Complete") or has_condition(status, "Failed")


def has_condition(status: Mapping[str, Any], kind: str) -> bool:
    for each in status.get("conditions") or ():
        if each["type"] == kind:
            return bool(each["status"] == "True")
    return False


def plan_job(job: Body, pods: Sequence[JobPod], now: datetime) -> JobPlan:
    """For a Job that is not finished."""
    spec, old = job["spec"], job.get("status") or {}
    status = old if spec.get("suspend") else _started(old, now)
    states = [(pod, *_state(job, pod)) for pod in pods]
    due_at = _deadline(spec, status)
    target = _target(old, spec, states, overdue=due_at is not None and now >= due_at)
    suspended = bool(spec.get("suspend")) and target is None
    if suspended:
        status = _suspended(status, now)

    active = [pod.body for pod, state, _ in states if state is PodState.ACTIVE]
    doomed = active if suspended or (target is not None and target.final == "Failed") else []
    terminating = len(doomed) + sum(1 for pod in pods if not pod.gone and _is_terminating(pod.body))
    one_at_a_time = spec.get("podReplacementPolicy") == "Failed"
    make_pod = not active and target is None and not suspended and not (one_at_a_time and terminating)
    counts = {
        "active": 1 if make_pod else len(active) - len(doomed),
        "ready": sum(1 for pod in active if has_condition(pod.get("status") or {}, "Ready")) if not doomed else 0,
        "terminating": terminating,
        "succeeded": _count(states, PodState.SUCCEEDED),
        "failed": _count(states, PodState.FAILED, PodState.FAILS_JOB),
    }
    if target is None:
        return JobPlan((_counted(status, counts),), tuple(doomed), make_pod, None if suspended else due_at)
    announced = _with_condition(status, target.announced, "True", target.reason, target.message, now)
    if terminating:
        return JobPlan((_counted(announced, counts),), tuple(doomed))
    # The end is announced before the pod that brings it is counted.
    not_yet_counted = {**counts, "succeeded": old.get("succeeded", 0), "failed": old.get("failed", 0)}
    final = _with_condition(announced, target.final, "True", target.reason, target.message, now)
    if target.final == "Complete":
        final["completionTime"] = timestamp(now)
    return JobPlan((_counted(announced, not_yet_counted), _counted(final, counts)))


def _target(old: Body, spec: Body, states: Sequence[tuple[JobPod, PodState, str]], *, overdue: bool) -> Target | None:
    for condition in old.get("conditions") or ():
        if condition["type"] == "FailureTarget":
            return Target("FailureTarget", "Failed", condition["reason"], condition["message"])
    for _, state, message in states:
        if state is PodState.FAILS_JOB:
            return Target("FailureTarget", "Failed", "PodFailurePolicy", message)
    if _count(states, PodState.FAILED) > spec["backoffLimit"]:
        return Target("FailureTarget", "Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
    if overdue:
        return Target("FailureTarget", "Failed", "DeadlineExceeded", "Job was active longer than specified deadline")
    if _count(states, PodState.SUCCEEDED) >= spec["completions"]:
        return Target("SuccessCriteriaMet", "Complete", "CompletionsReached", "Reached expected number of succeeded pods")
    return None


def _started(old: Body, now: datetime) -> Body:
    if has_condition(old, "Suspended"):
        return {**_with_condition(old, "Suspended", "False", "JobResumed", "Job resumed", now), "startTime": timestamp(now)}
    return old if "startTime" in old else {**old, "startTime": timestamp(now)}


def _suspended(status: Body, now: datetime) -> Body:
    if not has_condition(status, "Suspended"):
        status = _with_condition(status, "Suspended", "True", "JobSuspended", "Job suspended", now)
    return {field: value for field, value in status.items() if field != "startTime"}


def _deadline(spec: Body, status: Body) -> datetime | None:
    if spec.get("suspend") or "activeDeadlineSeconds" not in spec or "startTime" not in status:
        return None
    started_at = datetime.fromisoformat(status["startTime"]).astimezone(UTC)
    return started_at + timedelta(seconds=spec["activeDeadlineSeconds"])


def _state(job: Body, pod: JobPod) -> tuple[PodState, str]:
    phase = (pod.body.get("status") or {}).get("phase")
    if phase == "Succeeded":
        return PodState.SUCCEEDED, ""
    if pod.forgiven:
        return PodState.IGNORED, ""
    if phase == "Failed" or pod.gone:
        return _by_policy(job["spec"].get("podFailurePolicy") or {}, pod.body)
    if _is_terminating(pod.body):
        waits = job["spec"].get("podReplacementPolicy") == "Failed"
        return (PodState.TERMINATING if waits else PodState.FAILED), ""
    return PodState.ACTIVE, ""


def _is_terminating(pod: Body) -> bool:
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    return "deletionTimestamp" in pod["metadata"] and not ended


def _by_policy(policy: Body, pod: Body) -> tuple[PodState, str]:
    for index, rule in enumerate(policy.get("rules") or ()):
        matched = _matched_exit(rule.get("onExitCodes"), pod) or _matched_condition(rule.get("onPodConditions") or (), pod)
        if matched and rule["action"] == "Ignore":
            return PodState.IGNORED, ""
        if matched and rule["action"] == "FailJob":
            return PodState.FAILS_JOB, f"{matched} matching FailJob rule at index {index}"
        if matched:
            break
    return PodState.FAILED, ""


def _matched_exit(requirement: Body | None, pod: Body) -> str:
    if requirement is None:
        return ""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        code = (container["state"].get("terminated") or {}).get("exitCode", 0)
        named = requirement.get("containerName") in (None, container["name"])
        if code and named and (code in requirement["values"]) is (requirement["operator"] == "In"):
            return f"Container {container['name']} for pod {_name(pod)} failed with exit code {code}"
    return ""


def _matched_condition(patterns: Sequence[Body], pod: Body) -> str:
    for condition in (pod.get("status") or {}).get("conditions") or ():
        for pattern in patterns:
            if (condition["type"], condition["status"]) == (pattern["type"], pattern.get("status", "True")):
                return f"Pod {_name(pod)} has condition {condition['type']}"
    return ""


def _name(pod: Body) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _count(states: Sequence[tuple[JobPod, PodState, str]], *wanted: PodState) -> int:
    return len([state for _, state, _ in states if state in wanted])


def _counted(status: Body, counts: Mapping[str, int]) -> Body:
    """`active`, `succeeded` and `failed` are left out at 0, the others are not: as their Go types have it."""
    kept = {field: value for field, value in status.items() if field not in counts}
    shown = {field: count for field, count in counts.items() if count or field in ("ready", "terminating")}
    return {**kept, **shown, "uncountedTerminatedPods": {}}


def _with_condition(status: Body, kind: str, truth: str, reason: str, message: str, now: datetime) -> Body:
    conditions = list(status.get("conditions") or ())
    at = timestamp(now)
    new = {"type": kind, "status": truth, "reason": reason, "message": message, "lastProbeTime": at, "lastTransitionTime": at}
    for index, condition in enumerate(conditions):
        if condition["type"] == kind:
            if condition["status"] != truth:
                conditions[index] = new
            break
    else:
        conditions.append(new)
    return {**status, "conditions": conditions}
