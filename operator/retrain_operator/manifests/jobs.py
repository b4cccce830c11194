"""The Job of a run: one pod, one attempt, with everything that the trainer contract promises to the trainer."""

import json
import math
from typing import Any, TypeVar

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.contract import CONFIG_DIR, CONFIG_FILE, CONTRACT, EXIT_CODES, RESULT_PATH
from retrain_operator.api.job import RetrainJobSpec, RunTemplateSpec
from retrain_operator.api.names import ANNOTATION_CONFIG, LABEL_ATTEMPT, LABEL_GUARD, LABEL_QUEUE, LABEL_RUN, TRAINER_CONTAINER
from retrain_operator.api.schedule import RetrainScheduleSpec
from retrain_operator.api.slot import SlotRecord
from retrain_operator.api.trainer import Trainer
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.common import Body, owner_reference, root_run_id, run_id, run_labels

T = TypeVar("T", dict[str, Any], list[Any])

CONFIG_MAX_BYTES = 131_072  # annotations of one object share 262,144 bytes
CONFIG_VOLUME = "retrain-config"
_POD_FAILURE_POLICY: Body = {
    "rules": [
        # A drained or preempted pod is replaced within the same attempt.
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {
            "action": "FailJob",
            "onExitCodes": {
                "containerName": TRAINER_CONTAINER,
                "operator": "In",
                "values": [code for code, meaning in EXIT_CODES.items() if not meaning.retryable],
            },
        },
    ]
}
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "LOKY_MAX_CPU_COUNT")


def job(metadata: ObjectMeta, spec: RetrainJobSpec, guard: str | None = None, champion: SlotRecord | None = None) -> Body:
    """The Job of a run: same name, one pod, one attempt. Raises InvalidSpec when no pod can be made of it.

    guard: the guard's label. champion: the model in use, for the trainer to compare with.
    """
    labels = run_labels(spec) | {LABEL_RUN: metadata.name, LABEL_ATTEMPT: str(spec.attempt)}
    if guard is not None:
        labels[LABEL_GUARD] = guard
    body: Body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "labels": labels,
            "ownerReferences": [owner_reference("RetrainJob", metadata)],
        },
        "spec": {
            "backoffLimit": 0,  # an attempt is one pod; another attempt is another RetrainJob
            "completions": 1,
            "parallelism": 1,
            "podFailurePolicy": _POD_FAILURE_POLICY,
            "template": _pod_template(metadata, spec, labels, champion),
        },
    }
    if spec.active_deadline_seconds is not None:
        body["spec"]["activeDeadlineSeconds"] = spec.active_deadline_seconds
    if spec.queue_name is not None:
        body["metadata"]["labels"] = labels | {LABEL_QUEUE: spec.queue_name}
        body["spec"]["suspend"] = True  # the queue releases it; nothing here ever does
    return body


def check(metadata: ObjectMeta, spec: RetrainScheduleSpec) -> None:
    """Raises InvalidSpec when no Job could be made of the schedule's template, so that it is told before the first tick."""
    template = {name: getattr(spec.job_template.spec, name) for name in RunTemplateSpec.model_fields}
    _pod_template(metadata, RetrainJobSpec(**template), {})


def _pod_template(metadata: ObjectMeta, spec: RetrainJobSpec, labels: dict[str, str], champion: SlotRecord | None = None) -> Body:
    trainer = spec.trainer
    template = _given_template(trainer) if trainer.pod_template is not None else _restricted_template(trainer)
    pod = template["spec"]
    meta = template["metadata"] = _given(template, "metadata", dict)
    meta["labels"] = _given(meta, "labels", dict) | labels
    pod["restartPolicy"] = "Never"
    container = next(each for each in pod["containers"] if each.get("name") == TRAINER_CONTAINER)
    container["terminationMessagePath"] = RESULT_PATH
    container["terminationMessagePolicy"] = "File"
    own = _given(container, "env", list)
    environment = _contract_environment(metadata, spec, champion) | _thread_counts(container, {each.get("name") for each in own})
    container["env"] = [{"name": name, "value": value} for name, value in environment.items()] + own
    source = _config_volume(spec, meta)
    if source:
        pod["volumes"] = [*_given(pod, "volumes", list), {"name": CONFIG_VOLUME, **source}]
        mount = {"name": CONFIG_VOLUME, "mountPath": CONFIG_DIR, "readOnly": True}
        container["volumeMounts"] = [*_given(container, "volumeMounts", list), mount]
    return template


def _given(parent: Body, field: str, kind: type[T]) -> T:
    """A field of a pod template that a person wrote: empty when absent or null. Raises InvalidSpec when it is something else."""
    value = kind() if parent.get(field) is None else parent[field]
    if not isinstance(value, kind) or (isinstance(value, list) and not all(isinstance(each, dict) for each in value)):
        wanted = "an object" if kind is dict else "a list of objects"
        raise InvalidSpec(f"trainer.podTemplate: {field} is not {wanted}")
    return value


