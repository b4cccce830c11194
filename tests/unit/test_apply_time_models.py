"""What the in-memory cluster refuses and accepts when something is applied. The tables are those of a real API server."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from tests.manifest_tables import ACCEPTED, ACCEPTED_CRON, CHANGES, REFUSED_BY_RULE, REFUSED_BY_SCHEMA, REFUSED_CRON, Body, run

from retrain_operator.api.cron_text import CronText
from retrain_operator.cluster.protocol import RUNS, SCHEDULES, Rejected
from retrain_operator.cron import Cron
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.errors import InvalidSpec

RESOURCE_OF = {"RetrainSchedule": SCHEDULES, "RetrainJob": RUNS}
CRON_TEXT: TypeAdapter[str] = TypeAdapter(CronText)


def admit(new: Body, old: Body | None = None) -> Body:
    return ADMISSION[RESOURCE_OF[new["kind"]]](new, old)


@pytest.mark.parametrize(("body", "says"), REFUSED_BY_RULE)
def test_a_rule_refuses_in_the_words_of_the_api_server(body: Body, says: list[str]) -> None:
    with pytest.raises(Rejected) as refusal:
        admit(body)
    message = str(refusal.value)
    assert [part for part in says if part not in message] == [], message


@pytest.mark.parametrize(("body", "field", "_says"), REFUSED_BY_SCHEMA)
def test_the_schema_refuses_and_names_the_field(body: Body, field: str, _says: str) -> None:
    with pytest.raises(Rejected) as refusal:
        admit(body)
    assert field in str(refusal.value)


@pytest.mark.parametrize("body", ACCEPTED)
def test_accepted(body: Body) -> None:
    spec = admit(body)["spec"]
    assert admit({**body, "spec": spec})["spec"] == spec  # what is stored can be applied again


@pytest.mark.parametrize(("before", "after", "field"), CHANGES)
def test_a_run_changes_in_suspend_alone(before: Body, after: Body, field: str | None) -> None:
    stored = admit(run(**before))
    if field is None:
        admit(run(**after), stored)
        return
    with pytest.raises(Rejected, match=rf"spec\.{field}\b.* cannot be changed: create another"):
        admit(run(**after), stored)


@pytest.mark.parametrize("expression", ACCEPTED_CRON)
def test_a_cron_text_is_accepted_when_applied_and_when_read(expression: str) -> None:
    Cron.parse(expression, seed="ml/churn")
    CRON_TEXT.validate_python(expression)


@pytest.mark.parametrize(("expression", "fields"), REFUSED_CRON)
def test_a_cron_text_is_refused_when_applied_and_when_read(expression: str, fields: list[str]) -> None:
    with pytest.raises(InvalidSpec):
        Cron.parse(expression, seed="ml/churn")
    with pytest.raises(ValidationError, match=rf"{fields[0]}: write" if fields else "write five cron fields"):
        CRON_TEXT.validate_python(expression)


_NUMBER = st.integers(0, 70).map(str) | st.sampled_from(["00", "07", "JAN", "dec", "Sun", "sat"])
_RANGE = st.builds("{}-{}".format, _NUMBER, _NUMBER)
_PART = st.sampled_from(["*", "H", "?", "L", ""]) | _NUMBER | _RANGE | _RANGE.map("H({})".format)
_TERM = _PART | st.builds("{}/{}".format, _PART, st.integers(0, 70))
_FIELD = st.sampled_from(["*", "H"]) | st.lists(_TERM, min_size=1, max_size=3).map(",".join)
_ONLY_CRON_KNOWS = ("runs backwards", "never fires")


@given(st.lists(_FIELD, min_size=5, max_size=5).map(" ".join) | st.text("0159*/,-H()L? \t", max_size=20))
@settings(max_examples=400)
def test_both_read_the_same_grammar(expression: str) -> None:
    try:
        CRON_TEXT.validate_python(expression)
        refused_when_applied = False
    except ValidationError:
        refused_when_applied = True
    try:
        Cron.parse(expression, seed="ml/churn")
        refusal: Any = None
    except InvalidSpec as problem:
        refusal = problem.message
    if refusal is None:
        assert not refused_when_applied
    elif not refused_when_applied:
        assert any(part in refusal for part in _ONLY_CRON_KNOWS), refusal
