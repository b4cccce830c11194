"""A write of the operator, recognised by what it is for, so that it has the same name in every run of a scenario. No I/O."""

import json
from collections import Counter
from typing import Any, NamedTuple

VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
NAMES = {
    "retrainschedules": "schedule",
    "retrainjobs": "run",
    "jobs": "job",
    "leases": "guard",
    "configmaps": "slot",
    "deployments": "target",
}
ELECTION_NAMESPACE = "retrain-system"


class Write(NamedTuple):
    """The `n`th write (from 1) of this role in a run of a scenario."""

    verb: str
    resource: str
    role: str
    n: int

    def __str__(self) -> str:
        return f"{self.role} #{self.n}"

    @property
    def is_event(self) -> bool:
        return self.resource == "events"


class Target(NamedTuple):
    """What a path is about; `name` is empty for a collection."""

    namespace: str
    resource: str
    name: str
    subresource: str


def target(path: str) -> Target:
    """Of `/api/v1/...` and `/apis/GROUP/VERSION/...`."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    resource, name, subresource = (*parts, "", "", "")[:3]
    return Target(namespace, resource, name, subresource)


class WriteNumbers:
    """Names the writes of one trial, across restarts and replicas of its operator."""

    def __init__(self) -> None:
        self._seen: Counter[tuple[str, str, str]] = Counter()

    def next(self, method: str, path: str, body: bytes) -> Write:
        about = target(path)
        verb = VERBS[method]
        role = _role(verb, about, json.loads(body) if body else {})
        name = (verb, about.resource, role)
        self._seen[name] += 1
        return Write(*name, self._seen[name])


def _role(verb: str, about: Target, body: dict[str, Any]) -> str:
    if about.resource == "events":
        return f"event {body.get('reason', '')}"
    if about.resource == "leases" and about.namespace == ELECTION_NAMESPACE:
        return f"election {verb}"
    name = NAMES.get(about.resource, about.resource)
    if verb == "create":
        trigger = body.get("spec", {}).get("trigger", "Schedule") if name == "run" else "Schedule"
        return f"{name} create" if trigger == "Schedule" else f"{name} create {trigger}"
    if verb != "patch":
        return f"{name} {verb}"
    if not about.subresource:
        return f"{name} patch"
    return f"{name} status {_status_role(name, body.get('status') or {})}".strip()


def _status_role(name: str, status: dict[str, Any]) -> str:
    if name == "run":
        deployment = status.get("deployment")
        return str(status["phase"]) if "phase" in status else f"deploy {deployment.get('state', '')}".strip() if deployment else ""
    if "lastRollback" in status:
        return f"rollback {status['lastRollback'].get('state', '')}".strip()
    if "lastDecision" in status:
        return f"decision {status['lastDecision'].get('action', '')}".strip()
    return "outcome" if "lastSuccessfulTime" in status or "lastFailureTime" in status else ""
