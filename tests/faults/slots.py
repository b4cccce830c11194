"""What must hold of slots and of what goes live, worked out from runs, their specs, targets and the schedule's annotation alone. No I/O.

A run is newer than another when its first attempt was made later; the operator's own order of runs is not asked.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.faults.history import Body, History, Life, Version

LABEL_SLOT = "retrain.dev/slot"
ROLLBACK_AT = "retrain.dev/rollbackRequestedAt"
MODEL_SHA256 = "retrain.dev/model-sha256"
WHOLE_SECONDS_S = 2.0  # times of the API are whole seconds, and the observer's clock is another


def slots(history: History) -> list[Life]:
    """The ConfigMaps that are slots."""
    return [life for life in history.of("configmaps") if LABEL_SLOT in (life.last["metadata"].get("labels") or {})]


def out_of_order(history: History) -> Iterator[str]:
    """A slot goes to a newer run than it ever had, or back to the one before.

    Once for each request that was made by then, and away from each run whose rollout may be given up by then.
    """
    for slot in slots(history):
        stack: list[str] = []
        newest, backwards, swapped_at = -1, 0, 0.0
        for version in slot.versions:
            current = _record(version.body).get("current") or {}
            uid = current.get("runUid", "")
            if not current or (stack and stack[-1] == uid):
                continue
            age = _age(history, uid)
            if age > newest:
                stack, newest, swapped_at = [*stack, uid], age, version.at
                continue
            if stack[-2:-1] != [uid]:
                yield f"slot {slot.name} went back to {current['run']}, which was not the one before"
            elif not may_be_given_up(history, stack[-1], swapped_at, version):
                backwards += 1
                if backwards > len(_rollbacks(history, version.version)):
                    yield f"slot {slot.name} went back to {current['run']}, and nobody asked for it"
            stack = stack[: stack.index(uid) + 1] if uid in stack else [*stack, uid]


def not_one_record(history: History) -> Iterator[str]:
    """In every version of a slot all that it says is of one run that had been told Completed by then, and is what that run trained."""
    for slot in slots(history):
        for version in slot.versions:
            data, current = version.body["data"], _record(version.body).get("current") or {}
            plain = {name: data.get(name) for name in ("uri", "sha256", "run")}
            if plain != {name: current.get(name) for name in plain}:
                yield f"slot {slot.name} says {plain} beside a record of {current}"
            run = history.lives.get(current.get("runUid", ""))
            if run is None:
                yield f"slot {slot.name} has {current.get('run')}, which never was"
                continue
            known = [each.body.get("status") or {} for each in run.versions if each.version <= version.version]
            artifact = (known[-1].get("result") or {}).get("artifact") or {} if known else {}
            if not known or known[-1].get("phase") != "Completed":
                yield f"slot {slot.name} had {run.name} before it was Completed"
            elif (run.name, artifact.get("uri"), artifact.get("sha256")) != (data.get("run"), data.get("uri"), data.get("sha256")):
                yield f"slot {slot.name} says {plain}, but {run.name} trained {artifact}"


def not_live(history: History) -> Iterator[str]:
    """At the end the slot has what it must have, its run says so, every other run says why not, and targets show the slot's model."""
    expected = _expected(history)
    found = {slot.name: _record(slot.last).get("current") or {} for slot in slots(history) if not slot.is_gone}
    for name, models in expected.items():
        wanted = models.stack[-1] if models.stack else None
        current = found.get(name, {})
        if current.get("runUid") != (wanted.uid if wanted else None):
            yield f"slot {name} has {current.get('run')} and not {wanted.name if wanted else 'nothing'}"
        elif wanted is not None and _deployed(wanted) != "True":
            yield f"{wanted.name} is live in slot {name}, and says Deployed={_deployed(wanted)}"
        for run in models.refused:
            if _deployed(run) != "False":
                yield f"{run.name} may not go live in slot {name}, and says Deployed={_deployed(run)}"
        for target in history.living("deployments"):
            shown = _shown(target.last)
            if target.name in _targets(current) and shown != current.get("sha256"):
                yield f"Deployment {target.name} shows {shown}, and slot {name} has {current.get('sha256')}"


@dataclass(slots=True)
class _Models:
    """A slot as it must be."""

    stack: list[Life] = field(default_factory=list)
    newest: int = -1
    held: list[str] = field(default_factory=list)  # versions of the data of models that were rolled back
    refused: list[Life] = field(default_factory=list)


