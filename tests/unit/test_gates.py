"""Gates: every field, both directions, what is missing, and what cannot be compared. The champion is the slot's current model."""

import math
from collections.abc import Mapping
from typing import Any

import pytest
from tests.builders import NOW, SHA256

from retrain_operator.api.contract import RunDetails
from retrain_operator.api.deploy import Deploy, Direction, Gate
from retrain_operator.api.slot import SlotRecord
from retrain_operator.rules.gates import direction_of, verdicts, why_blocked

CHAMPION = SlotRecord(run="before", run_uid="u", uri="s3://m/before", sha256=SHA256, order="o", deployed_at=NOW)
OTHER = "f" * 64


def result(
    metrics: Mapping[str, float | None], *, champion: Mapping[str, float | None] | None = None, sha256: str = SHA256, n: int | None = 500
) -> RunDetails:
    fields: dict[str, Any] = {"outcome": "trained", "metrics": metrics, "evaluation": {"n": n} if n is not None else None}
    if champion is not None:
        fields["champion"] = {"sha256": sha256, "metrics": champion}
    return RunDetails.model_validate(fields)


AUC = {"auc": 0.85}
GATES = [
    pytest.param({"min": 0.85}, result(AUC), None, id="min: reached exactly"),
    pytest.param({"min": 0.851}, result(AUC), "auc: 0.85 is not at least 0.851", id="min: missed"),
    pytest.param({"max": 0.85}, result(AUC), None, id="max: reached exactly"),
    pytest.param({"max": 0.8}, result(AUC), "auc: 0.85 is not at most 0.8", id="max: exceeded"),
    pytest.param({"min": 0.9, "minSamples": 501}, result(AUC), "501; auc: 0.85 is not at least 0.9", id="both missed: both are told"),
    pytest.param({"min": 0.5}, result({"f1": 0.9}), "auc is not in the result (its metrics: f1)", id="missing metric: blocks"),
    pytest.param({"min": 0.5}, result({}), "auc is not in the result (its metrics: none)", id="no metrics at all: blocks"),
    pytest.param({"min": 0.5}, result({"auc": None}), "auc has no value on the holdout", id="null metric: blocks"),
    pytest.param({"min": 0.5}, result({"auc": math.nan}), "auc has no value on the holdout", id="NaN: blocks"),
    pytest.param(
        {"max": 0.5}, result({"auc": -math.inf}), "auc has no value on the holdout", id="infinite: blocks, also where it would be less"
    ),
    pytest.param({"minSamples": 500}, result(AUC), None, id="minSamples: reached"),
    pytest.param({"minSamples": 501}, result(AUC), "auc: a holdout of 500 is not at least 501", id="minSamples: too few"),
    pytest.param(
        {"minSamples": 1}, result(AUC, n=None), "auc: a holdout of unknown size is not at least 1", id="minSamples: size unknown, blocks"
    ),
    pytest.param(
        {"minImprovement": 0.05}, result(AUC, champion={"auc": 0.8}), None, id="improvement of 0.85 over 0.8 is 0.05, as people read it"
    ),
    pytest.param(
        {"minImprovement": 0.06},
        result(AUC, champion={"auc": 0.8}),
        "auc: 0.85 against the current model's 0.8 is better by 0.05 (Maximize); but minImprovement 0.06 is asked for",
        id="improvement too small",
    ),
    pytest.param({"minImprovement": 0}, result(AUC, champion={"auc": 0.85}), None, id="improvement 0: as good is enough"),
    pytest.param(
        {"minImprovement": 0}, result(AUC, champion={"auc": 0.86}), "is worse by 0.01 (Maximize)", id="improvement 0: worse is not"
    ),
    pytest.param(
        {"minImprovement": -0.02}, result(AUC, champion={"auc": 0.86}), None, id="negative improvement: a little worse is allowed"
    ),
    pytest.param(
        {"minImprovement": 0.05, "relative": True}, result(AUC, champion={"auc": 0.8}), None, id="relative: 6.25 % is enough for 5 %"
    ),
    pytest.param(
        {"minImprovement": 0.07, "relative": True},
        result(AUC, champion={"auc": 0.8}),
        "but minImprovement 0.056 (7 %) is asked for",
        id="relative: 6.25 % is not enough for 7 %",
    ),
    pytest.param(
        {"minImprovement": 0.1, "relative": True},
        result({"auc": -0.7}, champion={"auc": -0.8}),
        None,
        id="relative to a negative value: its size counts",
    ),
    pytest.param(
        {"minImprovement": 0.1, "relative": True},
        result(AUC, champion={"auc": 0.0}),
        "a share of the current model's value 0 means nothing",
        id="relative to 0: incomparable",
    ),
    pytest.param(
        {"minImprovement": 0.1, "direction": "Minimize"}, result(AUC, champion={"auc": 0.95}), None, id="Minimize: less is better"
    ),
    pytest.param(
        {"minImprovement": 0, "direction": "Minimize"},
        result(AUC, champion={"auc": 0.8}),
        "is worse by 0.05 (Minimize)",
        id="Minimize: more is worse",
    ),
    pytest.param(
        {"minImprovement": 0}, result(AUC), "the trainer has not scored the current model on the same holdout", id="not compared: blocks"
    ),
    pytest.param(
        {"minImprovement": 0},
        result(AUC, champion={"f1": 0.8}),
        "the current model has no value on the holdout",
        id="compared, but not by this metric: blocks",
    ),
    pytest.param(
        {"minImprovement": 0}, result(AUC, champion={"auc": math.nan}), "the current model has no value", id="champion is NaN: blocks"
    ),
    pytest.param(
        {"minImprovement": 0},
        result(AUC, champion={"auc": 0.1}, sha256=OTHER),
        f"the trainer scored the model {OTHER[:12]}, but by now {SHA256[:12]} is current",
        id="compared with another champion: blocks",
    ),
    pytest.param(
        {"min": 0.9, "minImprovement": 0},
        result(AUC, champion={"auc": 0.8}),
        "auc: 0.85 is not at least 0.9",
        id="better than the champion, but not good enough",
    ),
]


