"""One world, two clusters: what a test may do to a cluster with our operator on it, embedded or real.

The same tests run on both, so that the embedded one cannot lie. Time is real in both; a test that must not wait for the next full minute
makes a tick overdue (`overdue`) while the operator is down, as an outage would.
"""

import asyncio
import contextlib
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from retrain_operator.api.base import format_time
from retrain_operator.api.names import Key
from retrain_operator.cluster.protocol import SCHEDULES, AlreadyExists, Body, Cluster, Resource

Until = Callable[[Body], bool]
DEADLINE_S = 60.0
PROGRESS_INTERVAL_S = 1.0  # of the operator under test


class World(ABC):
    """A namespace on a cluster whose pods run, with an operator that can be started and killed."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster = cluster
        self.namespace = namespace

    @abstractmethod
    async def patch(self, resource: Resource, name: str, patch: Body) -> None:
        """Edit metadata or spec, as a person does."""

    @abstractmethod
    def operator(self, *flags: str) -> contextlib.AbstractAsyncContextManager[None]:
        """An operator at work, with these flags of `retrain operator`; killed without a word at the end."""

    async def create(self, resource: Resource, body: Body) -> Body:
        answer = await self.cluster.create(resource, self.namespace, body)
        assert not isinstance(answer, AlreadyExists)
        return answer

    async def get(self, resource: Resource, name: str) -> Body | None:
        return await self.cluster.get(resource, Key(self.namespace, name))

    async def list(self, resource: Resource) -> list[Body]:
        return (await self.cluster.list(resource, self.namespace)).items

    async def patch_status(self, resource: Resource, name: str, status: Body) -> None:
        """What only the operator does otherwise; it must be down."""
        key = Key(self.namespace, name)
        body = await self.cluster.get(resource, key)
        assert body is not None
        answer = await self.cluster.patch_status(resource, key, status, resource_version=body["metadata"]["resourceVersion"])
        assert isinstance(answer, dict)

    async def delete(self, resource: Resource, name: str) -> None:
        """Return when it is gone."""
        body = await self.get(resource, name)
        assert body is not None
        await self.cluster.delete(resource, Key(self.namespace, name), uid=body["metadata"]["uid"])
        await self.gone(resource, name)

    async def wait_for(self, resource: Resource, name: str, until: Until, deadline_s: float = DEADLINE_S) -> Body:
        """The object as soon as `until` holds."""
        return await self.wait_for_any(resource, lambda body: body["metadata"]["name"] == name and until(body), deadline_s)

    async def wait_for_any(self, resource: Resource, until: Until, deadline_s: float = DEADLINE_S) -> Body:
        """The first object for which `until` holds, by a watch. Raises TimeoutError with what was seen."""
        seen: dict[str, Body] = {}
        try:
            async with asyncio.timeout(deadline_s):
                async for bodies in self._states(resource):
                    seen = bodies
                    for body in bodies.values():
                        if until(body):
                            return body
        except TimeoutError:
            pass
        raise TimeoutError(f"no {resource.kind} as wanted within {deadline_s} s; last seen: {json.dumps(seen)}")

    async def gone(self, resource: Resource, *names: str, deadline_s: float = DEADLINE_S) -> None:
        """Return when none of these (of all, without names) is there."""
        async with asyncio.timeout(deadline_s):
            async for bodies in self._states(resource):
                if not (bodies.keys() & names if names else bodies):
                    return

    async def _states(self, resource: Resource) -> AsyncIterator[dict[str, Body]]:
        """All objects by name, now and after every change."""
        listing = await self.cluster.list(resource, self.namespace)
        bodies = {body["metadata"]["name"]: body for body in listing.items}
        yield bodies
        async for event in self.cluster.watch(resource, self.namespace, resource_version=listing.resource_version):
            if event.type == "BOOKMARK":
                continue
            if event.type == "DELETED":
                bodies.pop(event.body["metadata"]["name"], None)
            else:
                bodies[event.body["metadata"]["name"]] = event.body
            yield bodies


def trainer(script: str, **spec: Any) -> Body:
    """Spec of a run whose trainer is a shell script. `answer` in it writes a result as the contract asks for."""
    return {"trainer": {"image": "sh", "command": ["sh", "-c", _PRELUDE + script]}, **spec}


# answer OUTCOME [MORE]: the trainer's answer as JSON.
_PRELUDE = r"""
set -eu
answer() {
  printf '{"schema":"retrain/v1","runId":"%s","attempt":1,"mode":"%s","outcome":"%s"%s}' \
    "$RETRAIN_RUN_ID" "$RETRAIN_MODE" "$1" "${2:-}" > "$RETRAIN_RESULT_PATH"
}
"""

TRAINED = (
    """answer trained ',"metrics":{"accuracy":0.9},"data":{"version":"v1","rows":10},"config":{"hash":"c1"},"""
    """"artifact":{"uri":"file:///nowhere","sha256":"%s"}'""" % ("0" * 64)
)
SIMULATED = """answer simulated ',"data":{"version":"v1","rows":10}'"""


def schedule(name: str, run: Body, **spec: Any) -> Body:
    """A RetrainSchedule that is due once a year: no tick of it comes while a test runs, and `overdue` makes one due."""
    return {
        "apiVersion": "retrain.dev/v1alpha1",
        "kind": "RetrainSchedule",
        "metadata": {"name": name},
        "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": run}, **spec},
    }


def run(name: str, spec: Body) -> Body:
    """A RetrainJob made by a person."""
    return {"apiVersion": "retrain.dev/v1alpha1", "kind": "RetrainJob", "metadata": {"name": name}, "spec": spec}


EVERY_MINUTE = {"schedule": "* * * * *"}


async def overdue(world: World, name: str, **by: float) -> None:
    """Make the schedule's ticks of the last year (or of `by`, as a timedelta takes it) due, as an outage does. It must be down."""
    floor = datetime.now(UTC) - timedelta(**(by or {"days": 366}))
    await world.patch_status(SCHEDULES, name, {"decidedThrough": format_time(floor)})


def phase(body: Body) -> str:
    return str(body.get("status", {}).get("phase"))


def is_finished(body: Body) -> bool:
    return phase(body) in ("Completed", "Failed", "Skipped")


def condition(body: Body, type_: str) -> Body:
    """The condition of this type, or an empty one."""
    return next((each for each in body.get("status", {}).get("conditions", []) if each["type"] == type_), {})
