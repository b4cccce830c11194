"""Sending notifications beside the workers: what does not fit in waits, and is sent all the same."""

from typing import Any

import pytest
from tests.builders import NOW

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import RUNS, SCHEDULES
from retrain_operator.cluster.webhooks import Webhooks
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.embedded.operator import operating
from retrain_operator.reconcile import notifier

NAMES = [f"run-{number}" for number in range(5)]
STATUS = {
    "phase": "Failed",
    "observedGeneration": 1,
    "completionTime": "2026-03-02T11:59:00Z",
    "notified": False,
    "conditions": [
        {"type": "Ready", "status": "False", "reason": "BadConfiguration", "message": "", "lastTransitionTime": "2026-03-02T11:59:00Z"}
    ],
}
HOOK = {"name": "team", "urlFrom": {"name": "nowhere", "key": "url"}}  # tried again for a day


def test_notifications_that_find_no_place_are_not_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notifier, "PENDING_MAX", 2)

    async def main(clock: VirtualClock) -> list[bool]:
        cluster = MemoryCluster(clock.now, admission=ADMISSION)
        for name in NAMES:
            cluster.store.create(RUNS, "ml", {"metadata": {"name": name}, "spec": {"trainer": {"image": "t"}, "notify": [HOOK]}})
            cluster.store.patch_status(RUNS, Key("ml", name), STATUS)
        async with operating(cluster, clock):
            await clock.sleep(25 * 3600)
        return [(cluster.store.get(RUNS, Key("ml", name)) or {})["status"]["notified"] for name in NAMES]

    assert run_virtual(main, NOW) == [True] * len(NAMES)


@pytest.mark.parametrize(
    "url",
    [
        pytest.param("http://xn--a/", id="a label that is no IDNA"),
        pytest.param("http://-é-\u20249/", id="a label that IDNA reads differently"),
        pytest.param("http://:[%]é@\ta@", id="nothing that makes sense"),
    ],
)
def test_a_url_that_nobody_can_read_is_given_up_and_ends_nothing_else(url: str) -> None:
    async def main(clock: VirtualClock) -> list[dict[str, Any]]:
        cluster = MemoryCluster(clock.now, admission=ADMISSION)
        hook = {"name": "team", "url": url}
        cluster.store.create(RUNS, "ml", {"metadata": {"name": "run"}, "spec": {"trainer": {"image": "t"}, "notify": [hook]}})
        cluster.store.patch_status(RUNS, Key("ml", "run"), STATUS)
        async with operating(cluster, clock):
            await clock.sleep(60)
        run = cluster.store.get(RUNS, Key("ml", "run")) or {}
        return list(run["status"].get("notifications", []))

    [told] = run_virtual(main, NOW)
    assert (told["state"], told["message"]) == ("GivenUp", "the URL is not one")


def test_a_bug_that_one_webhook_triggers_is_given_up_and_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Webhooks, url: str) -> str:
        raise ZeroDivisionError

    monkeypatch.setattr(Webhooks, "host", fail)

    async def main(clock: VirtualClock) -> list[dict[str, Any]]:
        cluster = MemoryCluster(clock.now, admission=ADMISSION)
        hook = {"name": "team", "url": "https://hooks.example.com/x"}
        cluster.store.create(RUNS, "ml", {"metadata": {"name": "run"}, "spec": {"trainer": {"image": "t"}, "notify": [hook]}})
        cluster.store.patch_status(RUNS, Key("ml", "run"), STATUS)
        async with operating(cluster, clock):
            await clock.sleep(25 * 3600)
        run = cluster.store.get(RUNS, Key("ml", "run")) or {}
        return list(run["status"].get("notifications", []))

    [told] = run_virtual(main, NOW)
    assert (told["state"], told["message"]) == ("GivenUp", "this is a bug in the operator: see its log")


def test_a_recovery_is_told_although_the_record_of_the_failure_is_gone() -> None:
    async def main(clock: VirtualClock) -> list[str]:
        cluster = MemoryCluster(clock.now, admission=ADMISSION)
        template = {"spec": {"trainer": {"image": "t"}}}
        cluster.store.create(SCHEDULES, "ml", {"metadata": {"name": "churn"}, "spec": {"schedule": "0 0 1 1 *", "jobTemplate": template}})
        cluster.store.patch_status(SCHEDULES, Key("ml", "churn"), {"lastFailureTime": "2026-03-02T11:00:00Z"})
        spec = {"schedule": "churn", "trainer": {"image": "t"}, "notify": [HOOK]}
        cluster.store.create(RUNS, "ml", {"metadata": {"name": "again"}, "spec": spec})
        well = {"type": "Ready", "status": "True", "reason": "Completed", "message": "", "lastTransitionTime": "2026-03-02T11:59:00Z"}
        cluster.store.patch_status(RUNS, Key("ml", "again"), STATUS | {"phase": "Completed", "conditions": [well]})
        async with operating(cluster, clock):
            await clock.sleep(25 * 3600)
        run = cluster.store.get(RUNS, Key("ml", "again")) or {}
        return [each["occasion"] for each in run["status"].get("notifications", [])]

    assert run_virtual(main, NOW) == ["Recovered"]
