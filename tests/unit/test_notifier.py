"""Sending notifications beside the workers: what does not fit in waits, and is sent all the same."""

import pytest
from tests.builders import NOW

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import RUNS, SCHEDULES
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