def _given_template(trainer: Trainer) -> Body:
    template: Body = json.loads(json.dumps(trainer.pod_template))
    containers = _given(_given(template, "spec", dict), "containers", list)
    if not any(each.get("name") == TRAINER_CONTAINER for each in containers):
        raise InvalidSpec(f"trainer.podTemplate.spec.containers needs a container named '{TRAINER_CONTAINER}'")
    return template


def _restricted_template(trainer: Trainer) -> Body:
    given = trainer.to_json()
    container: Body = {
        "name": TRAINER_CONTAINER,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    pod: Body = {
        "containers": [container],
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **given.get("securityContext", {})},
        "automountServiceAccountToken": bool(trainer.automount_service_account_token),
        "enableServiceLinks": False,
    }
    for field in ("image", "imagePullPolicy", "command", "args", "env", "envFrom", "resources", "volumeMounts"):
        if field in given:
            container[field] = given[field]
    for field in (
        "imagePullSecrets",
        "volumes",
        "serviceAccountName",
        "nodeSelector",
        "tolerations",
        "affinity",
        "priorityClassName",
    ):
        if field in given:
            pod[field] = given[field]
    return {"spec": pod}


def _contract_environment(metadata: ObjectMeta, spec: RetrainJobSpec, champion: SlotRecord | None) -> dict[str, str]:
    """The trainer contract's variables. What is not given is absent, not empty."""
    data, previous = spec.data, spec.previous
    deadline = spec.active_deadline_seconds
    given: dict[str, str | None] = {
        "RETRAIN_CONTRACT": CONTRACT,
        "RETRAIN_RUN_ID": run_id(metadata),
        "RETRAIN_ROOT_RUN_ID": root_run_id(metadata, spec),
        "RETRAIN_ATTEMPT": str(spec.attempt),
        "RETRAIN_MODE": spec.mode.value,
        "RETRAIN_RESULT_PATH": RESULT_PATH,
        "RETRAIN_CONFIG": f"{CONFIG_DIR}/{CONFIG_FILE}" if spec.config is not None or spec.config_from else None,
        "RETRAIN_WINDOW": spec.window,
        "RETRAIN_RETUNE": _compact(spec.retune.to_json()) if spec.retune else None,
        "RETRAIN_DATA_URI": data.uri if data else None,
        "RETRAIN_DATA_FORMAT": data.format if data else None,
        "RETRAIN_DATA_SELECT": data.select.value if data and data.select else None,
        "RETRAIN_DATA_CHECK": data.check.value if data else None,
        "RETRAIN_PREVIOUS_DATA_VERSION": previous.data_version if previous else None,
        "RETRAIN_PREVIOUS_CONFIG_HASH": previous.config_hash if previous else None,
        "RETRAIN_CHAMPION_URI": champion.uri if champion else None,
        "RETRAIN_CHAMPION_SHA256": champion.sha256 if champion else None,
        "RETRAIN_OUTPUT_URI": spec.output.uri if spec.output else None,
        "RETRAIN_DEADLINE_SECONDS": str(deadline) if deadline is not None else None,
        "PYTHONHASHSEED": "0",
    }
    return {name: value for name, value in given.items() if value is not None}


def _compact(value: Body) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _thread_counts(container: Body, own: set[object]) -> dict[str, str]:
    """Numeric libraries start one thread per core of the node, not of the limit, and then slow each other down."""
    limit = _given(_given(container, "resources", dict), "limits", dict).get("cpu")
    if limit is None:
        return {}
    text = str(limit)
    try:
        cores = math.floor(float(text[:-1]) / 1000 if text.endswith("m") else float(text))
    except (ValueError, OverflowError):  # OverflowError: inf
        raise InvalidSpec(f"resources.limits.cpu: {text!r} is not a CPU quantity: write cores such as 2 or 500m") from None
    return {name: str(max(1, cores)) for name in _THREAD_VARIABLES if name not in own}


def _config_volume(spec: RetrainJobSpec, meta: Body) -> Body | None:
    """Volume with the configuration; an inline one travels in an annotation of the pod, so that a run needs no ConfigMap of its own."""
    if spec.config is not None:
        text = _compact(spec.config)
        if len(text.encode()) > CONFIG_MAX_BYTES:
            raise InvalidSpec(f"config is longer than {CONFIG_MAX_BYTES} bytes: put it into a ConfigMap and use configFrom")
        meta["annotations"] = _given(meta, "annotations", dict) | {ANNOTATION_CONFIG: text}
        field = {"fieldPath": f"metadata.annotations['{ANNOTATION_CONFIG}']"}
        return {"downwardAPI": {"items": [{"path": CONFIG_FILE, "fieldRef": field}]}}
    if spec.config_from is None:
        return None
    if ref := spec.config_from.config_map_key_ref:
        return {"configMap": {"name": ref.name, "items": [{"key": ref.key, "path": CONFIG_FILE}]}}
    if secret := spec.config_from.secret_key_ref:
        return {"secret": {"secretName": secret.name, "items": [{"key": secret.key, "path": CONFIG_FILE}]}}
    raise InvalidSpec("set exactly one of configFrom.configMapKeyRef and configFrom.secretKeyRef")
