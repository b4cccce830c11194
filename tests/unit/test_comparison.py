"""A fresh list against what is known: each kind of difference, and what a watch may have told meanwhile."""

import pytest
from tests.unit.watched_objects import body, listing, shown

from retrain_operator.api.names import Key
from retrain_operator.cluster.comparison import Change, Seen, missed_changes
from retrain_operator.cluster.protocol import Listing

KNOWN = {Key("ns", "a"): Seen("uid-a", 5), Key("ns", "b"): Seen("uid-b", 6)}


@pytest.mark.parametrize(
    ("found", "deleted_meanwhile", "expected"),
    [
        pytest.param(listing(9, body("a", 5), body("b", 6)), None, [], id="nothing changed"),
        pytest.param(listing(9, body("a", 5), body("b", 6), body("c", 8)), None, ["ADDED c@8"], id="added"),
        pytest.param(listing(9, body("a", 8), body("b", 6)), None, ["MODIFIED a@8"], id="modified"),
        pytest.param(listing(9, body("a", 5)), None, ["DELETED b uid-b"], id="deleted"),
        pytest.param(
            listing(9, body("a", 8, uid="new"), body("b", 6)), None, ["DELETED a uid-a", "ADDED a@8"], id="made anew: deleted, then added"
        ),
        pytest.param(listing(9), None, ["DELETED a uid-a", "DELETED b uid-b"], id="all gone"),
        pytest.param(
            listing(9, body("a", 5, namespace="other"), body("a", 5), body("b", 6)), None, ["ADDED a@5"], id="another namespace is another"
        ),
        pytest.param(
            listing(4, body("a", 3)), None, ["DELETED b uid-b", "MODIFIED a@3"], id="restored from a backup: the list is the truth"
        ),
        pytest.param(listing(5, body("a", 5)), set(), [], id="watching: added after the list was made"),
        pytest.param(listing(5, body("a", 5), body("b", 4)), set(), [], id="watching: modified after the list was made"),
        pytest.param(listing(5, body("a", 5), body("b", 4, uid="old")), set(), [], id="watching: made anew after the list was made"),
        pytest.param(listing(9, body("a", 5), body("b", 6), body("c", 8)), {"uid-c"}, [], id="watching: deleted after the list was made"),
        pytest.param(
            listing(9, body("a", 5), body("b", 8, uid="new")),
            {"new"},
            ["DELETED b uid-b"],
            id="watching: made anew unheard of, and deleted again after the list was made",
        ),
        pytest.param(
            listing(9, body("a", 8), body("c", 7)),
            set(),
            ["DELETED b uid-b", "MODIFIED a@8", "ADDED c@7"],
            id="watching: lost three events",
        ),
    ],
)
def test_comparison(found: Listing, deleted_meanwhile: set[str] | None, expected: list[str]) -> None:
    changes = missed_changes(KNOWN, found, deleted_meanwhile=deleted_meanwhile)
    assert [shown(change.type, change.body) for change in changes] == expected


def test_comparison_leads_from_what_is_known_to_the_list() -> None:
    assert missed_changes({}, listing(9, body("a", 5))) == [Change("ADDED", body("a", 5))]
    assert missed_changes(KNOWN, listing(9, body("a", 5))) == [
        Change("DELETED", {"metadata": {"namespace": "ns", "name": "b", "uid": "uid-b"}})
    ]
