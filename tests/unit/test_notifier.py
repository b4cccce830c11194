"""Sending notifications beside the workers: what does not fit in waits, and is sent all the same."""

import pytest
from tests.builders import NOW

from retrain_operator.api.names import Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import RUNS
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
