"""What all objects that we make share: owner references, labels and the run's identity."""

from collections.abc import Mapping, Sequence
from typing import Any

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import RetrainJobSpec
from retrain_operator.api.names import API_VERSION, LABEL_ROOT, LABEL_SCHEDULE, LABEL_TRIGGER, LABEL_WINDOW

Body = dict[str, Any]


def owner_reference(kind: str, metadata: ObjectMeta) -> Body:
    """Owner reference to an object of ours, as its controller."""
    return {
        "apiVersion": API_VERSION,
        "kind": kind,
        "name": metadata.name,
        "uid": metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def belongs_to_schedule(owner_references: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a RetrainSchedule is among the owners: what it made goes with it, and is its to count and to delete."""
    return any(each.get("kind") == "RetrainSchedule" for each in owner_references)


def controller(owner_references: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The owner reference of the RetrainSchedule or RetrainJob that made the object."""
    return next((each for each in owner_references if each.get("controller") and each.get("apiVersion") == API_VERSION), None)


def run_id(metadata: ObjectMeta) -> str:
    """Unique for ever, also when a name is used again, because runs/<runId>/ is never overwritten."""
    return f"{metadata.name}-{metadata.uid[:8]}"


def root_run_id(metadata: ObjectMeta, spec: RetrainJobSpec) -> str:
    """The run id of the first attempt: what the attempts of one run have in common."""
    return f"{spec.root.name}-{spec.root.uid[:8]}" if spec.root else run_id(metadata)


def run_labels(spec: RetrainJobSpec) -> dict[str, str]:
    """Labels that tell what a run is; its Job and pod carry them too."""
    labels = {LABEL_TRIGGER: spec.trigger.value}
    if spec.schedule:
        labels[LABEL_SCHEDULE] = spec.schedule
    if spec.window:
        labels[LABEL_WINDOW] = spec.window
    if spec.root:
        labels[LABEL_ROOT] = spec.root.name
    return labels
