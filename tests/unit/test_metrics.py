"""What the operator counts."""

import pytest

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
