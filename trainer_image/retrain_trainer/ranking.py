"""Metrics of ranked lists, one value per user: NDCG, recall and MAP at k, with binary relevance. numpy only.

ndcg    sum over hits of 1 / log2(place + 1), divided by that of the best list; places count from 1
recall  hits / relevant items
map     mean of the precision at each hit, divided by min(relevant items, k)
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

METRICS = ("ndcg", "recall", "map")


def per_user(hits: NDArray[np.bool_], relevant: NDArray[Any]) -> dict[str, NDArray[np.float64]]:
    """Metrics of `hits`, users x k: whether the item at each place is relevant; `relevant`: how many items of each user are, at least 1."""
    k = hits.shape[1]
    places = np.arange(1, k + 1)
    gain = 1 / np.log2(places + 1)
    best = np.concatenate([[0.0], gain.cumsum()])[np.minimum(relevant, k)]
    precision = hits.cumsum(axis=1) / places
    return {
        "ndcg": hits @ gain / best,
        "recall": hits.sum(axis=1) / relevant,
        "map": (precision * hits).sum(axis=1) / np.minimum(relevant, k),
    }


def top(scores: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Columns of the k highest scores of each row, the best first, the leftmost of equals first. -1 where the score is -inf."""
    k = min(k, scores.shape[1])
    chosen = np.argpartition(-scores, k - 1, axis=1)[:, :k] if k < scores.shape[1] else np.tile(np.arange(k), (len(scores), 1))
    chosen.sort(axis=1)  # so that the stable sort below breaks ties by column
    values = np.take_along_axis(scores, chosen, axis=1)
    order = np.argsort(-values, axis=1, kind="stable")
    ranked = np.take_along_axis(chosen, order, axis=1)
    ranked[np.isneginf(np.take_along_axis(values, order, axis=1))] = -1
    return ranked
