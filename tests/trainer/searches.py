"""A task that is a hill: the nearer x is to 0.3, the better. Each fit takes the seconds that the test's clock says."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from retrain_trainer.retune import Retune
from retrain_trainer.search import Found, Search, study_name
from retrain_trainer.task import Evaluation, Params
from retrain_trainer.trialstore import open_store


class Killed(BaseException):
    """What ends a trial without a word, as a killed process does."""


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


class Hill:
    """A search over one number. `on_fit` is called with each trial's x before it is fitted."""

    def __init__(self, given: Params | None = None, on_fit: Callable[[float], None] = lambda x: None, high: float = 1.0) -> None:
        self.given = given or {}
        self.on_fit = on_fit
        self.high = high
        self.fitted: list[float] = []

    def defaults(self) -> Params:
        return dict(self.given)

    def suggest(self, trial: Any) -> Params:
        return {**self.given, "x": trial.suggest_float("x", -1.0, self.high)}

    def fit(self, params: Mapping[str, Any]) -> float:
        self.fitted.append(params["x"])
        self.on_fit(params["x"])
        return float(params["x"])

    def evaluate(self, model: float) -> Evaluation:
        error = (model - 0.3) ** 2
        return Evaluation({"accuracy": 1 - error, "rmse": error, "own": error, "nothing": float("nan")}, {}, {}, "hill", "hill", 100)


class GrowingHill(Hill):
    """The same, climbed in three stages."""

    def stages(self, params: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
        for share in (0.25, 0.5, 1.0):
            yield share, self.fit({"x": params["x"] * share})


def search(
    task: Hill,
    folder: Path | None = None,
    clock: Clock | None = None,
    deadline_s: float | None = None,
    seed: int = 0,
    told: Callable[[float, Mapping[str, float]], None] = lambda done, best: None,
    **asked: Any,
) -> Found:
    """A search as run.py makes it; `folder` keeps its trials."""
    retune = Retune.model_validate({"trials": 12, **asked})
    name = study_name("root", "data", "config", task)
    with open_store(str(folder) if folder else None, name) as store:
        return Search(task, retune, seed, clock or Clock(), deadline_s, told).run(store, name)


def tried(found: Found) -> list[tuple[Any, Any, Any]]:
    """Parameters, value and state of every trial that was not interrupted."""
    return [(each["params"], each["value"], each["state"]) for each in found.trials if each["state"] != "interrupted"]
