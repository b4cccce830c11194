"""The search for parameters: an Optuna study over a task's validation split. Imports Optuna, so it is imported only for a search.

Trials run one after another. Each gets a sampler of its own, seeded by the search's seed and the trial's place, so that
a search depends on nothing but its trials so far: the same parameters come out again, and also when it was interrupted
and another attempt went on. What the configuration gives is the first trial, so no search ends worse than that.

A trial whose process was killed is tried again once; the second time it counts as failed, because it may be the killer.
"""

import dataclasses
import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import optuna
from optuna.distributions import distribution_to_json
from optuna.study import Study
from optuna.trial import FrozenTrial, Trial, TrialState

from retrain_trainer.budget import Budget, Spent
from retrain_trainer.contract import Failure, Reason
from retrain_trainer.result import in_words
from retrain_trainer.retune import Retune
from retrain_trainer.task import Evaluation, Model, Params, Staged
from retrain_trainer.trialstore import TrialStore

RANDOM_TRIALS = 10  # before the sampler has seen enough to learn from
UNPRUNED_TRIALS = 5  # before the others say anything
KEPT_PERCENT = 75  # at each stage: slow learners catch up, so only those that are far behind are given up
LOG_EVERY = 10
REFUSALS = frozenset({Reason.INVALID_PARAMS, Reason.TRAINING_REFUSED})  # of single parameters; other failures end the search
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)

Told = Callable[[float, Mapping[str, float]], None]  # share of the search that is done, the best value so far

log = logging.getLogger(__name__)
optuna.logging.set_verbosity(optuna.logging.WARNING)  # it tells of every trial, LOG_EVERY is enough


class Objective(Protocol):
    """What of a task a search needs; see task.py. Where it is also Staged, trials may be given up early."""

    def defaults(self) -> Params: ...
    def suggest(self, trial: Any) -> Params: ...
    def fit(self, params: Mapping[str, Any]) -> Model: ...
    def evaluate(self, model: Model) -> Evaluation: ...


@dataclass(frozen=True)
class Found:
    """How a search ended. `trials` has a row for each trial of every attempt."""

    params: Params
    metric: str
    direction: str
    value: float
    best: int
    ended_by: str
    trials: Sequence[Mapping[str, Any]]

    def to_json(self) -> dict[str, Any]:
        """The manifest's section `search`."""
        return {"endedBy" if name == "ended_by" else name: value for name, value in dataclasses.asdict(self).items()}


def study_name(root_run_id: str, data_version: str, config_hash: str, task: Objective) -> str:
    """Of the search of all attempts of a run; another one for other data, configuration or space, whose trials never mix."""
    content = json.dumps([data_version, config_hash, space(task)])
    return f"{root_run_id}-{hashlib.sha256(content.encode()).hexdigest()[:16]}"


