"""What is told of a right or a quota that is missing, for as long as it is."""

from collections.abc import Mapping
from typing import Any

from tests.builders import NOW

from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.protocol import EVENTS, JOBS, RUNS, AlreadyExists, Body, Forbidden, Resource
from retrain_operator.embedded.operator import new_cluster, operating

MINUTES = 75


def test_a_missing_quota_is_told_again_before_its_event_is_gone() -> None:
    async def story(clock: VirtualClock) -> list[str]:
        cluster = new_cluster(clock)
        create = cluster.create

        async def refused(resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body | AlreadyExists:
            if resource is JOBS:
                raise Forbidden("exceeded quota: none", status=403)
            return await create(resource, namespace, body)

        cluster.create = refused  # type: ignore[method-assign]
        cluster.store.create(RUNS, "ml", {"metadata": {"name": "poor"}, "spec": {"trainer": {"image": "t"}}})
        async with operating(cluster, clock):
            await clock.sleep(MINUTES * 60)
            return [event["note"] for event in (await cluster.list(EVENTS, "ml")).items if event["reason"] == "CreateFailed"]

    assert run_virtual(story, NOW) == ["exceeded quota: none: grant the right or raise the quota; it is tried again"] * 3
