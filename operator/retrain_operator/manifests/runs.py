"""RetrainJobs: of a schedule's tick, of a request, of drift, and of the attempt that follows a failed one."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import Previous, RetrainJobSpec, Root, RunTemplateSpec, Trigger
from retrain_operator.api.names import API_VERSION, LABEL_GUARD
from retrain_operator.api.policy import Threshold
from retrain_operator.api.schedule import ConcurrencyPolicy, RetrainScheduleSpec
from retrain_operator.manifests.common import Body, owner_reference, run_labels
from retrain_operator.manifests.guard import guard_label, key_of


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Why drift asks for a run: a sentence for each signal that fires; value and threshold by the signal's name."""

    reasons: list[str]
    metrics: Mapping[str, float]
    thresholds: Mapping[str, Threshold]


def tick_run_name(schedule_name: str, tick: datetime) -> str:
    """Name of the run of one tick. It is the tick's lock: whoever creates it first has made the run."""
    return f"{schedule_name}-{int(tick.timestamp()) // 60}"


def manual_run_name(schedule_name: str, token: str) -> str:
    """Name of the run of one request. It is the request's lock, as a tick's."""
    return f"{schedule_name}-m{hashlib.sha256(token.encode()).hexdigest()[:10]}"


def drift_run_name(schedule_name: str, slot: datetime) -> str:
    """Name of the run of one evaluation of a drift policy. It is the evaluation's lock, as a tick's."""
    return f"{schedule_name}-d{int(slot.timestamp())}"


def tick_run(
    metadata: ObjectMeta, spec: RetrainScheduleSpec, tick: datetime, previous: Previous | None, replaces: str | None = None
) -> Body:
    """The RetrainJob of a schedule's tick."""
    name = tick_run_name(metadata.name, tick)
    return _schedule_run(metadata, spec, name, trigger=Trigger.SCHEDULE, scheduled_time=tick, previous=previous, replaces=replaces)


def manual_run(metadata: ObjectMeta, spec: RetrainScheduleSpec, token: str, previous: Previous | None, replaces: str | None = None) -> Body:
    """The RetrainJob that the annotation on a schedule asks for."""
    name = manual_run_name(metadata.name, token)
    return _schedule_run(metadata, spec, name, trigger=Trigger.MANUAL, scheduled_time=None, previous=previous, replaces=replaces)


def drift_run(
    metadata: ObjectMeta, spec: RetrainScheduleSpec, slot: datetime, why: Snapshot, previous: Previous | None, replaces: str | None = None
) -> Body:
    """The RetrainJob that one evaluation of the drift policy asks for."""
    name, snapshot = drift_run_name(metadata.name, slot), {"reasons": why.reasons, "metrics": why.metrics, "thresholds": why.thresholds}
    return _schedule_run(metadata, spec, name, trigger=Trigger.DRIFT, scheduled_time=None, previous=previous, replaces=replaces, **snapshot)


def _schedule_run(metadata: ObjectMeta, spec: RetrainScheduleSpec, name: str, **fields: Any) -> Body:
    template = spec.job_template
    meta = template.metadata
    given = {field: getattr(template.spec, field) for field in RunTemplateSpec.model_fields}
    run = RetrainJobSpec(**given, schedule=metadata.name, window=spec.window, **fields)
    labels = {**(meta.labels or {} if meta else {}), **run_labels(run)}
    if spec.concurrency_policy is not ConcurrencyPolicy.ALLOW:
        labels[LABEL_GUARD] = guard_label(key_of(metadata.name, spec.window))
    else:
        labels.pop(LABEL_GUARD, None)
    return {
        "apiVersion": API_VERSION,
        "kind": "RetrainJob",
        "metadata": {
            "name": name,
            "namespace": metadata.namespace,
            "labels": labels,
            "annotations": dict(meta.annotations or {} if meta else {}),
            "ownerReferences": [owner_reference("RetrainSchedule", metadata)],
        },
        "spec": run.to_json(),
    }


def retry_run(metadata: ObjectMeta, spec: RetrainJobSpec, name: str) -> Body:
    """The RetrainJob of the attempt that follows a failed one. It belongs to the same schedule, or to the first attempt."""
    root = spec.root or Root(name=metadata.name, uid=metadata.uid, created=metadata.creation_timestamp)
    run = spec.model_copy(update={"trigger": Trigger.RETRY, "root": root, "attempt": spec.attempt + 1, "replaces": None})
    return {
        "apiVersion": API_VERSION,
        "kind": "RetrainJob",
        "metadata": {
            "name": name,
            "namespace": metadata.namespace,
            "labels": {**metadata.labels, **run_labels(run)},
            "ownerReferences": metadata.owner_references or [owner_reference("RetrainJob", metadata)],
        },
        "spec": run.to_json(),
    }
