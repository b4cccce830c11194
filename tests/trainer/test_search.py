"""The search itself, in process, over a task that is a hill: what is tried first, what wins, when it ends, and how it goes on."""

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from retrain_trainer.contract import Exit, Failure, Reason
from retrain_trainer.search import study_name
from tests.trainer.searches import Clock, GrowingHill, Hill, Killed, search, tried


def test_it_finds_the_top() -> None:
    found = search(Hill(), trials=40)
    assert found.params["x"] == pytest.approx(0.3, abs=0.05)
    assert (found.metric, found.direction, found.ended_by, len(found.trials)) == ("accuracy", "Maximize", "trials", 40)
    assert found.value == max(each["value"] for each in found.trials)


@pytest.mark.parametrize(
    ("asked", "direction"),
    [
        pytest.param({"metric": "accuracy"}, "Maximize", id="known: more is better"),
        pytest.param({"metric": "rmse"}, "Minimize", id="known: less is better"),
        pytest.param({"metric": "own", "direction": "Minimize"}, "Minimize", id="unknown, with a direction"),
        pytest.param({"metric": "rmse", "direction": "Maximize"}, "Maximize", id="known, the other way round"),
    ],
)
def test_the_metric_and_its_direction(asked: dict[str, Any], direction: str) -> None:
    found = search(Hill(), **asked)
    values = [each["value"] for each in found.trials]
    assert found.direction == direction
    assert found.value == (min if direction == "Minimize" else max)(values)


def test_what_is_configured_is_the_first_trial_and_can_win() -> None:
    task = Hill(given={"x": 0.3, "other": "kept"})
    found = search(task)
    assert found.trials[0]["params"] == {"x": 0.3, "other": "kept"}
    assert (found.best, found.params) == (0, {"x": 0.3, "other": "kept"})
    assert all(each["params"]["other"] == "kept" for each in found.trials)


def test_without_a_configuration_every_trial_is_suggested() -> None:
    task = Hill()
    search(task, trials=3)
    assert len(set(task.fitted)) == 3


def test_equal_seeds_try_the_same_and_others_do_not() -> None:
    assert tried(search(Hill())) == tried(search(Hill()))
    assert tried(search(Hill())) != tried(search(Hill(), seed=1))


def refuse(reason: Reason) -> Any:
    def on_fit(x: float) -> None:
        if x < 0:
            raise Failure(reason, f"no {x}")

    return on_fit


@pytest.mark.parametrize("reason", [Reason.INVALID_PARAMS, Reason.TRAINING_REFUSED])
def test_a_trial_that_is_refused_is_recorded_and_the_search_goes_on(reason: Reason) -> None:
    found = search(Hill(on_fit=refuse(reason)))
    failed = [each for each in found.trials if each["state"] == "failed"]
    assert failed
    assert all(each["reason"] == f"no {each['params']['x']}" and each["value"] is None for each in failed)
    assert len(found.trials) == 12
    assert found.params["x"] >= 0


@pytest.mark.parametrize(
    ("task", "asked", "code", "message"),
    [
        pytest.param(Hill(on_fit=refuse(Reason.TRAINING_REFUSED), high=-0.5), {}, 4, "every trial failed", id="every trial is refused"),
        pytest.param(Hill(), {"metric": "nothing", "direction": "Maximize"}, 4, "nothing is not defined", id="metric: not defined"),
        pytest.param(Hill(), {"metric": "roc_auc"}, 2, "accuracy, rmse, own", id="metric: another task's, its own are named"),
        pytest.param(Hill(), {"metric": "own"}, 2, "spec.retune.direction", id="metric: which way is better"),
        pytest.param(Hill({"x": -1.0}, refuse(Reason.INVALID_PARAMS)), {}, 2, "no -1.0", id="params: the configured ones are wrong"),
        pytest.param(Hill(on_fit=refuse(Reason.OUT_OF_MEMORY)), {}, 137, "no -", id="what is no trial's fault ends it"),
    ],
)
def test_a_search_that_fails(task: Hill, asked: dict[str, Any], code: int, message: str) -> None:
    with pytest.raises(Failure, match=message) as failure:
        search(task, **asked)
    assert failure.value.code == code


@pytest.mark.parametrize(
    ("asked", "deadline_s", "trials", "ended_by"),
    [
        pytest.param({"trials": 3}, None, 3, "trials", id="trials"),
        pytest.param({"timeoutSeconds": 45}, None, 5, "timeout", id="time: the trial under way is finished"),
        pytest.param({"timeoutSeconds": 1}, None, 1, "timeout", id="time: one trial at least"),
        pytest.param({}, 100, 7, "deadline", id="deadline: room for the final fit is left"),
    ],
)
def test_the_budget_ends_it(asked: dict[str, Any], deadline_s: float | None, trials: int, ended_by: str) -> None:
    clock = Clock()

    def take_ten_seconds(x: float) -> None:
        clock.now_s += 10

    found = search(Hill(on_fit=take_ten_seconds), clock=clock, deadline_s=deadline_s, **asked)
    assert (len(found.trials), found.ended_by) == (trials, ended_by)
    assert {each["seconds"] for each in found.trials} == {10}


