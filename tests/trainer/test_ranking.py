"""Metrics of ranked lists on cases that can be done by hand."""

import numpy as np
import pytest

from retrain_trainer import ranking

LOG2_3, LOG2_5 = np.log2(3), np.log2(5)


@pytest.mark.parametrize(
    ("hits", "relevant", "ndcg", "recall", "average_precision"),
    [
        pytest.param([1, 0, 0], 1, 1, 1, 1, id="the one item comes first"),
        pytest.param([0, 0, 1], 1, 1 / 2, 1, 1 / 3, id="the one item comes third"),
        pytest.param([0, 0, 0], 2, 0, 0, 0, id="nothing found"),
        pytest.param([1, 0, 1], 2, 1.5 / (1 + 1 / LOG2_3), 1, (1 + 2 / 3) / 2, id="first and third of two"),
        pytest.param([1, 1, 1], 9, 1, 3 / 9, 1, id="more relevant items than places"),
        pytest.param([0, 1, 0, 1], 2, (1 / LOG2_3 + 1 / LOG2_5) / (1 + 1 / LOG2_3), 1, (1 / 2 + 2 / 4) / 2, id="second and fourth"),
    ],
)
def test_metrics_by_hand(hits: list[int], relevant: int, ndcg: float, recall: float, average_precision: float) -> None:
    found = ranking.per_user(np.array([hits], bool), np.array([relevant]))
    assert {name: float(values[0]) for name, values in found.items()} == pytest.approx(
        {"ndcg": ndcg, "recall": recall, "map": average_precision}
    )


@pytest.mark.parametrize(
    ("scores", "k", "expected"),
    [
        pytest.param([1, 3, 2], 2, [1, 2], id="the best first"),
        pytest.param([2, 1, 2, 2], 4, [0, 2, 3, 1], id="the leftmost of equals first"),
        pytest.param([1, -np.inf, 2], 3, [2, 0, -1], id="what is masked is not offered"),
        pytest.param([1, 2], 5, [1, 0], id="fewer items than places"),
    ],
)
def test_the_top_of_a_row(scores: list[float], k: int, expected: list[int]) -> None:
    assert ranking.top(np.array([scores], np.float32), k).tolist() == [expected]


def test_many_rows_are_ranked_as_each_alone() -> None:
    scores = np.random.default_rng(0).normal(size=(50, 40)).astype(np.float32)
    assert np.array_equal(ranking.top(scores, 7), np.argsort(-scores, axis=1)[:, :7])
