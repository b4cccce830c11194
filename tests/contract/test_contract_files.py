"""The contract's own files agree with each other."""

import pytest

from tests.contract import check

VALID = check.valid_messages()
BROKEN = check.broken_messages()


@pytest.mark.parametrize("name", VALID)
def test_valid_result_is_accepted(name: str) -> None:
    assert check.violation(VALID[name]) is None


@pytest.mark.parametrize("name", BROKEN)
def test_broken_result_is_refused(name: str) -> None:
    message, why = BROKEN[name]
    assert why
    assert check.violation(message) is not None


def test_every_outcome_has_a_full_example() -> None:
    assert {"trained", "skipped", "simulated", "failed"} <= VALID.keys()


def test_each_reason_stands_under_one_exit_code() -> None:
    reasons = [reason for row in check.read("exit_codes.json") for reason in row["defaultTrainerReasons"]]
    assert len(reasons) == len(set(reasons))
