"""What is told of a run or Job that cannot be made, for as long as it cannot, and what becomes of it afterwards."""

from collections.abc import Iterable, Mapping
from itertools import count, cycle, repeat
from typing import Any

import pytest
from tests.builders import NOW

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.protocol import (
    CONFIG_MAPS,
    EVENTS,
    JOBS,
    LEASES,
    RUNS,
    SCHEDULES,
    AlreadyExists,
    Body,
    ClusterError,
    Forbidden,
    Rejected,
    Resource,
    Unavailable,
)
from retrain_operator.embedded.operator import new_cluster, operating

MINUTES = 75
TRIES = count(1)
TRAINER = {"trainer": {"image": "t"}}
SCHEDULED = {"schedule": "1 12 * * *", "jobTemplate": {"spec": TRAINER}}
PSI = {"name": "psi", "configMap": {"name": "drift", "key": "psi"}, "above": 0.2}
DRIFTING = {"policy": {"mode": "Execute", "intervalSeconds": 300, "signals": [PSI]}, "jobTemplate": {"spec": TRAINER}}
POOR = Key("ml", "poor")
RAISE = "exceeded quota: none: grant the right or raise the quota; it is tried again"
REPAIR = "failed calling webhook: see whether the API server, and each admission webhook that it asks, works; it is tried again"


def webhook_down() -> ClusterError:
    return Unavailable(f"try {next(TRIES)}: failed calling webhook", status=500)


