"""What a person meets at `kubectl apply`, `get`, `explain` and `wait`, on a real API server, before any operator has looked at it."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.cluster.install import wait_until_served
from tests.manifest_tables import (
    ABSENT,
    ACCEPTED,
    ACCEPTED_CRON,
    CHANGES,
    IMAGE,
    REFUSED_BY_RULE,
    REFUSED_BY_SCHEMA,
    REFUSED_BY_THE_API_SERVER_ALONE,
    REFUSED_CRON,
    Body,
    run,
    schedule,
)

CRDS = Path(__file__).parents[2] / "crds"
SETTLES_WITHIN_S = 30.0
SHA256 = "f1d2d2f924e986ac86fdf7b36c94bcdf32beec15f1d2d2f924e986ac86fdf7b3"

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("definitions")]


@pytest.fixture(scope="module")
def definitions(control_plane: ControlPlane) -> None:
    """Our kinds, also in the API server's documentation, which follows a moment later."""
    control_plane.kubectl("apply", "--server-side", "-k", CRDS)
    wait_until_served(control_plane)
    deadline = time.monotonic() + SETTLES_WITHIN_S
    while any(control_plane.kubectl("explain", f"{kind}.spec", check=False).returncode for kind in ("rts", "rtj")):
        assert time.monotonic() < deadline, "kubectl explain does not know our kinds"


def apply(control_plane: ControlPlane, namespace: str, *bodies: Body, dry_run: bool = False) -> str:
    """What kubectl says: "" when everything was accepted."""
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": bodies} if len(bodies) > 1 else bodies[0])
    flags = ["--dry-run=server"] if dry_run else []
    done = control_plane.kubectl("apply", "-n", namespace, "-f", "-", *flags, stdin=text, check=False)
    assert bool(done.returncode) == bool(done.stderr), done
    return done.stderr


def get(control_plane: ControlPlane, namespace: str, *arguments: str) -> list[list[str]]:
    """The table that kubectl prints, header first."""
    lines = control_plane.kubectl("get", "-n", namespace, *arguments).stdout.splitlines()
    return [re.split(r" {3,}", line.strip()) for line in lines]


@pytest.mark.parametrize(
    ("body", "says"),
    [
        *REFUSED_BY_RULE,
        *(
            pytest.param(row.values[0], [row.values[1], row.values[2]], id=row.id)
            for row in REFUSED_BY_SCHEMA + REFUSED_BY_THE_API_SERVER_ALONE
        ),
    ],
)
def test_refused_with_words_that_help(control_plane: ControlPlane, body: Body, says: list[str]) -> None:
    message = apply(control_plane, "default", body)
    assert message, "accepted"
    assert [part for part in says if part not in re.sub(r"\[\d+\]", "", message)] == [], message


@pytest.mark.parametrize("body", ACCEPTED)
def test_accepted(control_plane: ControlPlane, namespace: str, body: Body) -> None:
    assert apply(control_plane, namespace, body) == ""
    stored = json.loads(control_plane.kubectl("get", body["kind"], "-n", namespace, "-o", "json").stdout)["items"][0]
    assert holds(stored["spec"], body["spec"]), stored["spec"]  # nothing was pruned
    assert apply(control_plane, namespace, body) == ""


def holds(stored: Any, given: Any) -> bool:
    """Whether all of `given` is in `stored`, which may have defaults beside it."""
    if isinstance(given, dict):
        return all(name in stored and holds(stored[name], given[name]) for name in given)
    if isinstance(given, list):
        return len(stored) == len(given) and all(map(holds, stored, given))
    return bool(stored == given)


def test_the_api_server_reads_cron_as_the_operator_does(control_plane: ControlPlane) -> None:
    accepted = [schedule(name=f"accepted-{i}", schedule=expression) for i, expression in enumerate(ACCEPTED_CRON)]
    assert apply(control_plane, "default", *accepted, dry_run=True) == ""
    refused = [schedule(name=f"refused-{i}", schedule=row.values[0]) for i, row in enumerate(REFUSED_CRON)]
    lines = apply(control_plane, "default", *refused, dry_run=True).splitlines()
    named = [re.findall(r'": (?:(minute|hour|day of month|month|day of week): )?write', line) for line in lines]
    assert named == [row.values[1] or [""] for row in REFUSED_CRON]


@pytest.mark.parametrize(("before", "after", "field"), CHANGES)
def test_a_run_changes_in_suspend_alone(control_plane: ControlPlane, namespace: str, before: Body, after: Body, field: str | None) -> None:
    assert apply(control_plane, namespace, run(**before)) == ""
    message = apply(control_plane, namespace, run(**after))
    if field is None:
        assert message == ""
    else:
        assert f"spec.{field} of a run cannot be changed: create another RetrainJob" in message


