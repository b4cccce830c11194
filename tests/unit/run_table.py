"""What was decided about a run, in words: for tables that expect the whole of it."""

import json
from dataclasses import replace
from typing import Any

from tests.builders import run, short

from retrain_operator.rules.decision import (
    CreateJob,
    CreateRun,
    Decision,
    DeleteJob,
    DeleteRun,
    PatchTarget,
    SwapSlot,
    TakeGuard,
    WriteStatus,
)
from retrain_operator.rules.observed import RunObserved


def seen(observed: RunObserved | None = None, **changes: Any) -> RunObserved:
    """A run with what was observed around it."""
    return replace(observed if observed is not None else run(), **changes)


def decided(decision: Decision) -> list[str]:
    """Actions in their order, then events, then when to look again."""
    return [
        *map(_action, decision.actions),
        *(f"{event.type} {event.reason}: {event.note}" for event in decision.events),
        *([f"look at {short(decision.wake_at)}"] if decision.wake_at else []),
    ]


def _action(action: object) -> str:
    match action:
        case TakeGuard(body):
            version = body["metadata"].get("resourceVersion")
            return f"take guard {version}" if version else "take guard"
        case CreateJob(body):
            return f"make Job {body['metadata']['name']}"
        case CreateRun(body):
            return f"make run {body['metadata']['name']}"
        case DeleteJob(key, uid):
            return f"delete Job {key.name} {uid}"
        case DeleteRun(key, _):
            return f"delete run {key.name}"
        case WriteStatus(status):
            return f"write {_status(status)}"
        case SwapSlot(body, _):
            current = json.loads(body["data"]["slot.json"])["current"]
            return f"swap {body['metadata']['name']} {body['metadata'].get('resourceVersion', 'new')} to {current['run']}"
        case PatchTarget(kind, key, patch, version):
            annotations = patch["spec"]["template"]["metadata"]["annotations"]
            return f"patch {kind} {key.name} {version} to {annotations['retrain.dev/model-run']}"
    raise AssertionError(action)


def _status(status: dict[str, Any]) -> str:
    words = [status["phase"], status["conditions"][0]["reason"]]
    if deployment := status.get("deployment"):
        told = next(each for each in status["conditions"] if each["type"] == "Deployed")
        words.append(f"{deployment['state']} {told['status']} {told['reason']}")
    if following := status.get("nextAttempt"):
        words.append(f"next {following['job']} {'made' if following['made'] else following['time'][11:19]}")
    if stopping := status.get("stopping"):
        words.append(f"stopping {stopping['reason']}")
    if (guard := status.get("duplicateGuard")) and not guard["triggered"]:
        words.append(f"guard {guard['key']}")
    return " ".join(words)
