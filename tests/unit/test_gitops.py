"""What Argo CD and Flux make of our kinds in each state. The shipped scripts are run; the states are those that the rules write."""

import re
from pathlib import Path
from typing import Any

import celpy
import pytest
import yaml
from celpy.adapter import json_to_cel
from lupa.lua51 import LuaRuntime  # type: ignore[import-untyped]
from tests.builders import NOW, ended, failed, job_ended, job_failed, job_state, new_schedule, pod_end, run, schedule, schedule_status
from tests.unit.run_table import seen

from retrain_operator.api.base import unseen_status
from retrain_operator.errors import InvalidSpec
from retrain_operator.rules import run as run_rules
from retrain_operator.rules import schedule as schedule_rules
from retrain_operator.rules.decision import Decision, WriteStatus
from retrain_operator.rules.observed import GuardObserved, GuardState, RunObserved, ScheduleObserved

GITOPS = Path(__file__).parents[2] / "manifests" / "gitops"
ARGOCD = yaml.safe_load((GITOPS / "argocd-cm.yaml").read_text())["data"]
FLUX = {rule["kind"]: rule for rule in yaml.safe_load((GITOPS / "flux-kustomization.yaml").read_text())["spec"]["healthCheckExprs"]}
Body = dict[str, Any]


def stored(kind: str, observed: ScheduleObserved | RunObserved, decision: Decision | None) -> Body:
    """The object as the API server has it after the decision; None: no operator has looked at it."""
    status = unseen_status() | ({"phase": "Pending"} if kind == "RetrainJob" else {})
    for action in decision.actions if decision else ():
        if isinstance(action, WriteStatus):
            status = action.status
    spec = {} if isinstance(observed.spec, InvalidSpec) else observed.spec.to_json()
    return {"kind": kind, "metadata": {"name": observed.metadata.name, "generation": 1}, "spec": spec, "status": status}


def schedule_after(observed: ScheduleObserved) -> Body:
    return stored("RetrainSchedule", observed, schedule_rules.decide(observed, NOW))


def run_after(observed: RunObserved) -> Body:
    return stored("RetrainJob", observed, run_rules.decide(observed, NOW))


def edited(body: Body) -> Body:
    """The same, after an edit that no operator has looked at."""
    return body | {"metadata": body["metadata"] | {"generation": 2}}


TWICE_FAILED = schedule_status(consecutive_failures=2)
HELD = GuardObserved(GuardState.HELD, holder="churn-29540000")
STATES = [
    pytest.param(stored("RetrainSchedule", new_schedule(), None), "Progressing", "inProgress", id="schedule: new"),
    pytest.param(schedule_after(new_schedule()), "Healthy", "current", id="schedule: accepted"),
    pytest.param(edited(schedule_after(new_schedule())), "Progressing", "inProgress", id="schedule: edited, not looked at"),
    pytest.param(schedule_after(new_schedule(suspend=True)), "Suspended", "current", id="schedule: suspended"),
    pytest.param(schedule_after(new_schedule(schedule="0 0 31 2 *")), "Degraded", "failed", id="schedule: never matches"),
    pytest.param(
        schedule_after(schedule(status=TWICE_FAILED, suspend_after_failures=2)), "Degraded", "failed", id="schedule: paused after failures"
    ),
    pytest.param(
        schedule_after(schedule(ended("10:00", "10:05"), status=schedule_status())), "Healthy", "current", id="schedule: with a run"
    ),
    pytest.param(stored("RetrainJob", run(), None), "Progressing", "inProgress", id="run: new"),
    pytest.param(run_after(run(suspend=True)), "Suspended", "inProgress", id="run: held by spec.suspend"),
    pytest.param(run_after(run(job=job_state(suspended=True, start_time=None))), "Progressing", "inProgress", id="run: queued"),
    pytest.param(run_after(run(job=job_state(ready=1))), "Progressing", "inProgress", id="run: running"),
    pytest.param(run_after(run(job=job_ended(), pod=pod_end())), "Healthy", "current", id="run: completed"),
    pytest.param(run_after(run(job=job_failed(), pod=pod_end(4, failed()))), "Degraded", "failed", id="run: failed"),
    pytest.param(run_after(seen(run(), guard=HELD)), "Healthy", "current", id="run: skipped by the guard"),
]


def health(body: Body) -> Body:
    """Argo CD's answer: status and message."""
    script = ARGOCD[f"resource.customizations.health.retrain.dev_{body['kind']}"]
    return dict(_lua(script, body))


@pytest.mark.parametrize(("body", "argocd", "flux"), STATES)
def test_argocd_health(body: Body, argocd: str, flux: str) -> None:
    told = health(body)
    assert told["status"] == argocd
    assert told["message"]


@pytest.mark.parametrize(("body", "argocd", "flux"), STATES)
def test_flux_health(body: Body, argocd: str, flux: str) -> None:
    # Flux asks in this order and takes the first that is true.
    states = (state for state in ("inProgress", "failed", "current") if _cel(FLUX[body["kind"]][state], body))
    assert next(states, None) == flux


def test_degraded_says_why() -> None:
    assert "2 runs" in health(schedule_after(schedule(status=TWICE_FAILED, suspend_after_failures=2)))["message"]
    assert health(run_after(run(job=job_failed(), pod=pod_end(4, failed()))))["message"] == "7 rows: at least 10 are needed"


ACTIONS = yaml.safe_load(ARGOCD["resource.customizations.actions.retrain.dev_RetrainSchedule"])


def act(name: str, body: Body) -> Any:
    return _lua(next(each["action.lua"] for each in ACTIONS["definitions"] if each["name"] == name), body)


DEPLOYING = {"spec": {"trainer": {"image": "trainer:1"}, "deploy": {"slot": "production"}}}
OFFERS = [
    pytest.param({}, {"resume", "rollback", "release"}, id="no deploys: nothing to roll back"),
    pytest.param({"suspend": True}, {"suspend", "rollback", "release"}, id="suspended"),
    pytest.param({"job_template": DEPLOYING}, {"resume"}, id="with deploys"),
]


@pytest.mark.parametrize(("spec", "disabled"), OFFERS)
def test_argocd_offers_what_makes_sense(spec: dict[str, Any], disabled: set[str]) -> None:
    offered = _lua(ACTIONS["discovery.lua"], schedule_after(new_schedule(**spec)))
    assert {name for name, action in offered.items() if action["disabled"]} == disabled
    assert set(offered) == {each["name"] for each in ACTIONS["definitions"]}


def test_argocd_actions_change_the_schedule_and_nothing_else() -> None:
    body = schedule_after(new_schedule())
    assert act("suspend", body)["spec"]["suspend"] is True
    assert act("resume", body)["spec"]["suspend"] is False
    for name, annotation in {"retrain-now": "requestedAt", "rollback": "rollbackRequestedAt", "release": "releaseRequestedAt"}.items():
        [(key, token)] = act(name, body)["metadata"]["annotations"].items()
        assert key == f"retrain.dev/{annotation}"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", token)


def _lua(script: str, obj: Body) -> Any:
    """What the script returns, with `obj` as Argo CD gives it: plain tables, nothing of Python's."""
    lua = LuaRuntime(register_eval=False, register_builtins=False, unpack_returned_tuples=True)
    lua.globals()["obj"] = lua.table_from(obj, recursive=True)
    return lua.execute(script)


def _cel(expression: str, body: Body) -> bool:
    environment = celpy.Environment()
    program = environment.program(environment.compile(expression))
    return bool(program.evaluate({name: json_to_cel(value) for name, value in body.items()}))
