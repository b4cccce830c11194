"""Label and field selectors, as strings of the Kubernetes API turned into predicates.

Labels: `a=b`, `a==b`, `a!=b`, `a in (x, y)`, `a notin (x, y)`, `a`, `!a`, joined by commas. `!=` and `notin` also match objects that
lack the label, as in Kubernetes. Fields: `metadata.name`, `metadata.namespace`, `status.phase` and `spec.*` with `=`, `==`, `!=`.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from retrain_operator.cluster.protocol import Body, Rejected

LabelPredicate = Callable[[Mapping[str, str]], bool]
FieldPredicate = Callable[[Body], bool]

_KEY = r"[A-Za-z0-9]([A-Za-z0-9_./-]*[A-Za-z0-9])?"
_VALUE = r"([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?"
_EXISTS = re.compile(rf"(?P<absent>!\s*)?(?P<key>{_KEY})")
_EQUALS = re.compile(rf"(?P<key>{_KEY})\s*(?P<op>==|=|!=)\s*(?P<value>{_VALUE})")
_ONE_OF = re.compile(rf"(?P<key>{_KEY})\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)")
_COMMA_OUTSIDE_PARENTHESES = re.compile(r",(?![^(]*\))")
_FIELD = re.compile(r"(?P<path>metadata\.name|metadata\.namespace|status\.phase|spec(\.\w+)+)(?P<op>==|=|!=)(?P<value>.*)")


@lru_cache(maxsize=1024)  # an operator asks with a handful of selectors, one of them per run
def label_predicate(selector: str) -> LabelPredicate:
    """Whether an object's labels match. Raises Rejected (400) when the selector cannot be parsed."""
    terms = [_label_term(term.strip()) for term in _COMMA_OUTSIDE_PARENTHESES.split(selector)] if selector.strip() else []
    if not terms:
        return lambda labels: True
    if len(terms) == 1:
        return terms[0]
    return lambda labels: all(term(labels) for term in terms)


def _label_term(term: str) -> LabelPredicate:
    if match := _EXISTS.fullmatch(term):
        key, absent = match["key"], bool(match["absent"])
        return lambda labels: (key in labels) is not absent
    if match := _EQUALS.fullmatch(term):
        key, value = match["key"], match["value"]
        if match["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if match := _ONE_OF.fullmatch(term):
        key, values = match["key"], frozenset(value.strip() for value in match["values"].split(","))
        if match["op"] == "notin":
            return lambda labels: labels.get(key) not in values
        return lambda labels: labels.get(key) in values
    raise Rejected(f"unable to parse requirement: {term!r}", status=400)


@lru_cache(maxsize=1024)
def field_predicate(selector: str) -> FieldPredicate:
    """Whether an object's fields match. Raises Rejected (400) for a field that cannot be selected by."""
    terms = [_field_term(term.strip()) for term in selector.split(",")] if selector.strip() else []
    return lambda body: all(term(body) for term in terms)


def _field_term(term: str) -> FieldPredicate:
    match = _FIELD.fullmatch(term)
    if match is None:
        raise Rejected(f"field label not supported: {term}", status=400)
    path, value, wanted = match["path"].split("."), match["value"], match["op"] != "!="
    return lambda body: (_field(body, path) == value) is wanted


def _field(body: Body, path: list[str]) -> str:
    value: Any = body
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    if value is None:
        return ""  # what the API server compares with when the field is not there
    return str(value).lower() if isinstance(value, bool) else str(value)
