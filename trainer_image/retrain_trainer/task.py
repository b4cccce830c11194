"""A task: what can be learned from a data set, how it is scored, and how the model is written. run.py tells the story.

    open_task(config, data_set)      loads and splits the data; raises Failure where it cannot be trained on
    task.fit(task.defaults())        a model of the training part
    task.evaluate(model)             its metrics on the holdout, with what paired differences need
    task.validation()                the same task inside the training part: what a search scores on

Importing this module imports nothing heavy; opening a task does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from retrain_trainer.config import Config, TabularConfig
from retrain_trainer.dataversion import DataSet

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

Params = dict[str, Any]
Model = Any  # each task has its own kind
Report = Callable[[float], None]  # how much of the fit is done, 0 to 1


@dataclass(frozen=True)
class Evaluation:
    """Metrics on a holdout of `n` units (rows, users), the most important first; one that is not defined there is NaN.

    `scores` holds one value per unit for each metric that is their mean, `resampled` the values on seeded resamples of the
    units for each metric that is not. Both come in the same order for every model scored on the same holdout: differences
    are paired, see paired.py. `stderr` has the standard error of each metric that has one. `baseline`: metrics of the
    simplest model that is worth beating, and its `algorithm`, where the task has one.
    """

    metrics: dict[str, float]
    stderr: dict[str, float]
    scores: dict[str, Values]
    protocol: str
    holdout: str
    n: int
    resampled: dict[str, Values] = field(default_factory=dict)
    baseline: dict[str, Any] = field(default_factory=dict)
    shared: frozenset[str] = frozenset()  # metrics of the holdout and not of the model: the baseline's


class Task(Protocol):
    """One data set, split into a training part and a holdout. Every method may raise Failure."""

    @property
    def rows(self) -> int:
        """Rows of the data, holdout included."""

    @property
    def algorithm(self) -> str:
        """What is trained, as the result names it: the configuration's, or what was chosen where it names none."""

    def defaults(self) -> Params:
        """Parameters as the configuration gives them."""

    def suggest(self, trial: Any) -> Params:
        """Parameters from an Optuna trial: the search space of this algorithm, around what the configuration fixes."""

    def fit(self, params: Mapping[str, Any], *, report: Report = lambda done: None) -> Model:
        """The model of the training part. Raises Failure: exit 2 for parameters, 4 when the data cannot be learned from."""

    def evaluate(self, model: Model) -> Evaluation:
        """Scores on the holdout, which no fit has seen."""

    def validation(self) -> Task:
        """The same task, split once more inside its training part: a search scores on that, and the holdout stays unseen."""

    def serialise(self, model: Model) -> tuple[bytes, dict[str, Any]]:
        """The artifact's content, and the manifest's `artifact` fields: `format`, and what a reader must know. Raises Failure (exit 5)."""

    def describe(self, model: Model) -> dict[str, Any]:
        """The manifest's sections on what the model was made of, e.g. `table`."""

    def admit(self, manifest: Mapping[str, Any]) -> None:
        """Raises Incomparable when the model that another run's manifest tells of cannot be scored on this holdout."""

    def is_later_than(self, manifest: Mapping[str, Any]) -> bool:
        """Whether all of this holdout is later than anything that the manifest's model was trained on."""

    def rival(self, config: Any) -> Task:
        """The same split, to fit what another configuration of this task names. Raises Incomparable."""

    def restore(self, content: bytes, manifest: Mapping[str, Any]) -> Model:
        """The model of a manifest that was admitted, for evaluate(). Executes nothing that the content says. Raises Incomparable."""


@runtime_checkable
class Staged(Protocol):
    """A task that can tell early which parameters lead nowhere."""

    def stages(self, params: Mapping[str, Any]) -> Iterator[tuple[float, Model]]:
        """The model of fit(params) as it grows, with the share of it that is fitted; the last is 1, the whole. Raises as fit() does."""


class Incomparable(Exception):
    """A model that cannot be scored on this holdout; the message says why."""


def open_task(config: Config, data_set: DataSet) -> Task:
    """Loads the data and splits it. The first to import pandas and scikit-learn. Raises Failure (exit 2, 3 or 4)."""
    from retrain_trainer import data, window

    frame = window.keep_window(data.load(data_set), config.window_column, data_set.window)
    if isinstance(config, TabularConfig):
        from retrain_trainer import tabular

        return tabular.TabularTask.open(config, frame, tabular.target_of(config, data_set.format), data_set.version)
    from retrain_trainer import recommender

    return recommender.RecommenderTask.open(config, frame, data_set.version)
