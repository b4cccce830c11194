"""The duplicate guard: at most one run per key has an unfinished Job, whoever made the records.

The guard is a Lease, so it holds under races and crashes: its holder is the first attempt's UID, taken by create or compare-and-swap. A
holder that has finished, its retries included, or that is gone may be replaced, so giving it back needs no write.
"""

import hashlib

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import RetrainJobSpec, Root
from retrain_operator.api.names import ANNOTATION_HOLDER, LABEL_GUARD, LABEL_GUARD_KEY
from retrain_operator.manifests.common import Body, owner_reference, run_labels


def guard_key(metadata: ObjectMeta, spec: RetrainJobSpec) -> str | None:
    """What the run must not run beside, e.g. `churn/2025-26`; None when nothing.

    A run that a schedule made has a guard when the schedule gave it the label, which it does not under `Allow`.
    """
    made_by_schedule = any(each.get("kind") == "RetrainSchedule" and each.get("controller") for each in metadata.owner_references)
    if made_by_schedule and LABEL_GUARD not in metadata.labels:
        return None
    name = spec.schedule or metadata.labels.get(LABEL_GUARD_KEY)
    return key_of(name, spec.window) if name else None


def key_of(name: str, window: str | None) -> str:
    """The guard key of a schedule, or of a guard-key label, and a window."""
    return f"{name}/{window}" if window else name


def guard_label(key: str) -> str:
    """The key as a label's value: a hash, because a key may be longer than a label."""
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def lease_name(key: str) -> str:
    """Name of the guard's Lease, in the run's namespace."""
    return f"retrain-guard-{guard_label(key)}"


def guard_lease(metadata: ObjectMeta, spec: RetrainJobSpec, key: str, *, version: str | None, uid: str | None) -> Body:
    """The Lease that says that this run, retries included, has the guard. It goes with the schedule, or with the first attempt."""
    root = spec.root or Root(name=metadata.name, uid=metadata.uid)
    owner = metadata.owner_references or [owner_reference("RetrainJob", metadata)]
    body: Body = {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": lease_name(key),
            "namespace": metadata.namespace,
            "labels": {LABEL_GUARD: guard_label(key), **run_labels(spec)},
            "annotations": {ANNOTATION_HOLDER: root.name},
            "ownerReferences": [{**each, "controller": False, "blockOwnerDeletion": False} for each in owner],
        },
        "spec": {"holderIdentity": root.uid},
    }
    if version is not None:
        body["metadata"] |= {"resourceVersion": version, "uid": uid}
    return body
