"""What the API server does to one object, as functions of bodies alone."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from retrain_operator.cluster.protocol import Body, Rejected

# Metadata that a writer cannot change.
SERVER_OWNED = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"  # of generateName, as in Kubernetes: no vowels, no words
_POD_GRACE_S = 30  # Kubernetes' default of terminationGracePeriodSeconds


def timestamp(instant: datetime) -> str:
    """RFC 3339 with whole seconds, as metav1.Time is written. `instant` is aware and in UTC."""
    return instant.isoformat(timespec="seconds").replace("+00:00", "Z")


def resource_version_of(body: Mapping[str, Any]) -> str:
    return str(body["metadata"].get("resourceVersion") or "")


def json_copy(value: Any) -> Any:
    """A copy that shares nothing mutable, with what JSON makes of tuples. Raises TypeError for what JSON cannot hold, as the wire would."""
    kind = type(value)
    if kind is dict:
        return {key: (json_copy(item) if type(item) not in _ATOMS else item) for key, item in value.items()}
    if kind is list or kind is tuple:
        return [(json_copy(item) if type(item) not in _ATOMS else item) for item in value]
    if isinstance(value, str | int | float | bool | None):
        return value  # a StrEnum, say
    if isinstance(value, Mapping):
        return json_copy(dict(value))
    raise TypeError(f"Object of type {kind.__name__} is not JSON serializable")


_ATOMS = frozenset({str, int, float, bool, type(None)})


def merge_patch(target: Any, patch: Any) -> Any:
    """RFC 7396: null removes, objects merge, anything else replaces. Makes new objects along the way and shares the rest."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value) if isinstance(value, Mapping) else value
    return merged


def checked_name(metadata: Mapping[str, Any], serial: int) -> str:
    """`name`, or one made from `generateName`. Raises Rejected."""
    name = metadata.get("name") or _generated(metadata.get("generateName"), serial)
    if not _NAME.fullmatch(name):
        raise Rejected(f'metadata.name: Invalid value: "{name}": must be a lowercase RFC 1123 subdomain', status=422)
    return str(name)


def _generated(prefix: str | None, serial: int) -> str:
    if not prefix:
        raise Rejected("metadata.name: Required value: name or generateName is required", status=422)
    number, suffix = serial * 2654435761 % len(_SUFFIX_LETTERS) ** 5, ""  # looks random, and is the same in every run
    for _ in range(5):
        number, index = divmod(number, len(_SUFFIX_LETTERS))
        suffix += _SUFFIX_LETTERS[index]
    return prefix + suffix


def owner_uids(body: Body) -> list[str]:
    """Raises Rejected for a reference without what it must have."""
    references = body["metadata"].get("ownerReferences")
    if not references:
        return []
    for reference in references:
        if missing := {"apiVersion", "kind", "name", "uid"} - reference.keys():
            raise Rejected(f"metadata.ownerReferences: Required value: {sorted(missing)[0]}", status=422)
    return [reference["uid"] for reference in references]


def pod_grace_s(pod: Body) -> int:
    """How long a deleted pod stays: not at all when no node runs it (any more)."""
    if not pod["spec"].get("nodeName") or pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
        return 0
    grace_s = pod["spec"].get("terminationGracePeriodSeconds")
    return _POD_GRACE_S if grace_s is None else int(grace_s)
