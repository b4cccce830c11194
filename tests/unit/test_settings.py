"""How one operator process is told to run."""

import pytest

from retrain_operator.cli import main
from retrain_operator.settings import from_environment

INTERVALS = [
    pytest.param({}, 30, id="not given"),
    pytest.param({"RETRAIN_OPERATOR_PROGRESS_INTERVAL": "0"}, 0, id="off"),
    pytest.param({"RETRAIN_OPERATOR_PROGRESS_INTERVAL": "2.5"}, 2.5, id="given"),
]


@pytest.mark.parametrize(("environment", "expected"), INTERVALS)
def test_progress_interval(environment: dict[str, str], expected: float) -> None:
    assert from_environment(environment).progress_interval_s == expected


@pytest.mark.parametrize("text", ["often", "-1", "nan", "inf"])
def test_what_is_no_span_of_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"RETRAIN_OPERATOR_PROGRESS_INTERVAL={text}: "):
        from_environment({"RETRAIN_OPERATOR_PROGRESS_INTERVAL": text})


def test_a_variable_that_makes_no_sense_is_told_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RETRAIN_OPERATOR_HTTP_PORT", "web")
    with pytest.raises(SystemExit) as stopped:
        main(["operator"])
    assert stopped.value.code == 2
    assert "RETRAIN_OPERATOR_HTTP_PORT=web: " in capsys.readouterr().err


def test_help_shows_only_defaults_that_say_something(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["operator", "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert "let only one replica write (default: True)" in told
    assert not [nothing for nothing in ("None", "False", "[]", ")") if f"(default: {nothing}" in told]
