"""The trainer states the same contract as the shared files, and its results always fit."""

import io
import json
import math
from typing import Any

import pytest

from retrain_trainer import contract
from retrain_trainer.contract import Failure, Reason
from retrain_trainer.progress import Progress
from retrain_trainer.result import RESULT_MAX_BYTES, Result, encode, failed
from tests.contract import check


def test_exit_codes_are_the_shared_ones() -> None:
    shared = check.read("exit_codes.json")
    assert {row["code"] for row in shared} == set(contract.Exit)
    assert {row["code"] for row in shared if row["retried"]} == contract.RETRIED
    assert {reason: row["code"] for row in shared for reason in row["defaultTrainerReasons"]} == contract.EXIT_OF


def test_environment_names_are_the_shared_ones() -> None:
    assert {row["name"] for row in check.read("environment.json")} == contract.ENVIRONMENT


def test_the_least_environment_is_enough() -> None:
    """What the shared file says is required, and nothing more."""
    given = {row["name"]: "x" for row in check.read("environment.json") if row["required"]}
    parsed = contract.parse_environment({**given, "RETRAIN_MODE": "Simulate"})
    assert (parsed.attempt, parsed.data_check, parsed.window, parsed.deadline_s) == (1, "Always", "", None)


def test_a_result_before_anything_is_known() -> None:
    whole = failed(Result.before_environment({}).to_json(), Failure(Reason.SETUP_MISSING, "nothing is set"))
    assert check.violation(encode(whole).decode()) is None
    assert whole.keys() == check.read("results/failed-early.json").keys()


def trained(**sections: Any) -> dict[str, Any]:
    result: dict[str, Any] = check.read("results/trained.json")
    return {**result, **sections}


def broken(message: str) -> dict[str, Any]:
    return failed(trained(), Failure(Reason.UNEXPECTED_ERROR, message))


@pytest.mark.parametrize(
    ("result", "shortened"),
    [
        pytest.param(trained(), None, id="as usual: nothing"),
        pytest.param(broken("boom " * 10_000), ["error.message"], id="long message"),
        pytest.param(broken("\0" * 5_000), ["error.message"], id="long message that grows when it is escaped"),
        pytest.param(broken("ä€😀" * 3_000), ["error.message"], id="long message in many bytes"),
        pytest.param(trained(metrics={f"metric_{i}": i / 7 for i in range(5_000)}), ["config.params", "metrics"], id="many metrics"),
        pytest.param(trained(metrics={"m" * 5_000: 1.0}), ["config.params", "metrics"], id="a metric with a long name"),
        pytest.param(trained(config={**trained()["config"], "params": {"x": "y" * 9_000}}), ["config.params"], id="many parameters"),
        pytest.param(
            trained(data={"version": "v", "previousVersion": "p" * 9_000, "rows": 1, "bytes": 1}, phaseSeconds={"fit": 1.5}),
            ["config.params", "metrics", "phaseSeconds", "evaluation.holdout", "data.previousVersion"],
            id="a long previous version",
        ),
    ],
)
def test_a_result_fits_and_says_what_is_shortened(result: dict[str, Any], shortened: list[str] | None) -> None:
    encoded = encode(result)
    assert len(encoded) <= RESULT_MAX_BYTES
    assert check.violation(encoded.decode()) is None
    whole = json.loads(encoded)
    assert set(whole.get("shortened", [])) <= set(shortened or [])
    assert ("shortened" in whole) == (shortened is not None)
    assert whole["runId"] == result["runId"]
    assert encoded == encode(result), "the same every time"


def test_the_first_metrics_are_kept() -> None:
    kept = json.loads(encode(trained(metrics={f"metric_{i}": float(i) for i in range(5_000)})))["metrics"]
    assert list(kept) == [f"metric_{i}" for i in range(len(kept))]
    assert len(kept) > 50


def test_the_largest_identities_fit() -> None:
    """A run id and an output URI as long as they may be, and everything else absurd."""
    artifact = {"uri": "s3://" + "x" * 1300, "sha256": "0" * 64, "bytes": 2**62, "format": "skops"}
    data = {"version": "v" * 9_000, "previousVersion": "p" * 9_000, "rows": 2**62, "bytes": 2**62}
    encoded = encode(trained(runId="r" * 253, artifact=artifact, data=data, metrics={f"m{i}": 0.1 for i in range(999)}))
    assert check.violation(encoded.decode()) is None
    assert json.loads(encoded)["artifact"]["uri"] == artifact["uri"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_number_that_json_does_not_have_is_null(value: float) -> None:
    assert json.loads(encode(trained(metrics={"r2": value})))["metrics"] == {"r2": None}


def test_text_that_is_not_utf_8_is_replaced() -> None:
    assert json.loads(encode(broken("a\udcffb")))["error"]["message"] == "a?b"


def test_progress_is_written_first_last_and_every_five_seconds() -> None:
    stream, times = io.StringIO(), iter([100.0, 102.0, 104.9, 105.0, 109.0, 109.1])
    progress = Progress(stream, lambda: next(times))
    for percentage in (0, 10, 20, 30, 90):
        progress.report(percentage)
    progress.report(100, {"r2": math.nan}, 0.0, last=True)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["progressPercentage"] for line in lines] == [0, 30, 100]
    assert lines[-1] == {"progressPercentage": 100, "estimatedRemainingSeconds": 0.0, "metrics": {"r2": None}}


def test_progress_survives_a_reader_that_went_away() -> None:
    stream = io.StringIO()
    stream.close()
    Progress(stream, lambda: 0.0).report(0)
