"""Task `recommender`: interactions become histories, are split, and a recommender is fitted and scored by its lists.

Scored are the users who have a history in the training part and something new in the holdout. Relevant is every item of
theirs in the holdout that is not in their history, also one that no model can know: for all models the same. Offered is
what is not in their history.
"""

import copy
import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
from scipy import sparse  # type: ignore[import-untyped]

from retrain_trainer import interactions, paired, ranking, recommendermodel, recommenders
from retrain_trainer.config import RecommenderConfig
from retrain_trainer.contract import Failure, Reason
from retrain_trainer.interactions import Catalogue, Rows
from retrain_trainer.recommendermodel import RecommenderModel
from retrain_trainer.task import Evaluation, Incomparable, Params, Report

BASELINE = "toppop"
BATCH_SCORES = 4_000_000  # scores at a time: 16 MB, and about five times that in copies
SAMPLE_USERS = 100  # who get the same scores from the model as it was written


class RecommenderTask:
    """Task over interactions; see task.py. Units of an evaluation are users."""

    def __init__(self, config: RecommenderConfig, catalogue: Catalogue, rows: Rows, data_version: str, total: int) -> None:
        """Splits `rows` into training part and holdout. Raises Failure (exit 2 or 4)."""
        self._config = config
        self._catalogue = catalogue
        self._data_version = data_version
        self._total = total
        holdout = config.holdout
        if holdout.protocol == "time":
            train, self._held = interactions.split_by_time(rows, holdout.fraction)
        else:
            train, self._held = interactions.split_by_user(rows, holdout.fraction, holdout.seed)
        self._train = interactions.keep_frequent(train, config.min_item_interactions, config.min_user_interactions)
        self._users, user_codes = np.unique(self._train.users, return_inverse=True)  # those with a history, as codes of the catalogue
        self._items, item_codes = np.unique(self._train.items, return_inverse=True)
        if len(self._users) < interactions.MIN_USERS or len(self._items) < interactions.MIN_ITEMS:
            raise Failure(
                Reason.TOO_LITTLE_DATA,
                f"{len(self._train)} of {len(rows)} interactions are left to train on, of {len(self._users)} users and {len(self._items)} "
                "items: lower holdout.fraction, minUserInteractions or minItemInteractions",
            )
        codes = Rows(user_codes, item_codes, self._train.weights, None)
        self._history = interactions.matrix(codes, (len(self._users), len(self._items)))
        self._scored, self._relevant, self._relevant_count = self._relevance()
        recommenders.parse(config.algorithm, config.params)

    @classmethod
    def open(cls, config: RecommenderConfig, frame: pd.DataFrame, data_version: str) -> "RecommenderTask":
        catalogue, rows = interactions.read(frame, config)
        return cls(config, catalogue, rows, data_version, len(frame))

    @property
    def rows(self) -> int:
        return self._total

    @property
    def algorithm(self) -> str:
        return self._config.algorithm

    def defaults(self) -> Params:
        """With the values of what the configuration leaves open."""
        return recommenders.parse(self._config.algorithm, self._config.params).model_dump()

    def suggest(self, trial: Any) -> Params:
        return {**self.defaults(), **recommenders.suggest(self._config.algorithm, trial)}

    def fit(self, params: Mapping[str, Any], *, report: Report = lambda done: None) -> RecommenderModel:
        return self._fit(self._config.algorithm, params, report)

    def evaluate(self, model: RecommenderModel) -> Evaluation:
        """`ndcg@k`, `recall@k`, `map@k`, and the baseline's ndcg as `baseline_ndcg@k`; see ranking.py."""
        k, baseline = self._config.cutoff, self._baseline
        found = self._score(model)
        key = f"ndcg@{k}"
        return dataclasses.replace(
            found,
            metrics={**found.metrics, f"baseline_{key}": baseline.metrics[key]},
            baseline={
                "algorithm": BASELINE,
                "metrics": baseline.metrics,
                "stderr": baseline.stderr,
                "diffStderr": paired.difference_stderr(found, baseline),
                "isBeaten": found.metrics[key] > baseline.metrics[key],
            },
            shared=frozenset({f"baseline_{key}"}),
        )

    def validation(self) -> "RecommenderTask":
        return RecommenderTask(self._config, self._catalogue, self._train, self._data_version, self._total)

    def rival(self, config: RecommenderConfig) -> "RecommenderTask":
        """The same split for another configuration's algorithm."""
        other = copy.copy(self)
        other._config = self._config.model_copy(update={"algorithm": config.algorithm, "params": config.params, "seed": config.seed})
        return other

    def serialise(self, model: RecommenderModel) -> tuple[bytes, dict[str, Any]]:
        content = recommendermodel.write(model)
        sample = np.arange(min(SAMPLE_USERS, len(model.users)))
        if not np.array_equal(recommendermodel.read(content).known_scores(sample), model.known_scores(sample)):
            raise Failure(Reason.ARTIFACT_INVALID, "the model scores otherwise after it was written and loaded")
        return content, {"format": recommendermodel.FORMAT, "schema": recommendermodel.SCHEMA, "trustedTypes": []}

    def describe(self, model: RecommenderModel) -> dict[str, Any]:
        return {
            "interactions": {
                "columns": self._columns,
                "users": len(self._users),
                "items": len(self._items),
                "training": len(self._train),
                "holdout": len(self._held),
                "trainedTo": interactions.last_time(self._train),
                "holdoutFrom": interactions.first_time(self._held),
            }
        }

    def admit(self, manifest: Mapping[str, Any]) -> None:
        theirs = manifest.get("interactions")
        if not isinstance(theirs, dict):
            raise Incomparable("it is of another task than recommender")
        if theirs.get("columns") != self._columns:
            raise Incomparable(f"it was trained on other columns: {theirs.get('columns')}")

    def restore(self, content: bytes, manifest: Mapping[str, Any]) -> RecommenderModel:
        """Knows other users and items as a rule; it is scored on the items that it knows, for the histories of this training part."""
        try:
            return recommendermodel.read(content)
        except MemoryError:
            raise
        except Exception as error:
            raise Incomparable(f"it cannot be loaded: {type(error).__name__}: {error}") from error

    def is_later_than(self, manifest: Mapping[str, Any]) -> bool:
        """Whether all of the holdout is later than what the manifest's model was trained on."""
        begins, theirs = interactions.first_time(self._held), manifest.get("interactions")
        ended = theirs.get("trainedTo") if isinstance(theirs, dict) else None
        if self._config.holdout.protocol != "time" or isinstance(ended, bool):
            return False
        if isinstance(begins, str) and isinstance(ended, str):
            return ended < begins
        return isinstance(begins, float) and isinstance(ended, (int, float)) and ended < begins

    @property
    def _columns(self) -> dict[str, str | None]:
        config = self._config
        return {"user": config.user_column, "item": config.item_column, "time": config.time_column, "weight": config.weight_column}

    def _fit(self, algorithm: str, params: Mapping[str, Any], report: Report) -> RecommenderModel:
        arrays = recommenders.fit(recommenders.parse(algorithm, params), self._history, self._config.seed, report)
        users, items = self._catalogue.users[self._users], self._catalogue.items[self._items]
        model = RecommenderModel(algorithm, users, items, self._history, arrays)
        if algorithm == "ials":
            arrays["user_factors"] = model.fold_in(self._history)
        return model

    @functools.cached_property
    def _baseline(self) -> Evaluation:
        return self._score(self._fit(BASELINE, {}, lambda done: None))

    def _relevance(self) -> tuple[Any, Any, Any]:
        """Rows of the history that are scored; sorted keys (place among the scored, item) of what is relevant; and how many each has."""
        size = len(self._catalogue.items)
        held = np.unique(self._held.users.astype(np.int64) * size + self._held.items)
        held = np.setdiff1d(held, np.unique(self._train.users.astype(np.int64) * size + self._train.items), assume_unique=True)
        users, items = held // size, held % size
        is_known = np.isin(users, self._users)
        scored, place = np.unique(users[is_known], return_inverse=True)
        if not len(scored):
            raise Failure(
                Reason.TOO_LITTLE_DATA,
                "no user has both a history and something new in the holdout: change holdout.fraction or holdout.protocol",
            )
        return np.searchsorted(self._users, scored), place * size + items[is_known], np.bincount(place)

    def _score(self, model: RecommenderModel) -> Evaluation:
        k, size = self._config.cutoff, len(self._catalogue.items)
        is_own = model.history is self._history
        history = self._history if is_own else self._translated(model)
        code_of = _places(model.items, self._catalogue.items)  # -1: not in this data, so never relevant
        batch = max(1, BATCH_SCORES // len(model.items))
        parts = []
        for begin in range(0, len(self._scored), batch):
            rows = self._scored[begin : begin + batch]
            own = history[rows]
            scores = model.known_scores(rows) if is_own else model.scores(own)
            scores[np.repeat(np.arange(len(rows)), np.diff(own.indptr)), own.indices] = -np.inf
            chosen = ranking.top(scores, k)
            codes = np.where(chosen >= 0, code_of[chosen], -1)
            keys = np.where(codes >= 0, np.arange(begin, begin + len(rows))[:, None] * size + codes, -1)
            hits = np.zeros((len(rows), k), bool)
            first, last = np.searchsorted(self._relevant, [begin * size, (begin + len(rows)) * size])
            hits[:, : keys.shape[1]] = np.isin(keys, self._relevant[first:last])
            parts.append(ranking.per_user(hits, self._relevant_count[begin : begin + len(rows)]))
        values = {f"{name}@{k}": np.concatenate([part[name] for part in parts]) for name in ranking.METRICS}
        scored = {name: paired.Score(float(each.mean()), each) for name, each in values.items()}
        return paired.evaluation(scored, f"{self._config.holdout.protocol}-holdout", self._identity, len(self._scored))

    @functools.cached_property
    def _identity(self) -> str:
        digest = hashlib.sha256(f"{self._data_version} {len(self._scored)}\n".encode())
        for part in (self._users[self._scored], self._relevant):
            digest.update(np.ascontiguousarray(part, "<i8").tobytes())
        return "sha256:" + digest.hexdigest()

    def _translated(self, model: RecommenderModel) -> Any:
        """This training part's histories over the model's items."""
        places = _places(self._catalogue.items[self._items], model.items)
        known = np.flatnonzero(places >= 0)
        to_model = sparse.csr_matrix(
            (np.ones(len(known), np.float32), (known, places[known])), (len(places), len(model.items)), dtype=np.float32
        )
        found = self._history @ to_model
        found.sort_indices()
        return found


def _places(wanted: Any, sorted_ids: Any) -> Any:
    """Where each identifier stands in the sorted ones, -1 where it does not."""
    places = np.searchsorted(sorted_ids, wanted)
    places[places == len(sorted_ids)] = 0
    return np.where(sorted_ids[places] == wanted, places, -1)
