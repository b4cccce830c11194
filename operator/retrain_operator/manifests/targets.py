"""What a target shows of the model that it serves: a merge patch that says so, and that makes its own controller roll it out."""

from retrain_operator.api.deploy import TargetKind
from retrain_operator.api.names import ANNOTATION_MODEL_DIGEST, ANNOTATION_MODEL_RUN, ANNOTATION_MODEL_URI, ANNOTATION_SLOT
from retrain_operator.api.slot import SlotRecord
from retrain_operator.manifests.common import Body


def target_patch(kind: TargetKind, record: SlotRecord, stamp: str) -> Body:
    """A Deployment restarts by a change of its pod template; an InferenceService loads what its storageUri names.

    stamp: the slot and how often it has changed. It makes every change of the slot a write to the target, also one that brings no other
    model, such as a rollback before the target was reached: whoever read the target earlier cannot patch it any more.
    """
    stamped = {ANNOTATION_SLOT: stamp}
    told = {ANNOTATION_MODEL_URI: record.uri, ANNOTATION_MODEL_DIGEST: record.sha256, ANNOTATION_MODEL_RUN: record.run}
    if kind is TargetKind.DEPLOYMENT:
        return {"metadata": {"annotations": stamped}, "spec": {"template": {"metadata": {"annotations": told}}}}
    return {"metadata": {"annotations": stamped | told}, "spec": {"predictor": {"model": {"storageUri": record.uri}}}}