@pytest.mark.parametrize(
    "unmakeable", [pytest.param(JOBS, id="Job"), pytest.param(LEASES, id="guard"), pytest.param(RUNS, id="RetrainJob")]
)
@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(lambda: Forbidden("exceeded quota: none", status=403), RAISE, id="a quota"),
        pytest.param(webhook_down, REPAIR, id="a webhook that is down, in other words each time"),
        pytest.param(lambda: Rejected("failed calling webhook", status=404), REPAIR, id="an answer that nobody expects"),
    ],
)
def test_what_blocks_is_told_again_and_again_and_written_seldom_and_then_all_goes_on(error: Any, told: str, unmakeable: Resource) -> None:
    async def story(clock: VirtualClock) -> tuple[list[str], Body, int, list[Body]]:
        cluster = new_cluster(clock)
        create, writes, is_down = cluster.create, count(), True

        async def refused(resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body | AlreadyExists:
            if is_down and resource is unmakeable:
                raise error()
            return await create(resource, namespace, body)

        def written(method: str, resource: Resource, key: Key) -> None:
            if resource is not EVENTS:
                next(writes)

        cluster.create = refused  # type: ignore[method-assign]
        cluster.after_write = written
        blocked = SCHEDULES if unmakeable is RUNS else RUNS
        spec = SCHEDULED if unmakeable is RUNS else TRAINER | {"schedule": "churn"}
        cluster.store.create(blocked, "ml", {"metadata": {"name": POOR.name}, "spec": spec})
        async with operating(cluster, clock):
            await clock.sleep(MINUTES * 60)
            notes = [event["note"] for event in (await cluster.list(EVENTS, "ml")).items if event["reason"] == "CreateFailed"]
            body = await cluster.get(blocked, POOR)
            assert body is not None
            is_down = False
            written_until_then = next(writes)
            await clock.sleep(120)
            return notes, body, written_until_then, (await cluster.list(JOBS, "ml")).items

    notes, body, writes, jobs = run_virtual(story, NOW)
    assert len(notes) == 3
    assert all(note.endswith(told) for note in notes)
    ready = body["status"]["conditions"][0]
    assert (ready["status"], ready["reason"]) == ("False", "CreateFailed")
    assert ready["message"] in notes
    if unmakeable is RUNS:
        assert (body["status"]["lastDecision"]["action"], body["status"]["lastDecision"]["reason"]) == ("Wait", "CreateFailed")
    assert writes <= 6, "a status is written when there is news to tell"
    assert len(jobs) == 1, "nothing is lost"


async def told_while(clock: VirtualClock, unmakeable: Resource, errors: Iterable[ClusterError], **spec: Any) -> tuple[int, int]:
    """How often something was written, and an event of it, while each create of a kind fails with the next of `errors`."""
    cluster, next_error, writes, events = new_cluster(clock), iter(errors), count(), count()

    def fail(method: str, resource: Resource, key: Key) -> None:
        if (method, resource) == ("create", unmakeable):
            raise next(next_error)

    def written(method: str, resource: Resource, key: Key) -> None:
        assert next(events if resource is EVENTS else writes) < 200, "it is written for ever"

    cluster.before_write, cluster.after_write = fail, written
    cluster.store.create(CONFIG_MAPS, "ml", {"metadata": {"name": "drift"}, "data": {"psi": "0.3"}})
    cluster.store.create(RUNS if unmakeable is JOBS else SCHEDULES, "ml", {"metadata": {"name": POOR.name}, "spec": spec})
    async with operating(cluster, clock):
        await clock.sleep(MINUTES * 60)
    return next(writes), next(events)


@pytest.mark.parametrize(
    ("unmakeable", "spec"),
    [pytest.param(JOBS, TRAINER, id="Job"), pytest.param(RUNS, SCHEDULED, id="RetrainJob")],
)
def test_errors_that_take_turns_are_no_news_each_time(unmakeable: Resource, spec: Mapping[str, Any]) -> None:
    errors = [Unavailable("failed calling webhook", status=500), Unavailable("no answer"), Forbidden("exceeded quota", status=403)]
    writes, events = run_virtual(lambda clock: told_while(clock, unmakeable, cycle(errors), **spec), NOW)
    assert writes <= 12
    assert events <= 12


def test_drift_that_asks_again_and_again_is_no_news_each_time() -> None:
    full = repeat(Forbidden("exceeded quota", status=403))
    writes, events = run_virtual(lambda clock: told_while(clock, RUNS, full, **DRIFTING), NOW)
    assert writes <= 6
    assert events <= 6


def test_a_further_attempt_that_cannot_be_made_is_told_of() -> None:
    async def story(clock: VirtualClock) -> list[str]:
        cluster = new_cluster(clock)

        def fail(method: str, resource: Resource, key: Key) -> None:
            if (method, key.name) == ("create", "poor-r1"):
                raise webhook_down()

        cluster.before_write = fail
        cluster.store.create(RUNS, "ml", {"metadata": {"name": POOR.name}, "spec": TRAINER})
        following = {"job": "poor-r1", "time": "2026-03-02T11:00:00Z", "made": False}
        cluster.store.patch_status(RUNS, POOR, {"phase": "Failed", "observedGeneration": 1, "nextAttempt": following})
        async with operating(cluster, clock):
            await clock.sleep(MINUTES * 60)
        return [event["note"] for event in (await cluster.list(EVENTS, "ml")).items]

    notes = run_virtual(story, NOW)
    assert len(notes) == 3
    assert all(note.endswith(REPAIR) for note in notes)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        pytest.param(Rejected("status.x: Invalid value", status=422), "status.x: Invalid value: the API server refuses", id="refused"),
        pytest.param(ZeroDivisionError(), "this is a bug in the operator", id="a bug"),
    ],
)
@pytest.mark.parametrize(
    ("resource", "times"),
    [pytest.param(SCHEDULES, 4, id="schedule: the run that is made for its tick begins anew"), pytest.param(RUNS, 3, id="run")],
)
def test_what_can_never_be_written_is_told_of(resource: Resource, times: int, error: Exception, told: str) -> None:
    async def story(clock: VirtualClock) -> list[str]:
        cluster = new_cluster(clock)

        def fail(method: str, written: Resource, key: Key) -> None:
            if (method, written) == ("patch_status", resource):
                raise error.with_traceback(None)  # or each adds to the last one's, and the log grows with their square

        cluster.before_write = fail
        spec = SCHEDULED if resource is SCHEDULES else TRAINER | {"suspend": True}
        cluster.store.create(resource, "ml", {"metadata": {"name": POOR.name}, "spec": spec})
        async with operating(cluster, clock):
            await clock.sleep(MINUTES * 60)
        events = (await cluster.list(EVENTS, "ml")).items
        return [event["note"] for event in events if event["reason"] == "ReconcileFailed"]

    notes = run_virtual(story, NOW)
    assert len(notes) == times
    assert all(note.startswith(told) for note in notes)


def test_a_proxy_that_asks_for_a_day_of_patience_is_not_given_it() -> None:
    async def story(clock: VirtualClock) -> int:
        cluster = new_cluster(clock)
        errors = [Unavailable("maintenance", status=503, retry_after_s=86_400)] * 2

        def fail(method: str, resource: Resource, key: Key) -> None:
            if (method, resource) == ("create", JOBS) and errors:
                raise errors.pop()

        cluster.before_write = fail
        cluster.store.create(RUNS, "ml", {"metadata": {"name": POOR.name}, "spec": TRAINER})
        async with operating(cluster, clock):
            await clock.sleep(300)
        return len((await cluster.list(JOBS, "ml")).items)

    assert run_virtual(story, NOW) == 1
