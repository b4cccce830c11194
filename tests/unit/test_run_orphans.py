"""What starts no more once its schedule is gone, although the garbage collector has not come yet: each row is one way to be made."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest
from tests.builders import NOW, owner

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import JOBS, RUNS, SCHEDULES, AlreadyExists, Body, Resource
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.reconcile.controller import Controller
from retrain_operator.reconcile.workqueue import Item, Kind

RUN = {"trainer": {"image": "t"}}
KEPT = {"finalizers": ["example.com/keep"]}  # a deletion in the foreground, or with --cascade=orphan, takes as long
Owners = Sequence[Mapping[str, Any]]


class Bench:
    """A schedule, and runs that nothing collects; the controller has no watches and knows what it is told."""

    def __init__(self, clock: VirtualClock) -> None:
        self.cluster = MemoryCluster(clock.now, admission=ADMISSION)
        self.controller = Controller(self.cluster, clock)
        keeper = self.create(JOBS, "keeper", {"template": {"spec": {"containers": []}}})
        self._keeper = owner("Job", "keeper", keeper["metadata"]["uid"], controller=False, api_version="batch/v1")

    def create(self, resource: Resource, name: str, spec: Mapping[str, Any], owners: Owners = (), **metadata: Any) -> Body:
        kept = [*owners, self._keeper] if owners else []
        body = {"metadata": {"name": name, "ownerReferences": kept} | metadata, "spec": dict(spec)}
        made = self.cluster.store.create(resource, "ml", body)
        assert not isinstance(made, AlreadyExists)
        return made

    def schedule(self, **metadata: Any) -> Body:
        return self.create(SCHEDULES, "churn", {"schedule": "0 * * * *", "jobTemplate": {"spec": RUN}}, **metadata)

    def run(self, name: str, owners: Owners = (), **spec: Any) -> Body:
        return self.create(RUNS, name, RUN | {"schedule": "churn"} | spec, owners)

    def hear(self, body: Body) -> None:
        resource = SCHEDULES if body["kind"] == "RetrainSchedule" else RUNS
        found = self.cluster.store.get(resource, Key("ml", body["metadata"]["name"]))
        self.controller.take(resource, "DELETED" if found is None else "MODIFIED", found or body)

    def delete(self, body: Body) -> None:
        self.cluster.store.delete(SCHEDULES if body["kind"] == "RetrainSchedule" else RUNS, Key("ml", body["metadata"]["name"]))

    async def starts(self, name: str = "a") -> bool:
        await self.controller.reconciler.look_at(Item(Kind.RUN, Key("ml", name)))
        return self.cluster.store.get(JOBS, Key("ml", name)) is not None


def owned_by(body: Body) -> Owners:
    return [owner(body["kind"], body["metadata"]["name"], body["metadata"]["uid"])]


async def lives(on: Bench) -> None:
    made = on.schedule()
    on.hear(made)
    on.hear(on.run("a", owned_by(made)))


async def not_heard_of(on: Bench) -> None:
    on.hear(on.run("a", owned_by(on.schedule())))


async def gone(on: Bench) -> None:
    made = on.schedule()
    on.hear(made)
    on.delete(made)
    on.hear(made)
    on.hear(on.run("a", owned_by(made)))


async def going(on: Bench) -> None:
    made = on.schedule(**KEPT)
    on.delete(made)
    on.hear(made)
    on.hear(on.run("a", owned_by(made)))


async def going_unheard(on: Bench) -> None:
    made = on.schedule(**KEPT)
    on.delete(made)
    on.hear(on.run("a", owned_by(made)))


async def made_anew(on: Bench) -> None:
    made = on.schedule()
    on.delete(made)
    on.hear(on.schedule())
    on.hear(on.run("a", owned_by(made)))


async def orphaned(on: Bench) -> None:
    made = on.schedule()
    run = on.run("a", owned_by(made))
    on.delete(made)
    on.hear(made)
    on.hear(run)
    assert not await on.starts()
    await on.cluster.patch(RUNS, Key("ml", "a"), {"metadata": {"ownerReferences": None}})
    on.hear(run)


async def of_nobody(on: Bench) -> None:
    on.hear(on.run("a"))


async def of_something_else(on: Bench) -> None:
    on.hear(on.run("a", [owner("Workflow", "nightly", "wf", api_version="argoproj.io/v1alpha1")]))


@pytest.mark.parametrize(
    ("made", "starts"),
    [
        pytest.param(lives, True, id="its schedule lives: starts"),
        pytest.param(not_heard_of, True, id="its schedule was not heard of yet: starts"),
        pytest.param(gone, False, id="gone"),
        pytest.param(going, False, id="being deleted"),
        pytest.param(going_unheard, False, id="being deleted, not heard of"),
        pytest.param(made_anew, False, id="another of its name"),
        pytest.param(orphaned, True, id="gone, and it was to stay: starts"),
        pytest.param(of_nobody, True, id="only names a schedule: starts"),
        pytest.param(of_something_else, True, id="made by something else: starts"),
    ],
)
def test_a_run_starts_only_while_its_schedule_lives(made: Callable[[Bench], Awaitable[None]], starts: bool) -> None:
    async def main(clock: VirtualClock) -> bool:
        on = Bench(clock)
        await made(on)
        return await on.starts()

    assert run_virtual(main, NOW) is starts


@pytest.mark.parametrize(
    ("deleted", "starts"),
    [
        pytest.param("", True, id="nothing: starts"),
        pytest.param("churn", False, id="the schedule"),
        pytest.param("root", False, id="the first attempt"),
    ],
)
def test_a_further_attempt_starts_only_while_what_it_belongs_to_lives(deleted: str, starts: bool) -> None:
    async def main(clock: VirtualClock) -> bool:
        on = Bench(clock)
        made = on.schedule()
        root = on.run("root", owned_by(made))
        again = {"trigger": "Retry", "attempt": 2, "root": {"name": "root", "uid": root["metadata"]["uid"]}}
        on.hear(on.run("root-r1", owned_by(root), **again))
        for each in (made, root):
            if each["metadata"]["name"] == deleted:
                on.delete(each)
        return await on.starts("root-r1")

    assert run_virtual(main, NOW) is starts


def test_no_further_attempt_is_made_while_its_schedule_goes() -> None:
    """Under --cascade=orphan it would be made with an owner, perhaps when all others have been freed of it."""

    async def main(clock: VirtualClock) -> list[bool]:
        on = Bench(clock)
        made = on.schedule(**KEPT)
        root = on.run("root", owned_by(made))
        following = {"job": "root-r1", "time": "2026-03-02T11:59:00Z", "made": False}
        on.cluster.store.patch_status(RUNS, Key("ml", "root"), {"phase": "Failed", "observedGeneration": 1, "nextAttempt": following})
        on.delete(made)
        on.hear(made)
        on.hear(root)
        found = []
        for owners in (root["metadata"]["ownerReferences"], None):
            await on.cluster.patch(RUNS, Key("ml", "root"), {"metadata": {"ownerReferences": owners}})
            on.hear(root)
            await on.controller.reconciler.look_at(Item(Kind.RUN, Key("ml", "root")))
            found.append(on.cluster.store.get(RUNS, Key("ml", "root-r1")) is not None)
        return found

    assert run_virtual(main, NOW) == [False, True]
