"""A slot: the ConfigMap that says which model is live. Serving code mounts it; its single write is the swap.

It has no owner reference: the record of a live model outlives the schedule that put it there. Its plain keys are for whoever serves, and
a mounted ConfigMap changes all of them at once; `slot.json` is the whole record.
"""

import json
import re

from retrain_operator.api.base import ObjectMeta, format_time
from retrain_operator.api.job import RetrainJobSpec
from retrain_operator.api.names import LABEL_GUARD_KEY, LABEL_MANAGED_BY, LABEL_SCHEDULE, LABEL_SLOT, MANAGER, Key
from retrain_operator.api.slot import Slot
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.common import Body

RECORD = "slot.json"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?")


def deploys_for(metadata: ObjectMeta, spec: RetrainJobSpec) -> str | None:
    """Whose slot the run's model goes to: the schedule, or the guard-key label of a run without one."""
    return spec.schedule or metadata.labels.get(LABEL_GUARD_KEY)


def slot_key(namespace: str, owner: str, slot: str) -> Key:
    """Namespace and name of the slot's ConfigMap. Raises InvalidSpec when a ConfigMap cannot have the name."""
    name = f"{owner}-{slot}"
    if not _NAME.fullmatch(name):
        raise InvalidSpec(f"no ConfigMap can be named {name}: write the label {LABEL_GUARD_KEY} in lowercase letters, digits, '-' and '.'")
    return Key(namespace, name)


def slot_labels(owner: str, slot: str, *, is_schedule: bool) -> dict[str, str]:
    """Labels by which a slot is known as ours, and as this one: `a` with slot `b-c` and `a-b` with slot `c` share a name."""
    return {LABEL_MANAGED_BY: MANAGER, (LABEL_SCHEDULE if is_schedule else LABEL_GUARD_KEY): owner, LABEL_SLOT: slot}


def slot_config_map(key: Key, labels: dict[str, str], slot: Slot, *, version: str | None, uid: str | None) -> Body:
    """The ConfigMap. With `version` and `uid`, as they were read, it is a compare-and-swap; without, a create."""
    current = slot.current
    data = {RECORD: json.dumps(slot.to_json(), indent=2, sort_keys=True)}
    if current is not None:
        data |= {
            "uri": current.uri,
            "sha256": current.sha256,
            "run": current.run,
            "deployedAt": format_time(current.deployed_at),
            "weight": str(current.weight),
            "metrics": json.dumps(current.metrics, sort_keys=True),
        }
    body: Body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": key.name, "namespace": key.namespace, "labels": labels},
        "data": data,
    }
    if version is not None:
        body["metadata"] |= {"resourceVersion": version, "uid": uid}
    return body
