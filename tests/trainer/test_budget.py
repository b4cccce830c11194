"""When a search ends."""

import pytest

from retrain_trainer.budget import Budget, Spent


@pytest.mark.parametrize(
    ("budget", "spent", "ended_by"),
    [
        pytest.param(Budget(5), Spent(), None, id="nothing was tried yet"),
        pytest.param(Budget(5), Spent(trials=4), None, id="one trial is left"),
        pytest.param(Budget(5), Spent(trials=5), "trials", id="all were tried"),
        pytest.param(Budget(5), Spent(trials=9), "trials", id="an earlier attempt tried more"),
        pytest.param(Budget(5, timeout_s=60), Spent(1, search_s=59.9), None, id="within the timeout"),
        pytest.param(Budget(5, timeout_s=60), Spent(1, search_s=60), "timeout", id="past the timeout"),
        pytest.param(Budget(5, timeout_s=60), Spent(0, search_s=99), None, id="the first trial is run whatever the time"),
        pytest.param(Budget(5, deadline_s=600), Spent(1, run_s=400, longest_s=70), None, id="a trial, 1.5 fits and 10 s fit in"),
        pytest.param(Budget(5, deadline_s=600), Spent(1, run_s=420, longest_s=70), "deadline", id="they do not"),
        pytest.param(Budget(5, deadline_s=600), Spent(1, run_s=591), "deadline", id="the last 10 s are not for trials, however short"),
        pytest.param(Budget(5, deadline_s=20), Spent(1, run_s=17), None, id="of a short deadline a tenth is kept"),
        pytest.param(Budget(5, deadline_s=20), Spent(1, run_s=18.1), "deadline", id="and no more"),
        pytest.param(Budget(5, 60, 600), Spent(5, 60, 599), "trials", id="trials are named first"),
    ],
)
def test_a_search_is_ended_by(budget: Budget, spent: Spent, ended_by: str | None) -> None:
    assert budget.ended_by(spent) == ended_by


@pytest.mark.parametrize(
    ("budget", "spent", "done"),
    [
        pytest.param(Budget(5), Spent(), 0, id="nothing"),
        pytest.param(Budget(5), Spent(trials=2), 0.4, id="by trials"),
        pytest.param(Budget(5, timeout_s=60), Spent(1, search_s=30), 0.5, id="by time"),
        pytest.param(Budget(5, deadline_s=600), Spent(1, run_s=500, longest_s=60), 1, id="by the deadline, at most all of it"),
    ],
)
def test_the_share_that_is_done(budget: Budget, spent: Spent, done: float) -> None:
    assert budget.done(spent) == pytest.approx(done)