class Search:
    """One search over `task`, the validation split. `clock_s` tells the seconds since the trainer started; `told` hears of every trial."""

    def __init__(
        self, task: Objective, retune: Retune, seed: int, clock_s: Callable[[], float], deadline_s: float | None, told: Told
    ) -> None:
        self._task = task
        self._retune = retune
        self._seed = seed
        self._clock_s = clock_s
        self._told = told
        trials = retune.trials if space(task) else 1  # all others would be the same
        self._budget = Budget(trials, retune.timeout_s, deadline_s)

    def run(self, store: TrialStore, name: str) -> Found:
        """The best parameters. Raises Failure: exit 2 for a metric or parameters that cannot be, 4 when every trial failed."""
        study = optuna.create_study(
            storage=store.storage,
            study_name=name,
            direction="maximize",  # of the score, which is the metric's negative where less is better
            pruner=optuna.pruners.PercentilePruner(KEPT_PERCENT, n_startup_trials=UNPRUNED_TRIALS),
            load_if_exists=True,
        )
        for left in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            log.info("trial %d was interrupted", left.number)
            study.tell(left.number, state=TrialState.FAIL)
        while (ended_by := self._budget.ended_by(spent := self._spent(study))) is None:
            self._try_one(study, spent.trials)
            self._tell(study)
        return self._found(study, ended_by)

    def _try_one(self, study: Study, place: int) -> None:
        study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=RANDOM_TRIALS, multivariate=False, seed=int(np.random.SeedSequence([self._seed, place]).generate_state(1)[0])
        )
        trial = study.ask()
        began_s = self._clock_s()
        is_given = place == 0 and bool(self._task.defaults())
        params = self._task.defaults() if is_given else self._task.suggest(trial)
        trial.set_user_attr("params", params)
        state, score = TrialState.COMPLETE, None
        try:
            for share, metrics in self._scores(params):
                metric, score = self._score(metrics)
                if score is None:
                    state = TrialState.FAIL
                    trial.set_user_attr("reason", f"{metric} is not defined on the validation rows")
                    break
                trial.set_user_attr("value", metrics[metric])
                trial.set_user_attr("metric", metric)
                if share < 1:
                    trial.report(score, round(share * 100))
                    if trial.should_prune():
                        state = TrialState.PRUNED
                        break
        except Failure as failure:
            if failure.reason not in REFUSALS or (is_given and failure.reason is Reason.INVALID_PARAMS):
                raise
            state = TrialState.FAIL
            trial.set_user_attr("reason", failure.message)
        trial.set_user_attr("seconds", round(self._clock_s() - began_s, 3))
        study.tell(trial, score if state is TrialState.COMPLETE else None, state=state)

    def _scores(self, params: Params) -> Iterator[tuple[float, Mapping[str, float]]]:
        """Share of the model that is fitted and its metrics, where the task can tell; the whole model at last."""
        if isinstance(self._task, Staged):
            for share, model in self._task.stages(params):
                yield share, self._task.evaluate(model).metrics
        else:
            yield 1.0, self._task.evaluate(self._task.fit(params)).metrics

    def _score(self, metrics: Mapping[str, float]) -> tuple[str, float | None]:
        """The metric's name and its score, more is better. Raises Failure (exit 2) for a metric that the task does not have."""
        metric = self._retune.metric or next(iter(metrics))
        if metric not in metrics:
            raise Failure(Reason.BAD_CONFIGURATION, f"spec.retune.metric is {metric!r}: it is one of {', '.join(metrics)}")
        value = metrics[metric]
        sign = -1 if self._retune.is_minimised(metric) else 1
        return metric, sign * value if math.isfinite(value) else None

    def _spent(self, study: Study) -> Spent:
        trials = study.get_trials(deepcopy=False)
        seconds = [each.user_attrs.get("seconds", 0.0) for each in trials]
        return Spent(_count(trials), sum(seconds), self._clock_s(), max(seconds, default=0.0))

    def _tell(self, study: Study) -> None:
        spent = self._spent(study)
        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        best = _best(complete) if complete else None
        known = {best.user_attrs["metric"]: best.user_attrs["value"]} if best else {}
        self._told(self._budget.done(spent), known)
        if spent.trials % LOG_EVERY == 0:
            log.info(
                "%d of %d trials, the best so far is number %s: %s",
                spent.trials,
                self._budget.trials,
                best and best.number,
                in_words(known),
            )

    def _found(self, study: Study, ended_by: str) -> Found:
        trials = study.get_trials(deepcopy=False)
        complete = [each for each in trials if each.state is TrialState.COMPLETE]
        if not complete:
            reason = next((each.user_attrs["reason"] for each in trials if "reason" in each.user_attrs), "it was interrupted twice")
            raise Failure(Reason.TRAINING_REFUSED, f"every trial failed ({len(trials)} of them), the first because: {reason}")
        best = _best(complete)
        metric = best.user_attrs["metric"]
        direction = "Minimize" if self._retune.is_minimised(metric) else "Maximize"
        value = best.user_attrs["value"]
        log.info(
            "the search ended by %s after %d trials, best is number %d: %s", ended_by, len(trials), best.number, in_words({metric: value})
        )
        return Found(best.user_attrs["params"], metric, direction, value, best.number, ended_by, [_row(each) for each in trials])


def space(task: Objective) -> dict[str, str]:
    """Name and range of what is searched. Raises what suggest() raises, before anything is fitted."""
    trial: Trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    task.suggest(trial)
    return {name: distribution_to_json(each) for name, each in sorted(trial.distributions.items())}


def _count(trials: Sequence[FrozenTrial]) -> int:
    """How many trials count: an interrupted one does not, unless the one before it was interrupted too."""
    count, was_interrupted = 0, False
    for each in trials:
        was_interrupted = _is_interrupted(each) and not was_interrupted
        count += not was_interrupted
    return count


def _is_interrupted(trial: FrozenTrial) -> bool:
    return trial.state is TrialState.FAIL and "reason" not in trial.user_attrs


def _best(complete: Sequence[FrozenTrial]) -> FrozenTrial:
    """The first of the best."""
    return max(complete, key=lambda each: (each.value if each.value is not None else -math.inf, -each.number))


def _row(trial: FrozenTrial) -> Mapping[str, Any]:
    """The trial for people: `state` is complete, pruned, failed or interrupted; `value` of a pruned one is where it stood."""
    known = trial.user_attrs
    state = "interrupted" if _is_interrupted(trial) else "failed" if trial.state is TrialState.FAIL else trial.state.name.lower()
    row = {"number": trial.number, "params": known.get("params"), "value": None, "state": state, "seconds": known.get("seconds")}
    if trial.state in FINISHED:
        row["value"] = known["value"]
    return row | ({"reason": known["reason"]} if "reason" in known else {})