def test_a_new_object_is_not_taken_for_ready(control_plane: ControlPlane, namespace: str) -> None:
    assert apply(control_plane, namespace, schedule(), run()) == ""
    for resource in ("rts/churn", "rtj/once"):
        status = json.loads(control_plane.kubectl("get", resource, "-n", namespace, "-o", "json").stdout)["status"]
        (ready,) = status["conditions"]
        assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "Unknown", "Pending")
        waited = control_plane.kubectl("wait", "-n", namespace, resource, "--for=condition=Ready", "--timeout=0s", check=False)
        assert (waited.returncode, "condition not met" in waited.stderr) == (1, True), waited.stderr
    assert status["phase"] == "Pending"


@pytest.mark.parametrize("body", [schedule(), run()], ids=["schedule", "run"])
def test_a_status_that_is_applied_is_ignored(control_plane: ControlPlane, namespace: str, body: Body) -> None:
    claimed = {"type": "Ready", "status": "True", "reason": "Completed", "lastTransitionTime": "2026-01-04T02:00:00Z"}
    status = {"conditions": [claimed]} | ({"phase": "Completed"} if body["kind"] == "RetrainJob" else {})
    assert apply(control_plane, namespace, {**body, "status": status}) == ""
    path = f"{body['kind']}/{body['metadata']['name']}"
    stored = json.loads(control_plane.kubectl("get", path, "-n", namespace, "-o", "json").stdout)["status"]
    assert stored["conditions"][0]["status"] == "Unknown"
    assert stored.get("phase") in (None, "Pending")


def test_found_by_field(control_plane: ControlPlane, namespace: str) -> None:
    runs = [run(name="a", schedule="churn", window="2025-26"), run(name="b", schedule="churn"), run(name="c", schedule="spam")]
    assert apply(control_plane, namespace, *runs, schedule(window="2025-26"), schedule(name="off", suspend=True)) == ""
    write_status(control_plane, namespace, "rtj/b", {"phase": "Running"})
    for kind, selector, found in (
        ("rtj", "spec.schedule=churn,status.phase=Pending", ["retrainjob.retrain.dev/a"]),
        ("rtj", "status.phase!=Pending", ["retrainjob.retrain.dev/b"]),
        ("rtj", "spec.window=2025-26", ["retrainjob.retrain.dev/a"]),
        ("rts", "spec.suspend=true", ["retrainschedule.retrain.dev/off"]),
        ("rts", "spec.suspend=false,spec.window=2025-26", ["retrainschedule.retrain.dev/churn"]),
    ):
        said = control_plane.kubectl("get", kind, "-n", namespace, "--field-selector", selector, "-o", "name").stdout
        assert said.split() == found, selector


def test_found_by_short_name_and_category(control_plane: ControlPlane, namespace: str) -> None:
    assert apply(control_plane, namespace, schedule(), run()) == ""
    names = ["retrainjob.retrain.dev/once", "retrainschedule.retrain.dev/churn"]
    for kinds in ("rtj,rts", "retrain", "retrainjob,retrainschedule", "retrainjobs,retrainschedules"):
        assert sorted(control_plane.kubectl("get", kinds, "-n", namespace, "-o", "name").stdout.split()) == names, kinds


def write_status(control_plane: ControlPlane, namespace: str, resource: str, status: Body) -> None:
    patch = json.dumps({"status": status})
    control_plane.kubectl("patch", resource, "-n", namespace, "--subresource=status", "--type=merge", "-p", patch)


@pytest.fixture
def story(control_plane: ControlPlane, namespace: str) -> str:
    """A namespace with a schedule and its two runs, one new and one finished."""
    fields: Body = {"schedule": "churn", "trigger": "Schedule", "window": "2025-26"}
    bodies = [schedule(schedule="0 2 * * 0", timeZone="Europe/London"), run(name="churn-1", **fields), run(name="churn-2", **fields)]
    assert apply(control_plane, namespace, *bodies) == ""
    ready = {"type": "Ready", "status": "True", "reason": "Completed", "lastTransitionTime": "2026-01-04T02:10:00Z"}
    artifact = {"uri": "s3://models/churn/runs/churn-1-0a1b2c3d/model.skops", "sha256": SHA256}
    finished = {
        "phase": "Completed",
        "attempt": 1,
        "conditions": [ready],
        "result": {"outcome": "trained", "metrics": {"roc_auc": 0.91}, "artifact": artifact},
        "deployment": {"slot": "production", "state": "Deployed", "time": "2026-01-04T02:11:00Z"},
        "summary": {"result": "roc_auc=0.91", "model": SHA256[:12], "duration": "3m12s"},
    }
    write_status(control_plane, namespace, "rtj/churn-1", finished)
    accepted = {**ready, "reason": "Scheduling"}
    decision = {"action": "Run", "reason": "Scheduled", "scheduledTime": "2026-01-04T02:00:00Z", "time": "2026-01-04T02:00:01Z"}
    scheduling = {
        "conditions": [accepted],
        "nextScheduleTime": "2036-01-06T02:00:00Z",
        "active": [{"name": "churn-2"}],
        "lastDecision": decision,
    }
    write_status(control_plane, namespace, "rts/churn", scheduling)
    return namespace


