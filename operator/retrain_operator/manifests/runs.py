"""RetrainJobs: of a schedule's tick, and of the attempt that follows a failed one."""

from datetime import datetime

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import Previous, RetrainJobSpec, Root, RunTemplateSpec, Trigger
from retrain_operator.api.names import API_VERSION, LABEL_GUARD
from retrain_operator.api.schedule import RetrainScheduleSpec
from retrain_operator.manifests.common import Body, owner_reference, run_labels
from retrain_operator.manifests.guard import guard_label, key_of


def tick_run_name(schedule_name: str, tick: datetime) -> str:
    """Name of the run of one tick. It is the tick's lock: whoever creates it first has made the run."""
    return f"{schedule_name}-{int(tick.timestamp()) // 60}"


def tick_run(metadata: ObjectMeta, spec: RetrainScheduleSpec, tick: datetime, previous: Previous | None) -> Body:
    """The RetrainJob of a schedule's tick."""
    template = spec.job_template
    meta = template.metadata
    run = RetrainJobSpec(
        **{name: getattr(template.spec, name) for name in RunTemplateSpec.model_fields},
        schedule=metadata.name,
        trigger=Trigger.SCHEDULE,
        scheduled_time=tick,
        window=spec.window,
        previous=previous,
    )
    guard = guard_label(key_of(metadata.name, spec.window))
    return {
        "apiVersion": API_VERSION,
        "kind": "RetrainJob",
        "metadata": {
            "name": tick_run_name(metadata.name, tick),
            "namespace": metadata.namespace,
            "labels": {**(meta.labels or {} if meta else {}), **run_labels(run), LABEL_GUARD: guard},
            "annotations": dict(meta.annotations or {} if meta else {}),
            "ownerReferences": [owner_reference("RetrainSchedule", metadata)],
        },
        "spec": run.to_json(),
    }


def retry_run(metadata: ObjectMeta, spec: RetrainJobSpec, name: str) -> Body:
    """The RetrainJob of the attempt that follows a failed one. It belongs to the same schedule, or to the first attempt."""
    root = spec.root or Root(name=metadata.name, uid=metadata.uid)
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