def _expected(history: History) -> dict[str, _Models]:
    """By name of the slot: every end of a run and every request for a rollback, one after another."""
    slots_: dict[str, _Models] = {}
    runs = [run for run in history.of("retrainjobs") if run.spec.get("deploy") and run.spec.get("schedule")]
    ends = [(end, run) for run in runs if (end := _completed(run)) is not None]
    asked = [(version, None) for version in _rollbacks(history)]
    for end, run in sorted([*ends, *asked], key=lambda step: step[0]):
        if run is None:
            for models in slots_.values():
                if len(models.stack) > 1:
                    models.held.append(_data(models.stack.pop()))
            continue
        models = slots_.setdefault(f"{run.spec['schedule']}-{run.spec['deploy']['slot']}", _Models())
        if (run.status.get("result") or {}).get("outcome") != "trained":
            continue
        age, before = _age(history, run.uid), models.stack[-1] if models.stack else None
        if age > models.newest and _data(run) not in models.held and _passes(run, before):
            models.stack.append(run)
            models.newest, models.held = age, []
            if before is not None and _rolls_back(run) and not any(_serve(history, run, each) for each in _moments(history, end)):
                models.held.append(_data(models.stack.pop()))
                models.refused.append(run)
        else:
            models.refused.append(run)
    return slots_


def _passes(run: Life, before: Life | None) -> bool:
    """The gates that scenarios use: min, and minImprovement over the model before."""
    result = run.status["result"]
    for gate in run.spec["deploy"].get("gates") or ():
        value = result["metrics"][gate["metric"]]
        if value < gate.get("min", value):
            return False
        if "minImprovement" in gate and before is not None:
            champion = result.get("champion") or {}
            if champion.get("sha256") != before.status["result"]["artifact"]["sha256"]:
                return False
            if value - champion["metrics"][gate["metric"]] < gate["minImprovement"]:
                return False
    return True


def may_be_given_up(history: History, uid: str, swapped_at: float, moment: Version) -> bool:
    """Whether the run's model may be taken back then: it asks for that, its time is over, and its targets do not serve it."""
    run = history.lives.get(uid)
    if run is None or not _rolls_back(run):
        return False
    is_late = moment.at - swapped_at >= run.spec["deploy"].get("rolloutTimeoutSeconds", 600) - WHOLE_SECONDS_S
    return is_late and not _serve(history, run, moment.version)


def _rolls_back(run: Life) -> bool:
    return bool(run.spec["deploy"].get("autoRollback") and run.spec["deploy"].get("targets"))


def _serve(history: History, run: Life, version: int) -> bool:
    """Whether all targets served the run's model then."""
    sha256, wanted = run.status["result"]["artifact"]["sha256"], _targets(run.spec["deploy"])
    now = {life.name: [each.body for each in life.versions if each.version <= version][-1:] for life in history.of("deployments")}
    return all(body and _shown(body[0]) == sha256 and is_rolled_out(body[0]) for body in (now.get(name) for name in wanted))


def _moments(history: History, since: int) -> Iterator[int]:
    """The versions at which a target changed."""
    return (each.version for life in history.of("deployments") for each in life.versions if each.version > since)


def is_rolled_out(deployment: Body) -> bool:
    """As `kubectl rollout status` means it."""
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")]
    return status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == [wanted] * 3


def _shown(deployment: Body) -> str | None:
    shown: str | None = (deployment["spec"]["template"]["metadata"].get("annotations") or {}).get(MODEL_SHA256)
    return shown


def _rollbacks(history: History, until: int | None = None) -> list[int]:
    """For each token that asks for a rollback, the version at which it was first there."""
    first: dict[str, int] = {}
    for schedule in history.of("retrainschedules"):
        for version in schedule.versions:
            token = (version.body["metadata"].get("annotations") or {}).get(ROLLBACK_AT)
            if token and (until is None or version.version <= until):
                first.setdefault(token, version.version)
    return sorted(first.values())


def _age(history: History, uid: str) -> int:
    """The version at which the run's first attempt was made; -1 when there is none."""
    run = history.lives.get(uid)
    root = history.lives.get((run.spec.get("root") or {}).get("uid", uid)) if run else None
    return root.created.version if root else -1


def _completed(run: Life) -> int | None:
    return next((each.version for each in run.versions if (each.body.get("status") or {}).get("phase") == "Completed"), None)


def _data(run: Life) -> str:
    return str((run.status["result"].get("data") or {}).get("version"))


def _deployed(run: Life) -> str | None:
    return next((each["status"] for each in run.status.get("conditions") or () if each["type"] == "Deployed"), None)


def _targets(record: Body) -> set[str]:
    return {target["name"] for target in record.get("targets") or ()}


def _record(body: Body) -> Body:
    record: Body = json.loads(body["data"]["slot.json"])
    return record
