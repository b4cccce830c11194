"""How a slot's record changes, and how old a run is."""

from typing import Any

import pytest
from tests.builders import NOW, SCHEDULE, at, metadata, run_metadata, run_spec

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.job import RetrainJobSpec
from retrain_operator.api.names import Key
from retrain_operator.api.slot import HANDLED_MAX, Hold, Slot, SlotRecord
from retrain_operator.errors import InvalidSpec
from retrain_operator.manifests.slot import deploys_for, slot_config_map, slot_key, slot_labels
from retrain_operator.reconcile.slots import slot_of
from retrain_operator.rules.slot import newer_than_all, released, request_id, rolled_back, run_order, taken_by, why_held


def record(name: str, *, order: str | None = None, data: str | None = "v1", sha256: str | None = None) -> SlotRecord:
    return SlotRecord(
        run=name,
        run_uid=f"uid-{name}",
        uri=f"s3://m/{name}",
        sha256=sha256 or name * 64,
        order=order or name,
        deployed_at=at("10:00"),
        data_version=data,
        metrics={"auc": 0.9},
    )


def slot(*names: str, **fields: Any) -> Slot:
    """These models went live one after the other."""
    made = Slot()
    for name in names:
        made = taken_by(made, record(name), 5)
    return made.model_copy(update=fields)


def runs(found: Slot) -> list[str]:
    """Current first, then the previous ones."""
    return [each.run for each in ([found.current] if found.current else []) + found.previous]


def root(created: str | None) -> dict[str, Any]:
    return {"root": {"name": "churn-1", "uid": "u", **({"created": created} if created else {})}, "attempt": 2}


ORDERS = [
    pytest.param(
        (run_metadata(creation_timestamp=at("11:00")), run_spec()),
        (run_metadata(creation_timestamp=at("11:01")), run_spec()),
        id="by creation",
    ),
    pytest.param(
        (run_metadata(creation_timestamp=at("11:00")), run_spec(scheduledTime="2026-03-02T10:50:00Z")),
        (run_metadata(creation_timestamp=at("11:00")), run_spec(scheduledTime="2026-03-02T10:55:00Z")),
        id="of one second: by tick",
    ),
    pytest.param((run_metadata(name="a"), run_spec()), (run_metadata(name="b"), run_spec()), id="then by name"),
    pytest.param(
        (run_metadata(creation_timestamp=at("12:00")), run_spec(**root("2026-03-02T10:00:00Z"))),
        (run_metadata(creation_timestamp=at("11:00")), run_spec()),
        id="a retry is as old as its first attempt",
    ),
    pytest.param(
        (run_metadata(creation_timestamp=at("11:00")), run_spec(**root(None))),
        (run_metadata(creation_timestamp=at("12:00")), run_spec()),
        id="a retry that an older operator made: its own age",
    ),
]


@pytest.mark.parametrize(("older", "newer"), ORDERS)
def test_run_order(older: tuple[ObjectMeta, RetrainJobSpec], newer: tuple[ObjectMeta, RetrainJobSpec]) -> None:
    assert run_order(*older) < run_order(*newer)


def test_a_newer_model_takes_the_slot_and_the_ones_before_are_remembered() -> None:
    found = slot("a", "b", "c")
    assert (runs(found), found.newest_order, found.serial) == (["c", "b", "a"], "c", 3)
    assert runs(taken_by(found, record("d"), 2)) == ["d", "c", "b"], "as many as historyLimit"


def test_the_same_artifact_once_more_is_nothing_to_go_back_to() -> None:
    again = taken_by(slot("a", "b"), record("c", sha256="b" * 64), 5)
    assert runs(again) == ["c", "a"]


NEWER = [
    pytest.param(slot(), "a", True, id="an empty slot: any run"),
    pytest.param(slot("b"), "a", False, id="older than the current one"),
    pytest.param(slot("b"), "b", False, id="the same once more"),
    pytest.param(slot("b"), "c", True, id="newer"),
    pytest.param(rolled_back(slot("a", "c"), "x", NOW), "b", False, id="after a rollback: older than what was rolled back"),
    pytest.param(rolled_back(slot("a", "c"), "x", NOW), "d", True, id="after a rollback: newer than what was rolled back"),
]


@pytest.mark.parametrize(("found", "order", "expected"), NEWER)
def test_newer_than_all(found: Slot, order: str, expected: bool) -> None:
    assert newer_than_all(found, record("x", order=order)) is expected


def test_a_rollback_restores_the_model_before_as_it_was_recorded() -> None:
    before = slot("a", "b")
    after = rolled_back(before, "rollback/t", NOW)
    assert after.current == before.previous[0].model_copy(update={"deployed_at": NOW})
    assert after.previous == []
    assert after.hold == Hold(since=NOW, by="rollback/t", data_versions=["v1"], sha256s=["b" * 64])
    assert after.rollback is not None
    assert (after.rollback.away_from, after.rollback.to_run) == (before.current, "a")
    assert after.handled == ["rollback/t"]
    assert after.serial == before.serial + 1
    assert after.newest_order == "b"


