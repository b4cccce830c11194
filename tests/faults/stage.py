"""What a scenario may do: a person's writes, straight to the API server, and waiting for what the observer sees."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from retrain_operator.api.base import ObjectMeta, format_time
from retrain_operator.api.names import Key
from retrain_operator.api.policy import Policy
from retrain_operator.cluster.protocol import CONFIG_MAPS, DEPLOYMENTS, JOBS, RUNS, SCHEDULES, AlreadyExists, Body, Cluster, Resource
from retrain_operator.cron import Cron
from retrain_operator.rules.drift import due_slot
from tests.faults.history import History, Life
from tests.faults.observer import Observer
from tests.faults.slots import is_rolled_out

STEP_S = 120.0  # longer than the longest outage
DAY_S = 86_400
NAME = "churn"
_ANSWER = {"schema": "retrain/v1", "runId": "$(RETRAIN_RUN_ID)", "attempt": 1, "mode": "Execute"}
TRAINED = _ANSWER | {
    "outcome": "trained",
    "metrics": {"accuracy": 0.9},
    "data": {"version": "v1", "rows": 10},
    "config": {"hash": "c1"},
    "artifact": {"uri": "file:///nowhere", "sha256": "0" * 64},
}


def trained(sha256: str, accuracy: float, *, data: str = "v1", before: float | None = None) -> Body:
    """Answer of a trainer that made this model. before: what the model that it was told of got on its holdout."""
    model = {"artifact": {"uri": f"file:///models/{sha256[:4]}", "sha256": sha256}}
    champion = {"champion": {"sha256": "$(RETRAIN_CHAMPION_SHA256)", "metrics": {"accuracy": before}}} if before is not None else {}
    return TRAINED | {"metrics": {"accuracy": accuracy}, "data": {"version": data, "rows": 10}} | model | champion


REFUSED = _ANSWER | {"outcome": "failed", "error": {"reason": "TooLittleData", "message": "3 rows", "retryable": False}}


class Stage:
    """One namespace with the scenario's objects. `start` starts the operator, or both."""

    def __init__(self, admin: Cluster, namespace: str, observer: Observer, start: Callable[[], None], edit: Callable[..., Any]) -> None:
        self.namespace = namespace
        self.start = start
        self.floors: dict[str, datetime] = {}
        self._admin, self._observer, self._edit = admin, observer, edit

    @property
    def history(self) -> History:
        return self._observer.history(self.namespace)

    async def schedule(self, trainer: Body, *, due: int = 1, run: Body | None = None, **spec: Any) -> None:
        """A daily RetrainSchedule whose last `due` ticks have not been decided on, the newest of them some minutes ago. 0: none is due.

        It was accepted once, as every schedule was of which ticks are decided: an edit of something else does not move its floor then.
        """
        newest = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=5)
        template = {"spec": {"trainer": trainer, **(run or {})}}
        body = {"spec": {"schedule": f"{newest.minute} {newest.hour} * * *", "jobTemplate": template, **spec}}
        made = await self._create(SCHEDULES, NAME, body)
        self.floors[NAME] = newest - timedelta(days=due - 1, minutes=1)
        answer = await self._admin.patch_status(
            SCHEDULES,
            Key(self.namespace, NAME),
            {
                "decidedThrough": format_time(self.floors[NAME]),
                "effectiveSchedule": Cron.parse(body["spec"]["schedule"], "Etc/UTC").effective,
            },
            resource_version=made["metadata"]["resourceVersion"],
        )
        assert isinstance(answer, dict)
        await self.until(lambda history: any(each.status.get("decidedThrough") for each in history.of("retrainschedules")))

    def long_interval_s(self) -> int:
        """Of a drift policy without an evaluation in the next hour but the one that is due."""
        meta, now = ObjectMeta(namespace=self.namespace, name=NAME, uid="", creation_timestamp=datetime.now(UTC)), datetime.now(UTC)
        for interval_s in range(DAY_S, DAY_S // 2, -1800):
            policy = Policy.model_validate({"intervalSeconds": interval_s, "signals": [{"name": "age", "staleness": {"maxAgeSeconds": 1}}]})
            slot = due_slot(policy, meta, None, now)
            if slot is not None and slot + timedelta(seconds=interval_s) - now > timedelta(hours=1):
                return interval_s
        raise AssertionError("a grid of half a day or longer that is an hour away must be there")

    async def config_map(self, name: str, **data: str) -> None:
        await self._create(CONFIG_MAPS, name, {"data": data})

    async def deployment(self, name: str, *, replicas: int = 0) -> None:
        """A target that lets the schedule deploy to it, all of it there. Without replicas only its Deployment is looked at."""
        labels = {"app": name}
        template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "serve", "image": "fake/run:forever"}]}}
        await self._create(
            DEPLOYMENTS,
            name,
            {
                "metadata": {"annotations": {"retrain.dev/deploy-from": NAME}},
                "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
            },
        )
        await self.until(lambda history: any(each.name == name and is_rolled_out(each.last) for each in history.of("deployments")))

    async def pause_deployment(self, name: str, *, paused: bool = True) -> None:
        """While it is paused no change of its pods is rolled out."""
        await self._edit(DEPLOYMENTS, Key(self.namespace, name), {"spec": {"paused": paused}})

    async def run_by_hand(self, name: str, trainer: Body, **spec: Any) -> None:
        """A RetrainJob that a person makes for the schedule."""
        await self._create(RUNS, name, {"spec": {"schedule": NAME, "trainer": trainer, **spec}})
        await self.until(lambda history: any(each.name == name for each in history.of("retrainjobs")))

    async def edit_schedule(self, patch: Body) -> None:
        """A JSON merge patch, as kubectl or Git would."""
        await self._edit(SCHEDULES, Key(self.namespace, NAME), patch)

    async def request(self, token: str) -> None:
        """Trigger the schedule by hand."""
        await self.edit_schedule({"metadata": {"annotations": {"retrain.dev/requestedAt": token}}})

    async def retrain(self, token: str, trainer: Body) -> None:
        """Trigger it by hand, with another trainer."""
        template = {"spec": {"trainer": trainer}}
        await self.edit_schedule({"metadata": {"annotations": {"retrain.dev/requestedAt": token}}, "spec": {"jobTemplate": template}})

    async def roll_back(self, token: str) -> None:
        """Ask for it, and wait until it is said what became of it."""
        await self.edit_schedule({"metadata": {"annotations": {"retrain.dev/rollbackRequestedAt": token}}})
        await self.until(lambda history: any(each.status.get("lastRollback") for each in history.of("retrainschedules")))

    async def until_deployed(self, count: int) -> None:
        """Until it is decided what becomes of the models of so many runs."""
        await self.until(lambda history: sum(_is_decided(run) for run in history.of("retrainjobs")) == count)

    async def delete_schedule(self) -> None:
        await self._delete(SCHEDULES, next(self.history.living("retrainschedules")))

    async def delete_run(self) -> None:
        await self._delete(RUNS, next(self.history.living("retrainjobs")))

    async def delete_job(self) -> None:
        await self._delete(JOBS, next(self.history.living("jobs")))

    async def until_a_pod_runs(self) -> None:
        await self.until(lambda history: any(pod.status.get("phase") == "Running" for pod in history.living("pods")))

    async def until(self, holds: Callable[[History], bool]) -> None:
        """Return when the history is so. Raises TimeoutError."""
        changed = self._observer.changed(self.namespace)
        async with asyncio.timeout(STEP_S):
            while not holds(self.history):
                changed.clear()
                await changed.wait()

    async def _create(self, resource: Resource, name: str, body: Body) -> Body:
        head = {"apiVersion": resource.api_version, "kind": resource.kind}
        answer = await self._admin.create(resource, self.namespace, head | body | {"metadata": {"name": name, **body.get("metadata", {})}})
        assert not isinstance(answer, AlreadyExists)
        return answer

    async def _delete(self, resource: Resource, life: Life) -> None:
        await self._admin.delete(resource, Key(self.namespace, life.name), uid=life.uid)
        await self.until(lambda history: history.lives[life.uid].is_gone)


def _is_decided(run: Life) -> bool:
    return any(each["type"] == "Deployed" and each["status"] != "Unknown" for each in run.status.get("conditions") or ())


def pod(image: str, answer: Body | None = None) -> Body:
    """A trainer that only pretends: `pod("fake/succeed:1s", TRAINED)`."""
    environment = [] if answer is None else [{"name": "FAKE_MESSAGE", "value": json.dumps(answer)}]
    return {"image": image, "env": environment}