def test_columns_of_a_schedule(control_plane: ControlPlane, story: str) -> None:
    header = ["NAME", "SCHEDULE", "TIMEZONE", "SUSPEND", "NEXT", "LAST RUN", "LAST SUCCESS", "ACTIVE", "READY"]
    (shown, row), (wide, wide_row) = get(control_plane, story, "rts"), get(control_plane, story, "rts", "-o", "wide")
    assert shown == [*header, "AGE"]
    assert row[:5] == ["churn", "0 2 * * 0", "Europe/London", "false", "2036-01-06T02:00:00Z"]
    assert "True" in row
    assert "churn-2" in row
    assert wide == [*header, "REASON", "PAUSED", "FAILURES", "LAST DECISION", "RECOMMENDATION", "IMAGE", "AGE"]
    assert wide_row[-5:-1] == ["Scheduling", "0", "Scheduled", IMAGE]


def test_columns_of_a_run(control_plane: ControlPlane, story: str) -> None:
    header = ["NAME", "SCHEDULE", "TRIGGER", "PHASE", "ATTEMPT", "RESULT", "MODEL", "DEPLOY", "DURATION"]
    shown, finished, new = get(control_plane, story, "rtj")
    assert shown == [*header, "AGE"]
    assert finished[:-1] == ["churn-1", "churn", "Schedule", "Completed", "1", "roc_auc=0.91", SHA256[:12], "Deployed", "3m12s"]
    assert new[:4] == ["churn-2", "churn", "Schedule", "Pending"]
    wide, wide_finished, wide_new = get(control_plane, story, "rtj", "-o", "wide")
    assert wide == [*header, "MODE", "WINDOW", "REASON", "EXIT", "ARTIFACT", "AGE"]
    uri = "s3://models/churn/runs/churn-1-0a1b2c3d/model.skops"
    assert [each for each in wide_finished[9:-1] if each] == ["Execute", "2025-26", "Completed", uri]
    assert "Pending" in wide_new


def described(text: str) -> Iterator[tuple[str, str]]:
    """(field, description) from `kubectl explain`."""
    fields = text[text.index("\nFIELDS:") :]
    for part in re.split(r"\n  (?=\w+\t)", fields)[1:]:
        line, *rest = part.splitlines()
        yield line.split()[0], " ".join(each.strip() for each in rest if not each.strip().startswith("enum: "))


@pytest.mark.parametrize(
    "path",
    [
        "rts",
        "rts.spec",
        "rts.spec.jobTemplate",
        "rts.spec.jobTemplate.spec",
        "rts.spec.jobTemplate.spec.trainer",
        "rts.status",
        "rtj.status",
    ],
)
def test_kubectl_explains_every_field(control_plane: ControlPlane, path: str) -> None:
    text = control_plane.kubectl("explain", path).stdout
    fields = dict(described(text))
    assert len(fields) > 1, text
    assert [name for name, description in fields.items() if not description or "<no description>" in description] == []


def test_server_side_apply_keeps_what_is_null(control_plane: ControlPlane, namespace: str) -> None:
    body = run(config={"params": {"max_features": None}})
    control_plane.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=json.dumps(body))
    said = control_plane.kubectl("get", "rtj/once", "-n", namespace, "-o", "jsonpath={.spec.config}").stdout
    assert json.loads(said) == body["spec"]["config"]


def test_a_removed_field_falls_back_to_its_default(control_plane: ControlPlane, namespace: str) -> None:
    assert apply(control_plane, namespace, schedule(suspend=True, timeZone="Europe/London")) == ""
    assert apply(control_plane, namespace, schedule(suspend=ABSENT, timeZone=ABSENT)) == ""
    spec = json.loads(control_plane.kubectl("get", "rts/churn", "-n", namespace, "-o", "json").stdout)["spec"]
    assert (spec["suspend"], spec["timeZone"], spec["concurrencyPolicy"]) == (False, "Etc/UTC", "Forbid")
