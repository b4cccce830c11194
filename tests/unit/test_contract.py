"""The operator's side of the trainer contract, against the files that both sides share (tests/contract/)."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import run_metadata, run_spec, trained
from tests.contract import check

from retrain_operator.api import contract
from retrain_operator.api.contract import EXIT_CODES, ContractViolation, RunDetails, parse_progress, parse_result
from retrain_operator.api.job import RetrainJobStatus
from retrain_operator.manifests.jobs import job
from retrain_operator.rules.progress import mirrored

VALID, BROKEN = check.valid_messages(), check.broken_messages()
LATER = {"RETRAIN_CHAMPION_URI", "RETRAIN_CHAMPION_SHA256"}  # of fields that the API does not have yet
BESIDE = {"PYTHONHASHSEED"}  # no variable of the contract's own


@pytest.mark.parametrize("name", VALID)
def test_valid_result_is_read(name: str) -> None:
    result = parse_result(VALID[name])
    message = json.loads(VALID[name])
    assert (result.run_id, result.outcome, result.mode) == (message["runId"], message["outcome"], message["mode"])
    assert result.metrics == message.get("metrics", {})
    assert (result.error.reason if result.error else None) == (message.get("error") or {}).get("reason")
    kept = result.to_json()
    for part in ("data", "config", "evaluation", "artifact", "phaseSeconds"):
        given_fields = {name: value for name, value in (message.get(part) or {}).items() if value is not None and name != "alsoNew"}
        assert kept.get(part, {}) == given_fields, part


@pytest.mark.parametrize("name", BROKEN)
def test_broken_result_is_refused(name: str) -> None:
    message, _why = BROKEN[name]
    with pytest.raises(ContractViolation):
        parse_result(message)


def test_limit_and_paths_are_those_of_the_contract() -> None:
    assert contract.RESULT_MAX_BYTES == check.RESULT_MAX_BYTES
    defaults = {row["name"]: row["default"] for row in check.read("environment.json")}
    assert (defaults["RETRAIN_CONTRACT"], defaults["RETRAIN_RESULT_PATH"]) == (contract.CONTRACT, contract.RESULT_PATH)


def test_exit_codes_are_those_of_the_contract() -> None:
    rows = {row["code"]: (row["reason"], row["retried"]) for row in check.read("exit_codes.json") if row["code"] != 0}
    assert {code: (known.reason, known.retryable) for code, known in EXIT_CODES.items()} == rows


def test_environment_is_that_of_the_contract() -> None:
    spec = run_spec(
        config={},
        data={"uri": "u", "format": "csv", "select": "All"},
        output={"uri": "o"},
        activeDeadlineSeconds=60,
        window="w",
        retune={},
        previous={"run": "r", "dataVersion": "d", "configHash": "c"},
    )
    [container] = job(run_metadata(), spec)["spec"]["template"]["spec"]["containers"]
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names))
    assert set(names) - BESIDE == {row["name"] for row in check.read("environment.json")} - LATER


REFUSED = [
    pytest.param("[" * 3000, id="nested more deeply than Python reads"),
    pytest.param(
        trained(config={"params": {"x": 0}}).replace(": 0", ": " + "[" * 300 + "]" * 300), id="more deeply than a status can be written"
    ),
    pytest.param(trained(metrics={"m": 0}).replace('"m": 0', '"m": 1e400'), id="a number that reads as infinite"),
    pytest.param(trained(config={"params": {"x": 0}}).replace('"x": 0', '"x": -1e400'), id="one within the parameters"),
    pytest.param(trained(config={"params": {"x": 0}}).replace('"x": 0', '"x": NaN'), id="NaN within the parameters"),
    pytest.param(trained(data={"rows": 2**63}), id="an integer that the API server cannot hold"),
    pytest.param(trained(data={"rows": 1e22}), id="a float that is such an integer"),
    pytest.param(trained(config={"params": {"x": -(2**63) - 1}}), id="one within the parameters, negative"),
    pytest.param(trained(data=[]), id="a list for an object"),
    pytest.param(trained(metrics=[1]), id="a list of metrics"),
    pytest.param("null", id="null"),
    pytest.param('"trained"', id="a text"),
]


@pytest.mark.parametrize("message", REFUSED)
def test_what_could_never_be_written_into_a_status_is_refused(message: str) -> None:
    with pytest.raises(ContractViolation):
        parse_result(message)


def test_null_in_parameters_is_kept() -> None:
    result = parse_result(trained(config={"params": {"max_depth": None, "layers": [None, 1]}}))
    assert result.config is not None
    assert result.config.params == {"max_depth": None, "layers": [None, 1]}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
FIELDS = (
    "attempt",
    "reason",
    "data",
    "config",
    "evaluation",
    "metrics",
    "artifact",
    "phaseSeconds",
    "peakRssMiB",
    "error",
    "mode",
    "outcome",
)
ANSWERS = st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=3).map(lambda changes: json.dumps(json.loads(VALID["trained"]) | changes))


@given(st.one_of(st.text(), JSON.map(json.dumps), ANSWERS))
def test_every_message_is_read_or_refused_and_what_is_read_can_be_written(message: str) -> None:
    try:
        result = parse_result(message)
    except ContractViolation:
        return
    status = RetrainJobStatus(result=RunDetails.model_validate(result.to_json())).to_json()
    stored: Any = json.loads(json.dumps(status, allow_nan=False).encode())
    assert RetrainJobStatus.model_validate(stored).to_json() == stored


@given(ANSWERS)
def test_what_the_contract_accepts_the_operator_accepts(message: str) -> None:
    if check.violation(message) is None:
        parse_result(message)


PROGRESS_FIELDS = ("progressPercentage", "estimatedRemainingSeconds", "metrics")
LINE = '{"progressPercentage": 40, "estimatedRemainingSeconds": 90, "metrics": {"r2": 0.5}}'
LOGS = [
    pytest.param([], None, id="no log"),
    pytest.param(["Loading", "Traceback (most recent call last):"], None, id="words for people only"),
    pytest.param([LINE], 40, id="one line"),
    pytest.param(['{"progressPercentage": 10}', LINE, "UserWarning: no convergence", ""], 40, id="the last one, with stderr behind it"),
    pytest.param([LINE, '{"progressPercentage": 5'], 40, id="cut off: the one before"),
    pytest.param([LINE, '{"progressPercentage": 101}', '{"progressPercentage": -1}', '{"progressPercentage": NaN}'], 40, id="no share"),
    pytest.param([LINE, '{"level": "info", "message": "half way"}'], 40, id="JSON about something else"),
    pytest.param([LINE, '{"progressPercentage": 50, "metrics": ' + "[" * 5000], 40, id="nested without end"),
    pytest.param([LINE, '{"progressPercentage": 50, "note": "' + "x" * 4000 + '"}'], 40, id="longer than a result may be"),
    pytest.param([LINE, '{"progressPercentage": 50, "estimatedRemainingSeconds": 1e300}'], 40, id="longer than time itself"),
    pytest.param(["  " + LINE + "  "], 40, id="indented"),
]


@pytest.mark.parametrize(("lines", "percentage"), LOGS)
def test_progress_is_the_last_line_that_tells_of_it(lines: list[str], percentage: float | None) -> None:
    progress = parse_progress(lines)
    assert (progress.progress_percentage if progress else None) == percentage


@given(st.lists(st.one_of(st.text(), st.dictionaries(st.sampled_from(PROGRESS_FIELDS), JSON).map(json.dumps))))
def test_every_log_is_read_and_what_it_says_can_be_written(lines: list[str]) -> None:
    status = mirrored(RetrainJobStatus(), parse_progress(lines), datetime(2026, 3, 2, tzinfo=UTC))
    stored: Any = json.loads(json.dumps(status.to_json(), allow_nan=False).encode())
    assert RetrainJobStatus.model_validate(stored) == status
