"""What a deployment costs in requests: nothing without `deploy`, and few with it."""

import json
from collections import Counter
from typing import Any

import pytest
from tests.builders import NOW, SHA256

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import CONFIG_MAPS, EVENTS, RUNS, AlreadyExists, Body, Resource
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.operator import operating
from retrain_operator.embedded.runners import Outcome, ScriptedPods


class Counting(MemoryCluster):
    """Counts reads and writes of the operator, events apart."""

    requests: Counter[str]

    async def get(self, resource: Resource, key: Key) -> Body | None:
        self.requests[f"get {resource.plural}"] += 1
        return await super().get(resource, key)


def pod(body: Body) -> Outcome:
    run_id = next(each["value"] for each in body["spec"]["containers"][0]["env"] if each["name"] == "RETRAIN_RUN_ID")
    result = {"schema": "retrain/v1", "runId": run_id, "mode": "Execute", "outcome": "trained", "metrics": {"auc": 0.9}}
    return Outcome(5, message=json.dumps(result | {"artifact": {"uri": "s3://m/x", "sha256": SHA256}}))


def requests_of(spec: dict[str, Any]) -> Counter[str]:
    async def story(clock: VirtualClock) -> Counter[str]:
        cluster = Counting(clock.now, admission=ADMISSION)
        cluster.requests = Counter()

        def count(method: str, resource: Resource, key: Key) -> None:
            if resource is not EVENTS:
                cluster.requests[f"{method} {resource.plural}"] += 1

        cluster.before_write = count
        made = cluster.store.create(
            RUNS, "ml", {"metadata": {"name": "once"}, "spec": {"trainer": {"image": "t"}, "schedule": "churn"} | spec}
        )
        assert not isinstance(made, AlreadyExists)
        async with JobController(cluster, ScriptedPods(pod, clock), clock), operating(cluster, clock):
            await clock.sleep(600)
        stored = cluster.store.get(RUNS, Key("ml", "once"))
        assert stored is not None
        assert stored["status"]["phase"] == "Completed"
        return cluster.requests

    return run_virtual(story, NOW)


DEPLOYS = [
    pytest.param({"slot": "production"}, {"get configmaps": 2, "create configmaps": 1, "patch_status retrainjobs": 1}, id="into the slot"),
    pytest.param(
        {"slot": "production", "gates": [{"metric": "auc", "min": 0.95}]},
        {"get configmaps": 2, "patch_status retrainjobs": 1},
        id="blocked by a gate",
    ),
]


@pytest.mark.parametrize(("deploy", "more"), DEPLOYS)
def test_requests_beyond_those_of_a_run_without_deploy(deploy: dict[str, Any], more: dict[str, int]) -> None:
    without = requests_of({})
    assert not any(CONFIG_MAPS.plural in each for each in without)
    assert requests_of({"deploy": deploy}) - without == Counter(more), "the slot is read for the champion, and to be decided on"
