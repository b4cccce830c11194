"""The end of a trial without what differs between any two runs: times, UIDs, versions, and the ticks in names. No I/O."""

import difflib
import json
import re
from typing import Any

from tests.faults.history import Body, History, Life
from tests.faults.slots import LABEL_SLOT
from tests.faults.truth import has_ended, was_told_to_stop

Difference = str
RESOURCES = ("retrainschedules", "retrainjobs", "jobs", "leases", "configmaps", "deployments")
FOREIGN = ("deployments",)  # whose status is somebody else's to write
_SHOWN = 12  # lines of a difference
# A Job that somebody deletes early may never have been seen started: startTime is there or not. intervalSeconds: see Stage.long_interval_s.
_DROPPED = {
    "resourceVersion", "creationTimestamp", "startTime", "managedFields", "duration", "uncountedTerminatedPods", "leaseTransitions",
    "intervalSeconds",
}  # fmt: skip
_VARYING = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"\b[0-9a-f]{16}\b"), "HASH"),  # of a guard's key
    (re.compile(r"-\d{8}-[0-9a-f]{8}\b"), "-TICK-UID"),  # a run id
    (re.compile(r"-d\d{10}-[0-9a-f]{8}\b"), "-DRIFT-UID"),
    (re.compile(r"-d\d{10}\b"), "-DRIFT"),
    (re.compile(r"-[0-9a-f]{8}\b"), "-TICK"),  # minutes since the epoch have eight digits, as a run id's part of a UID has
    (re.compile(r"(?<=pod NAMESPACE/)\S+"), "POD"),
    (re.compile(r"\b\d{1,2} \d{1,2} \* \* \*"), "DAILY"),
)


def end_state(history: History) -> list[Body]:
    """Everything that lives, in an order that does not depend on time."""
    bodies = [_plain(life) for resource in RESOURCES for life in history.living(resource) if not _is_left_out(history, life)]
    return sorted(bodies, key=lambda body: (body["resource"], json.dumps(body, sort_keys=True)))


def differences(reference: list[Body], history: History) -> list[Difference]:
    """What is not as in the reference, as one unified difference."""
    wanted, found = _lines(reference), _lines(end_state(history))
    lines = [line for line in difflib.unified_diff(wanted, found, "reference", "found", lineterm="", n=1) if line[0] in "+-"]
    return ["\n    ".join(lines[: 2 + _SHOWN])] if lines else []


def _is_left_out(history: History, life: Life) -> bool:
    """What is Kubernetes' own, and a Job that was to be deleted and was quicker: nothing is lost by either."""
    if life.resource == "configmaps":
        return LABEL_SLOT not in (life.last["metadata"].get("labels") or {})
    return life.resource == "jobs" and has_ended(life.last) and was_told_to_stop(history.lives.get(life.owner.get("uid", "")))


def _lines(state: list[Body]) -> list[str]:
    return json.dumps(state, indent=1, sort_keys=True).splitlines()


def _plain(life: Life) -> Body:
    body = life.last
    kept = {"resource": life.resource, "metadata": body["metadata"], "spec": body.get("spec"), "data": body.get("data")}
    kept["status"] = body.get("status") if life.resource not in FOREIGN else None
    text = json.dumps(_without(kept)).replace(life.namespace, "NAMESPACE")
    for pattern, stand_in in _VARYING:
        text = pattern.sub(stand_in, text)
    plain: Body = json.loads(text)
    return plain


def _without(value: Any) -> Any:
    if isinstance(value, dict):
        if (value.get("duplicateGuard") or {}).get("triggered") is False:
            value = {**value, "duplicateGuard": None}  # a claim, which only a contested start writes
        return {name: _without(each) for name, each in value.items() if name not in _DROPPED and each is not None}
    return [_without(each) for each in value] if isinstance(value, list) else value
