"""What the operator counts."""

import pytest
from tests.builders import NOW

from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.protocol import RUNS, AlreadyExists
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.operator import new_cluster, operating
from retrain_operator.embedded.runners import Outcome, ScriptedPods
from retrain_operator.reconcile.metrics import bounded_reason

REASONS = [
    pytest.param("Completed", None, "Completed", id="a phase"),
    pytest.param("PodLost", None, "PodLost", id="the operator's own"),
    pytest.param("DataUnreadable", 3, "DataUnreadable", id="that of an exit code"),
    pytest.param("TooLittleData", 4, "TrainingRefused", id="a trainer's own: what its exit code means"),
    pytest.param("row-4711-is-broken", 42, "Other", id="a trainer's own, with an exit code that means nothing"),
    pytest.param("row-4711-is-broken", None, "Other", id="a trainer's own, without an exit code"),
]


@pytest.mark.parametrize(("reason", "exit_code", "label"), REASONS)
def test_labels_are_bounded_whatever_a_trainer_says(reason: str, exit_code: int | None, label: str) -> None:
    assert bounded_reason(reason, exit_code) == label


def test_notifications_are_counted_once_they_are_on_record() -> None:
    async def story(clock: VirtualClock) -> float | None:
        cluster = new_cluster(clock)
        hook = {"name": "team", "url": "http://nobody.allows.this.example.com/x"}
        spec = {"trainer": {"image": "t"}, "retry": {"limit": 0}, "notify": [hook]}
        assert not isinstance(cluster.store.create(RUNS, "ml", {"metadata": {"name": "poor"}, "spec": spec}), AlreadyExists)
        pods = ScriptedPods(lambda _: Outcome(5, exit_code=1), clock)
        async with JobController(cluster, pods, clock), operating(cluster, clock) as controller:
            await clock.sleep(600)
            return controller.metrics.registry.get_sample_value("retrain_notifications_total", {"state": "GivenUp"})

    assert run_virtual(story, NOW) == 1