@pytest.mark.parametrize("found", [pytest.param(slot(), id="empty"), pytest.param(slot("a"), id="the first model")])
def test_with_nothing_to_go_back_to_only_the_request_is_noted(found: Slot) -> None:
    after = rolled_back(found, "rollback/t", NOW)
    assert (after.current, after.hold, after.serial, after.handled) == (found.current, None, found.serial, ["rollback/t"])
    assert after.rollback is not None
    assert after.rollback.to_sha256 is None


HELD = Hold(since=NOW, by="x", data_versions=["v2"], sha256s=["b" * 64])
UNKNOWN = HELD.model_copy(update={"data_versions": [None]})
HOLDS = [
    pytest.param(None, record("c"), None, id="nothing is held"),
    pytest.param(HELD, record("c", data="v3"), None, id="other data"),
    pytest.param(HELD, record("c", data="v2"), "a model of the same data (version v2) was rolled back", id="the same data"),
    pytest.param(HELD, record("c", data=None), "without a data version", id="no data version: nobody can tell"),
    pytest.param(UNKNOWN, record("c", data="v3"), "without a data version", id="of the bad one there is none: nobody can tell"),
    pytest.param(HELD, record("c", data="v3", sha256="b" * 64), "this very model was rolled back", id="the same model of other data"),
]


@pytest.mark.parametrize(("hold", "model", "expected"), HOLDS)
def test_why_held(hold: Hold | None, model: SlotRecord, expected: str | None) -> None:
    found = why_held(slot("a", hold=hold), model)
    assert found == expected if expected is None else expected in (found or "")


def test_a_second_rollback_holds_the_data_of_both() -> None:
    first = taken_by(taken_by(slot("a"), record("b", data="v2"), 5), record("c", data="v3"), 5)
    twice = rolled_back(rolled_back(first, "rollback/1", NOW), "rollback/2", NOW)
    assert twice.hold is not None
    assert (runs(twice), twice.hold.data_versions, twice.handled) == (["a"], ["v2", "v3"], ["rollback/2", "rollback/1"])
    assert released(twice, "release/1").hold is None


def test_a_model_of_new_data_ends_the_hold() -> None:
    assert taken_by(rolled_back(slot("a", "b"), "x", NOW), record("c", data="v9"), 5).hold is None


def test_handled_requests_are_bounded_and_so_is_a_token() -> None:
    found = slot("a")
    for number in range(2 * HANDLED_MAX):
        found = rolled_back(found, request_id("rollback", str(number)), NOW)
    assert len(found.handled) == HANDLED_MAX
    assert len(request_id("rollback", "x" * 10_000)) < 100
    assert request_id("rollback", "x" * 10_000) != request_id("rollback", "y" * 10_000)


KEY = Key("ml", "churn-production")
LABELS = slot_labels(SCHEDULE, "production", is_schedule=True)


def stored(found: Slot, **changes: Any) -> dict[str, Any]:
    body = slot_config_map(KEY, LABELS, found, version=None, uid=None)
    return body | {"metadata": body["metadata"] | {"uid": "u", "resourceVersion": "7"} | changes}


def test_what_is_written_is_read_and_swapped_by_version() -> None:
    found = slot("a", "b", hold=HELD)
    seen = slot_of(stored(found, labels=LABELS | {"team": "growth"}), LABELS)
    assert (seen.slot, seen.problem) == (found, None)
    swapped = seen.swapped(found)
    assert {name: swapped["metadata"][name] for name in ("resourceVersion", "uid")} == {"resourceVersion": "7", "uid": "u"}
    assert swapped["metadata"]["labels"] == LABELS | {"team": "growth"}, "what others have labelled stays"


FOREIGN = [
    pytest.param(stored(Slot(), labels={}), "SlotTaken", id="no labels"),
    pytest.param(stored(Slot(), labels=slot_labels("churn-eu", "production", is_schedule=True)), "SlotTaken", id="another schedule's slot"),
    pytest.param(
        stored(Slot(), labels=slot_labels(SCHEDULE, "production", is_schedule=False)), "SlotTaken", id="of a guard key of that name"
    ),
    pytest.param(stored(Slot()) | {"data": {"slot.json": "{"}}, "SlotUnreadable", id="broken JSON"),
    pytest.param(stored(Slot()) | {"data": {"slot.json": "[" * 100_000}}, "SlotUnreadable", id="nested without end"),
    pytest.param(stored(Slot()) | {"data": {"slot.json": '{"current": {"run": "a"}}'}}, "SlotUnreadable", id="half a record"),
    pytest.param({name: value for name, value in stored(Slot()).items() if name != "data"}, "SlotUnreadable", id="no data"),
]


@pytest.mark.parametrize(("body", "reason"), FOREIGN)
def test_what_is_not_ours_is_told_and_needs_every_run(body: dict[str, Any], reason: str) -> None:
    seen = slot_of(body, LABELS)
    assert (seen.problem_reason, seen.problem is not None) == (reason, True)
    assert seen.needs("any")


def test_whose_slot_it_is() -> None:
    by_label = metadata(labels={"retrain.dev/guard-key": "Fraud_EU"})
    assert deploys_for(by_label, run_spec()) == SCHEDULE
    assert deploys_for(by_label, run_spec(schedule=None)) == "Fraud_EU"
    assert deploys_for(metadata(), run_spec(schedule=None)) is None
    with pytest.raises(InvalidSpec, match="lowercase letters"):
        slot_key("ml", "Fraud_EU", "production")