@pytest.mark.parametrize(("gate", "run", "blocked"), GATES)
def test_a_gate(gate: dict[str, Any], run: RunDetails, blocked: str | None) -> None:
    deploy = Deploy.model_validate({"slot": "production", "gates": [{"metric": "auc", **gate}]})
    found = verdicts(deploy, run, CHAMPION)
    why = why_blocked(found)
    assert (why is None) == (blocked is None), why
    assert blocked is None or blocked in (why or "")
    assert [each.passed for each in found] == [blocked is None]
    assert found[0].message


NO_CHAMPION = [
    pytest.param({}, None, id="an empty slot: passes unless told otherwise"),
    pytest.param({"onNoChampion": "Block"}, "auc: the slot is empty, and onNoChampion is Block", id="an empty slot, onNoChampion Block"),
]


@pytest.mark.parametrize(("policy", "blocked"), NO_CHAMPION)
def test_an_empty_slot(policy: dict[str, Any], blocked: str | None) -> None:
    deploy = Deploy.model_validate({"slot": "production", "gates": [{"metric": "auc", "minImprovement": 0.5}], **policy})
    assert why_blocked(verdicts(deploy, result(AUC), None)) == blocked


def test_on_incomparable_pass_lets_the_bounds_decide() -> None:
    deploy = Deploy.model_validate(
        {"slot": "production", "onIncomparable": "Pass", "gates": [{"metric": "auc", "minImprovement": 0.5, "min": 0.8}]}
    )
    assert why_blocked(verdicts(deploy, result(AUC), CHAMPION)) is None
    assert why_blocked(verdicts(deploy, result({"auc": 0.7}), CHAMPION)) == "auc: 0.7 is not at least 0.8"


def test_all_gates_must_pass_and_each_is_told() -> None:
    gates = [{"metric": "auc", "min": 0.8}, {"metric": "f1", "min": 0.8}, {"metric": "mae", "max": 3, "minImprovement": 0}]
    deploy = Deploy.model_validate({"slot": "production", "gates": gates})
    found = verdicts(deploy, result({"auc": 0.85, "f1": 0.7, "mae": 2.5}, champion={"mae": 2.25}), CHAMPION)
    assert [(each.metric, each.passed, each.value, each.champion, each.improvement) for each in found] == [
        ("auc", True, 0.85, None, None),
        ("f1", False, 0.7, None, None),
        ("mae", False, 2.5, 2.25, -0.25),
    ]
    assert why_blocked(found) == (
        "f1: 0.7 is not at least 0.8; "
        "mae: 2.5 against the current model's 2.25 is worse by 0.25 (Minimize); but minImprovement 0 is asked for"
    )


def test_without_gates_nothing_blocks() -> None:
    assert why_blocked(verdicts(Deploy(slot="production"), result({}), CHAMPION)) is None


DIRECTIONS = [
    *(
        pytest.param(name, Direction.MAXIMIZE, id=name)
        for name in ("roc_auc", "accuracy", "f1", "r2", "ndcg@20", "neg_mean_squared_error", "lossless")
    ),
    *(
        pytest.param(name, Direction.MINIMIZE, id=name)
        for name in ("mae", "RMSE", "log_loss", "mean_squared_error", "wape@7", "brier", "loss")
    ),
]


@pytest.mark.parametrize(("metric", "expected"), DIRECTIONS)
def test_the_direction_of_a_metric_by_its_name(metric: str, expected: Direction) -> None:
    assert direction_of(Gate(metric=metric, min=0)) is expected


def test_a_given_direction_wins() -> None:
    assert direction_of(Gate(metric="mae", min=0, direction=Direction.MAXIMIZE)) is Direction.MAXIMIZE
