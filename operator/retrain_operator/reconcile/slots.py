"""Reads slots and their targets. Both are few and foreign, so they are read when something is to be decided about them, and not watched."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from retrain_operator.api.deploy import Target, TargetKind
from retrain_operator.api.names import ANNOTATION_DEPLOY_FROM, ANNOTATION_MODEL_DIGEST, ANNOTATION_MODEL_URI, ANNOTATION_SLOT, Key
from retrain_operator.api.slot import Slot
from retrain_operator.cluster.protocol import CONFIG_MAPS, DEPLOYMENTS, INFERENCE_SERVICES, Cluster, Rejected, Resource
from retrain_operator.manifests.slot import RECORD
from retrain_operator.rules import reasons
from retrain_operator.rules.rollout import TargetObserved
from retrain_operator.rules.slot import SlotObserved

Body = Mapping[str, Any]

TARGET_RESOURCES: dict[TargetKind, Resource] = {
    TargetKind.DEPLOYMENT: DEPLOYMENTS,
    TargetKind.INFERENCE_SERVICE: INFERENCE_SERVICES,
}


async def observe_slot(cluster: Cluster, key: Key, labels: Mapping[str, str]) -> SlotObserved:
    """The slot's ConfigMap; `labels` are those by which it is known as this slot's. Raises ClusterError."""
    body = await cluster.get(CONFIG_MAPS, key)
    return SlotObserved(key, dict(labels)) if body is None else slot_of(body, labels)


def slot_of(body: Body, labels: Mapping[str, str]) -> SlotObserved:
    """A slot as its ConfigMap says it."""
    metadata = body["metadata"]
    key, found = Key(metadata["namespace"], metadata["name"]), dict(metadata.get("labels") or {})
    seen = SlotObserved(key, dict(labels), version=metadata["resourceVersion"], uid=metadata["uid"], foreign_labels=found)
    if not labels.items() <= found.items():
        wanted = ",".join(f"{name}={value}" for name, value in labels.items())
        problem = f"ConfigMap {key.name} exists and is not this slot's (labels {wanted}): delete or rename it, or name another slot"
        return _with_problem(seen, reasons.SLOT_TAKEN, problem)
    try:
        slot = Slot.model_validate(json.loads((body.get("data") or {})[RECORD]))
    except (KeyError, ValueError, ValidationError, RecursionError) as error:
        problem = (
            f"{RECORD} in ConfigMap {key.name} cannot be read ({_first_line(error)}): restore it, or delete the ConfigMap to start anew"
        )
        return _with_problem(seen, reasons.SLOT_UNREADABLE, problem)
    return SlotObserved(key, seen.labels, slot, seen.version, seen.uid, seen.foreign_labels)


async def observe_targets(cluster: Cluster, namespace: str, targets: Sequence[Target]) -> tuple[TargetObserved, ...]:
    """Each target as it is now. Raises ClusterError."""
    return tuple([await _observe_target(cluster, namespace, target) for target in targets])


async def _observe_target(cluster: Cluster, namespace: str, target: Target) -> TargetObserved:
    try:
        body = await cluster.get(TARGET_RESOURCES[target.kind], Key(namespace, target.name))
    except Rejected as error:
        if error.status != HTTPStatus.NOT_FOUND:
            raise
        return TargetObserved(target, problem=f"this cluster does not serve {target.kind}: install KServe, or remove the target")
    if body is None:
        return TargetObserved(
            target, problem=f"there is no {target.kind} {target.name} in namespace {namespace}: create it, or remove the target"
        )
    return _deployment(target, body) if target.kind is TargetKind.DEPLOYMENT else _inference_service(target, body)


def _deployment(target: Target, body: Body) -> TargetObserved:
    """Complete as `kubectl rollout status` means it: what is available is all new, and nothing else is left."""
    metadata, spec, status = body["metadata"], body["spec"], body.get("status") or {}
    shown = (spec["template"].get("metadata") or {}).get("annotations") or {}
    wanted = spec.get("replicas", 1)
    replicas, updated, available = (status.get(name) or 0 for name in ("replicas", "updatedReplicas", "availableReplicas"))
    is_seen = (status.get("observedGeneration") or 0) >= metadata["generation"]
    progress = f"{updated} of {wanted} replicas updated, {available} available, {max(0, replicas - updated)} old ones left"
    stuck = next((each for each in status.get("conditions") or () if each["type"] == "Progressing" and each["status"] == "False"), None)
    if stuck is not None:
        progress += f" ({stuck.get('reason', '')}: {stuck.get('message', '')})"
    return TargetObserved(
        target,
        version=metadata["resourceVersion"],
        deploy_from=_deploy_from(metadata),
        uri=shown.get(ANNOTATION_MODEL_URI),
        sha256=shown.get(ANNOTATION_MODEL_DIGEST),
        stamp=(metadata.get("annotations") or {}).get(ANNOTATION_SLOT),
        is_complete=is_seen and wanted == updated == replicas == available,
        progress="it is paused (spec.paused)" if spec.get("paused") else progress if is_seen else "its controller has not seen the change",
    )


def _inference_service(target: Target, body: Body) -> TargetObserved:
    """Complete when it is Ready, its controller tells that it has seen the change, and its model is UpToDate."""
    metadata, status = body["metadata"], body.get("status") or {}
    model = (body["spec"].get("predictor") or {}).get("model")
    ready: Body = next((each for each in status.get("conditions") or () if each["type"] == "Ready"), {})
    transition = (status.get("modelStatus") or {}).get("transitionStatus")
    observed = status.get("observedGeneration")
    is_seen = observed >= metadata["generation"] if observed is not None else transition is not None
    problem = f"{target.kind} {target.name} has no spec.predictor.model: name its modelFormat there; storageUri is set beside it"
    return TargetObserved(
        target,
        version=metadata["resourceVersion"],
        problem=None if isinstance(model, dict) else problem,
        problem_reason=reasons.TARGET_UNFIT,
        deploy_from=_deploy_from(metadata),
        uri=model.get("storageUri") if isinstance(model, dict) else None,
        sha256=(metadata.get("annotations") or {}).get(ANNOTATION_MODEL_DIGEST),
        stamp=(metadata.get("annotations") or {}).get(ANNOTATION_SLOT),
        is_complete=is_seen and ready.get("status") == "True" and transition in (None, "UpToDate"),
        progress=f"Ready is {ready.get('status', 'unknown')} {ready.get('message') or ''} (model: {transition or 'unknown'})".strip(),
    )


def _deploy_from(metadata: Body) -> tuple[str, ...]:
    named = (metadata.get("annotations") or {}).get(ANNOTATION_DEPLOY_FROM) or ""
    return tuple(each.strip() for each in named.split(",") if each.strip())


def _with_problem(seen: SlotObserved, reason: str, problem: str) -> SlotObserved:
    return SlotObserved(seen.key, seen.labels, Slot(), seen.version, seen.uid, seen.foreign_labels, problem, reason)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