def test_what_is_far_behind_is_given_up_early() -> None:
    task = GrowingHill()
    found = search(task, trials=30)
    states = [each["state"] for each in found.trials]
    assert states[:5] == ["complete"] * 5
    assert 0 < states.count("pruned") < 15
    assert len(task.fitted) < 3 * 30
    assert found.trials[found.best]["state"] == "complete"


def test_it_tells_how_far_it_is() -> None:
    told: list[tuple[float, Mapping[str, float]]] = []
    found = search(Hill(), trials=4, told=lambda done, best: told.append((done, best)))
    assert [done for done, _ in told] == [0.25, 0.5, 0.75, 1]
    assert told[-1][1] == {"accuracy": found.value}
    assert [best["accuracy"] for _, best in told] == sorted(best["accuracy"] for _, best in told)


class Killer:
    """Ends the process in the middle of some fits, counted from 1 over all attempts."""

    def __init__(self, *fits: int) -> None:
        self.fits = fits
        self.counter = itertools.count(1)

    def __call__(self, x: float) -> None:
        if next(self.counter) in self.fits:
            raise Killed


def search_until_done(folder: Path, task: Hill, **asked: Any) -> tuple[Any, int]:
    """What the last attempt found, and how many attempts that took."""
    for attempt in itertools.count(1):
        try:
            return search(task, folder, **asked), attempt
        except Killed:
            continue
    raise AssertionError


@pytest.mark.parametrize(
    ("fits", "attempts"),
    [
        pytest.param((), 1, id="never"),
        pytest.param((1,), 2, id="in the first trial"),
        pytest.param((5,), 2, id="in the middle"),
        pytest.param((12,), 2, id="in the last trial"),
        pytest.param((3, 8, 11), 4, id="in several"),
    ],
)
@pytest.mark.parametrize("given", [{}, {"x": 0.9}], ids=["nothing configured", "configured"])
def test_killed_and_resumed_it_is_the_same_search(tmp_path: Path, fits: tuple[int, ...], attempts: int, given: dict[str, Any]) -> None:
    undisturbed = search(Hill(given))
    found, needed = search_until_done(tmp_path, Hill(given, Killer(*fits)))
    assert needed == attempts
    assert tried(found) == tried(undisturbed)
    assert (found.params, found.value) == (undisturbed.params, undisturbed.value)
    assert [each["state"] for each in found.trials].count("interrupted") == len(fits)


def test_a_trial_that_kills_is_tried_twice_and_then_left(tmp_path: Path) -> None:
    worst = search(Hill()).trials[4]["params"]["x"]

    def on_fit(x: float) -> None:
        if x == worst:
            raise Killed

    found, attempts = search_until_done(tmp_path, Hill(on_fit=on_fit))
    assert attempts == 3
    assert [each["state"] for each in found.trials] == ["complete"] * 4 + ["interrupted"] * 2 + ["complete"] * 7


def test_a_finished_search_is_not_run_again(tmp_path: Path) -> None:
    first = search(Hill(), tmp_path)
    again = Hill()
    assert search(again, tmp_path) == first
    assert again.fitted == []


def test_time_counts_over_all_attempts(tmp_path: Path) -> None:
    clock = Clock()
    kill = Killer(4)

    def on_fit(x: float) -> None:
        clock.now_s += 10
        kill(x)

    with pytest.raises(Killed):
        search(Hill(on_fit=on_fit), tmp_path, clock, timeoutSeconds=60)
    clock.now_s = 0
    found = search(Hill(on_fit=on_fit), tmp_path, clock, timeoutSeconds=60)
    assert len(tried(found)) == 6
    assert found.ended_by == "timeout"


def test_searches_never_mix() -> None:
    names = [
        study_name("root", "data", "config", Hill()),
        study_name("other", "data", "config", Hill()),
        study_name("root", "newer", "config", Hill()),
        study_name("root", "data", "edited", Hill()),
        study_name("root", "data", "config", Hill(high=2.0)),
    ]
    assert len(set(names)) == len(names)


def test_a_journal_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    def search_beside(x: float) -> None:
        search(Hill(), tmp_path)

    with pytest.raises(Failure, match="still searches") as failure:
        search(Hill(on_fit=search_beside), tmp_path)
    assert failure.value.code == Exit.LOCK


def spoil(path: Path, how: str) -> None:
    content = path.read_bytes()
    lines = content.splitlines(keepends=True)
    path.write_bytes({"torn": content + b'{"op_code": 4, "wor', "broken": lines[0] + b"{}\n" + b"".join(lines[1:])}[how])


def test_half_a_line_at_the_end_is_cut_off(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        search(Hill(on_fit=Killer(5)), tmp_path)
    [journal] = tmp_path.iterdir()
    spoil(journal, "torn")
    found = search(Hill(), tmp_path)
    assert tried(found) == tried(search(Hill()))


def test_a_journal_that_is_none_is_told(tmp_path: Path) -> None:
    search(Hill(), tmp_path)
    [journal] = tmp_path.iterdir()
    spoil(journal, "broken")
    with pytest.raises(Failure, match="delete the file") as failure:
        search(Hill(), tmp_path)
    assert (failure.value.code, failure.value.reason) == (Exit.SETUP, Reason.TRIALS_UNUSABLE)
