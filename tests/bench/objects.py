"""The objects that are measured with."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from retrain_operator.api.base import format_time
from retrain_operator.cluster.protocol import Body, Resource

CRONJOBS = Resource("batch", "v1", "cronjobs", "CronJob")
API_VERSION = "retrain.dev/v1alpha1"


def trainer(image: str) -> Body:
    """Spec of a run whose pod only pretends to run, where a node takes it, and answers as the contract asks for."""
    answer = {
        "schema": "retrain/v1",
        "runId": "$(RETRAIN_RUN_ID)",
        "attempt": 1,
        "mode": "Execute",
        "outcome": "trained",
        "metrics": {"roc_auc": 0.91, "accuracy": 0.88},
        "data": {"version": "v1", "rows": 10_000},
        "config": {"hash": "c1"},
        "artifact": {"uri": "s3://models/churn", "sha256": "0" * 64},
    }
    return {"trainer": {"image": image, "env": [{"name": "FAKE_MESSAGE", "value": json.dumps(answer)}]}}


def schedule(name: str, cron: str, image: str = "fake/run:forever") -> Body:
    return {
        "apiVersion": API_VERSION,
        "kind": "RetrainSchedule",
        "metadata": {"name": name},
        "spec": {"schedule": cron, "jobTemplate": {"spec": trainer(image)}},
    }


def cron_job(name: str, cron: str) -> Body:
    """The same for the native controller: one pod, no second try."""
    container = {"name": "trainer", "image": "fake/run:forever", "env": trainer("")["trainer"]["env"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    job = {"spec": {"backoffLimit": 0, "template": template}}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": {"name": name},
        "spec": {"schedule": cron, "concurrencyPolicy": "Forbid", "jobTemplate": job},
    }


def run(name: str, image: str) -> Body:
    """A RetrainJob as a person makes it."""
    return {"apiVersion": API_VERSION, "kind": "RetrainJob", "metadata": {"name": name}, "spec": trainer(image)}


def finished_run(owner: Body) -> tuple[Body, Body]:
    """A RetrainJob of the schedule `owner`, and the final status that the operator would have written."""
    metadata, tick = owner["metadata"], datetime.now(UTC) - timedelta(days=30)
    name = f"{metadata['name']}-{int(tick.timestamp()) // 60}"
    reference = {
        "apiVersion": API_VERSION,
        "kind": "RetrainSchedule",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    body: Body = {
        "apiVersion": API_VERSION,
        "kind": "RetrainJob",
        "metadata": {
            "name": name,
            "labels": {"retrain.dev/schedule": metadata["name"], "retrain.dev/trigger": "Schedule"},
            "ownerReferences": [reference],
        },
        "spec": {
            **owner["spec"]["jobTemplate"]["spec"],
            "schedule": metadata["name"],
            "trigger": "Schedule",
            "scheduledTime": format_time(tick),
        },
    }
    return body, _final_status(name, tick)


def _final_status(name: str, tick: datetime) -> dict[str, Any]:
    ended = tick + timedelta(minutes=41)
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Completed",
        "message": "roc_auc=0.91 accuracy=0.88; artifact s3://models/churn",
        "observedGeneration": 1,
        "lastTransitionTime": format_time(ended),
    }
    return {
        "observedGeneration": 1,
        "phase": "Completed",
        "conditions": [ready],
        "startTime": format_time(tick),
        "completionTime": format_time(ended),
        "jobName": name,
        "attempt": 1,
        "result": {
            "outcome": "trained",
            "metrics": {"roc_auc": 0.91, "accuracy": 0.88},
            "data": {"version": "v1", "rows": 10_000},
            "config": {"hash": "c1"},
            "artifact": {"uri": "s3://models/churn", "sha256": "0" * 64},
        },
        "summary": {"result": "roc_auc=0.91 accuracy=0.88", "model": "0" * 12, "duration": "41m0s"},
    }
