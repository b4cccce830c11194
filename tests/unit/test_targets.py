"""What is read of a target: whether it may be touched, what it shows, and whether all of it serves that."""

from typing import Any

import pytest
from tests.unit.memory_objects import NOW, made

from retrain_operator.api.deploy import Target, TargetKind
from retrain_operator.api.names import Key
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import DEPLOYMENTS, INFERENCE_SERVICES, Body, Rejected, Resource
from retrain_operator.reconcile.slots import observe_targets
from retrain_operator.rules.rollout import TargetObserved

NAMES = {TargetKind.DEPLOYMENT: DEPLOYMENTS, TargetKind.INFERENCE_SERVICE: INFERENCE_SERVICES}
API, SERVICE = Target(kind=TargetKind.DEPLOYMENT, name="api"), Target(kind=TargetKind.INFERENCE_SERVICE, name="churn")


async def observed(target: Target, body: Body, status: Body) -> TargetObserved:
    cluster = MemoryCluster(lambda: NOW)
    resource = NAMES[target.kind]
    await made(cluster, resource, body)
    cluster.store.patch_status(resource, Key("ns", target.name), status)
    [found] = await observe_targets(cluster, "ns", [target])
    return found


def deployment(**spec: Any) -> Body:
    return {"metadata": {"name": "api"}, "spec": {"replicas": 2, "template": {}, **spec}}


COUNTS = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}
ROLLOUTS = [
    pytest.param({}, COUNTS, True, "", id="all new and available"),
    pytest.param({}, COUNTS | {"observedGeneration": 0}, False, "its controller has not seen the change", id="of an older generation"),
    pytest.param({}, {}, False, "its controller has not seen the change", id="no status yet"),
    pytest.param({}, COUNTS | {"updatedReplicas": 1}, False, "1 of 2 replicas updated, 2 available, 1 old ones left", id="one is old"),
    pytest.param({}, COUNTS | {"replicas": 3}, False, "1 old ones left", id="an old one is left beside the new ones"),
    pytest.param({}, COUNTS | {"availableReplicas": 1}, False, "1 available", id="one is not available"),
    pytest.param({"replicas": 0}, {"observedGeneration": 1}, True, "", id="scaled to none: nothing old is left"),
    pytest.param({"paused": True}, COUNTS | {"updatedReplicas": 0}, False, "it is paused (spec.paused)", id="paused"),
    pytest.param(
        {},
        COUNTS
        | {"updatedReplicas": 1, "conditions": [{"type": "Progressing", "status": "False", "reason": "Stuck", "message": "no quota"}]},
        False,
        "(Stuck: no quota)",
        id="its controller says why it does not get on",
    ),
]


@pytest.mark.parametrize(("spec", "status", "complete", "progress"), ROLLOUTS)
async def test_a_deployment(spec: Body, status: Body, complete: bool, progress: str) -> None:
    found = await observed(API, deployment(**spec), status)
    assert (found.is_complete, found.problem, found.deploy_from, found.sha256) == (complete, None, (), None)
    assert progress in found.progress


async def test_what_a_deployment_shows_and_whom_it_allows() -> None:
    annotations = {"retrain.dev/model-uri": "s3://m/a", "retrain.dev/model-sha256": "a" * 64}
    body = deployment(template={"metadata": {"annotations": annotations}})
    body["metadata"]["annotations"] = {"retrain.dev/deploy-from": " churn ,fraud,", "retrain.dev/slot": "churn-production/3"}
    found = await observed(API, body, COUNTS)
    assert (found.uri, found.sha256, found.stamp, found.deploy_from) == ("s3://m/a", "a" * 64, "churn-production/3", ("churn", "fraud"))


READY = {"conditions": [{"type": "Ready", "status": "True"}]}
MODEL = {"predictor": {"model": {"modelFormat": {"name": "sklearn"}, "storageUri": "s3://m/a"}}}
SERVICES = [
    pytest.param(READY | {"observedGeneration": 1}, True, id="ready, and its controller has seen the change"),
    pytest.param(READY | {"observedGeneration": 0}, False, id="ready, of an older generation"),
    pytest.param(READY, False, id="ready, and nothing tells of what"),
    pytest.param(READY | {"modelStatus": {"transitionStatus": "UpToDate"}}, True, id="ready, with an up-to-date model"),
    pytest.param(
        READY | {"observedGeneration": 1, "modelStatus": {"transitionStatus": "InProgress"}}, False, id="the model is being loaded"
    ),
    pytest.param({"observedGeneration": 1, "conditions": [{"type": "Ready", "status": "False"}]}, False, id="not ready"),
    pytest.param({}, False, id="no status yet"),
]


@pytest.mark.parametrize(("status", "complete"), SERVICES)
async def test_an_inference_service(status: Body, complete: bool) -> None:
    found = await observed(SERVICE, {"metadata": {"name": "churn"}, "spec": MODEL}, status)
    assert (found.is_complete, found.uri, found.problem) == (complete, "s3://m/a", None)


async def test_an_inference_service_of_the_old_shape_is_told() -> None:
    found = await observed(SERVICE, {"metadata": {"name": "churn"}, "spec": {"predictor": {"sklearn": {"storageUri": "s3://m/a"}}}}, {})
    assert (found.problem_reason, found.problem is not None and "spec.predictor.model" in found.problem) == ("TargetUnfit", True)


class Unserved(MemoryCluster):
    async def get(self, resource: Resource, key: Key) -> Body | None:
        raise Rejected("the API server does not serve it", status=self.status)

    status = 404


async def test_a_kind_that_is_not_served_is_told_and_other_errors_are_tried_again() -> None:
    cluster = Unserved(lambda: NOW)
    [found] = await observe_targets(cluster, "ns", [SERVICE])
    assert (found.problem_reason, found.version) == ("TargetNotFound", None)
    cluster.status = 400
    with pytest.raises(Rejected):
        await observe_targets(cluster, "ns", [SERVICE])
