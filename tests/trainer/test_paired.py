"""Standard errors of metrics and of their differences, against known values and scikit-learn."""

import numpy as np
import pytest
from sklearn import metrics as scores  # type: ignore[import-untyped]
from sklearn.linear_model import LogisticRegression, Ridge  # type: ignore[import-untyped]

from retrain_trainer import metrics, paired
from retrain_trainer.paired import Score

RNG = np.random.default_rng(3)
FEATURES = np.round(RNG.normal(size=(300, 4)), 1)
NOISY = FEATURES @ [1.0, 0.5, 0.2, 0.0] + RNG.normal(size=300)
WEIGHTS = RNG.integers(0, 4, 300).astype(float)


@pytest.mark.parametrize("classes", [pytest.param(2, id="two classes"), pytest.param(4, id="four classes")])
def test_weighted_metrics_of_a_classifier_are_those_of_scikit_learn(classes: int) -> None:
    target = np.digitize(NOISY, [0] if classes == 2 else [-1, 0, 1])
    model = LogisticRegression().fit(FEATURES, target)
    probability, predicted = model.predict_proba(FEATURES), model.predict(FEATURES)
    found = metrics.of_classifier(model, FEATURES, target, np.arange(classes))
    ranks = probability[:, 1] if classes == 2 else probability
    average = "binary" if classes == 2 else "macro"
    expected = {
        "roc_auc": scores.roc_auc_score(target, ranks, multi_class="ovr", sample_weight=WEIGHTS),
        "average_precision": scores.average_precision_score(target, ranks, sample_weight=WEIGHTS),
        "balanced_accuracy": scores.balanced_accuracy_score(target, predicted, sample_weight=WEIGHTS),
        "f1": scores.f1_score(target, predicted, average=average, sample_weight=WEIGHTS),
        "precision": scores.precision_score(target, predicted, average=average, sample_weight=WEIGHTS),
        "recall": scores.recall_score(target, predicted, average=average, sample_weight=WEIGHTS),
    }
    assert {name: weighted(found[name]) for name in expected} == pytest.approx(expected)
    assert found["brier"].value == pytest.approx(scores.brier_score_loss(target, ranks))
    for name in ("accuracy", "log_loss", "brier"):
        assert mean(found[name]) == pytest.approx(found[name].value)


def test_weighted_metrics_of_a_regressor_are_those_of_scikit_learn() -> None:
    model = Ridge().fit(FEATURES, NOISY)
    found = metrics.of_regressor(model, FEATURES, NOISY)
    predicted = model.predict(FEATURES)
    assert weighted(found["r2"]) == pytest.approx(scores.r2_score(NOISY, predicted, sample_weight=WEIGHTS))
    assert weighted(found["rmse"]) == pytest.approx(scores.mean_squared_error(NOISY, predicted, sample_weight=WEIGHTS) ** 0.5)
    assert found["mape"].value == pytest.approx(scores.mean_absolute_percentage_error(NOISY, predicted))
    for name in ("mae", "mape"):
        assert mean(found[name]) == pytest.approx(found[name].value)


def test_mape_is_not_defined_where_a_target_is_zero() -> None:
    target = np.where(NOISY > 0, NOISY, 0)
    assert np.isnan(metrics.of_regressor(Ridge().fit(FEATURES, target), FEATURES, target)["mape"].value)


def test_a_mean_has_the_textbook_error_and_a_bootstrap_comes_close() -> None:
    values = RNG.normal(size=400)
    found = paired.evaluation(
        {
            "mean": Score(float(values.mean()), values),
            "again": Score(float(values.mean()), weighted=lambda weights: float(np.average(values, weights=weights))),
        },
        "holdout",
        "h",
        400,
    )
    assert found.stderr["mean"] == pytest.approx(values.std(ddof=1) / 20)
    assert found.stderr["again"] == pytest.approx(found.stderr["mean"], rel=0.15)


def test_the_paired_error_is_a_fraction_of_the_unpaired_one() -> None:
    """Two models with the same hard rows: the error of the difference is what is observed when the experiment is repeated."""
    differences, errors, unpaired = [], [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        hardness = rng.normal(size=300)
        one, other = (
            paired.evaluation({"ndcg@20": Score(float(each.mean()), each)}, "user", "h", 300)
            for each in (hardness + rng.normal(scale=0.2, size=300), hardness + rng.normal(scale=0.2, size=300))
        )
        differences.append(one.metrics["ndcg@20"] - other.metrics["ndcg@20"])
        errors.append(paired.difference_stderr(one, other)["ndcg@20"])
        unpaired.append(np.hypot(one.stderr["ndcg@20"], other.stderr["ndcg@20"]))
    assert np.mean(errors) == pytest.approx(np.std(differences), rel=0.1)
    assert np.mean(errors) < 0.25 * np.mean(unpaired)


def test_a_difference_of_other_holdouts_is_refused() -> None:
    one, other = (paired.evaluation({}, "user", holdout, 3) for holdout in "ab")
    with pytest.raises(ValueError, match="same holdout"):
        paired.difference_stderr(one, other)


@pytest.mark.parametrize(
    "score",
    [
        pytest.param(Score(1.0, np.ones(1)), id="one unit"),
        pytest.param(Score(np.nan, weighted=lambda weights: np.nan), id="not defined"),
        pytest.param(Score(0.5, weighted=lambda weights: np.nan), id="defined on no resample"),
    ],
)
def test_what_has_no_error_says_none(score: Score) -> None:
    n = 1 if score.per_unit is not None else 5
    assert paired.evaluation({"m": score}, "holdout", "h", n).stderr == {}


def weighted(score: Score) -> float:
    assert score.weighted is not None
    return score.weighted(WEIGHTS)


def mean(score: Score) -> float:
    assert score.per_unit is not None
    return float(score.per_unit.mean())
