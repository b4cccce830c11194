"""The patch that brings a status to another."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrain_operator.reconcile.apply import merge_patch

Object = dict[str, Any]
# No null within objects: a merge patch cannot say it, and a status has none. No bool beside numbers: Python takes True for 1.
ATOMS = st.integers(-2, 2).map(lambda number: number + 0.5) | st.text("ab", max_size=2)
INNER = st.recursive(ATOMS, lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3))
OBJECTS = st.dictionaries(st.sampled_from("abc"), INNER, max_size=3)


def applied(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2, word for word."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = applied(result.get(name), value)
    return result


@given(OBJECTS, OBJECTS)
def test_applied_to_the_old_it_gives_the_new(old: Object, new: Object) -> None:
    before = json.dumps([old, new])
    patch = merge_patch(old, new)
    assert applied(old, patch) == new
    assert json.dumps([old, new]) == before, "neither is changed"


@given(OBJECTS)
def test_of_the_same_it_is_empty(value: Object) -> None:
    assert merge_patch(value, json.loads(json.dumps(value))) == {}


@pytest.mark.parametrize(
    ("old", "new", "patch"),
    [
        pytest.param({"a": 1}, {"a": 1, "b": 2}, {"b": 2}, id="added"),
        pytest.param({"a": 1, "b": 2}, {"a": 1}, {"b": None}, id="removed"),
        pytest.param({"a": 1, "b": 2}, {"a": 3, "b": 2}, {"a": 3}, id="changed"),
        pytest.param({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "d": 3}}, {"a": {"c": None, "d": 3}}, id="within an object"),
        pytest.param({"a": {"b": 1}}, {"a": {}}, {"a": {"b": None}}, id="emptied"),
        pytest.param({"a": [1, 2]}, {"a": [1]}, {"a": [1]}, id="a list is replaced as a whole"),
        pytest.param({"a": {"b": 1}}, {"a": 1}, {"a": 1}, id="an object becomes a value"),
        pytest.param({"a": 1}, {"a": {"b": 1}}, {"a": {"b": 1}}, id="a value becomes an object"),
        pytest.param({}, {"a": {}}, {"a": {}}, id="an empty object is added"),
    ],
)
def test_patch(old: Object, new: Object, patch: Object) -> None:
    assert merge_patch(old, new) == patch
