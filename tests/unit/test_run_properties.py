"""What holds of runs whatever happens to them: random histories of runs, failures, lost answers, crashes and people, in virtual time.

Two operators at once, without election, each killed and started at random. An observer that sees every write of a Job, not only what the
operator sees, keeps the account.
"""

import json
import random
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import pytest
from tests.builders import NOW
from tests.unit.troubled_operator import troubled_operator

from retrain_operator.api.names import ANNOTATION_HOLDER, LABEL_GUARD, LABEL_GUARD_KEY, Key
from retrain_operator.clock import VirtualClock, run_virtual
from retrain_operator.cluster.history import Change
from retrain_operator.cluster.memory import MemoryCluster
from retrain_operator.cluster.protocol import JOBS, LEASES, RUNS, SCHEDULES, AlreadyExists, Body, Resource, Unavailable
from retrain_operator.embedded.admission import ADMISSION
from retrain_operator.embedded.job_status import is_finished as job_is_finished
from retrain_operator.embedded.jobs import JobController
from retrain_operator.embedded.operator import operating
from retrain_operator.embedded.runners import Outcome, PodStuck, ScriptedPods

HISTORIES = 16
EPISODE = timedelta(hours=1)  # of trouble; then everybody behaves
QUIET = timedelta(hours=6)  # longer than anything that may still be pending
ENDS = [(0, 12), (1, 3), (3, 3), (4, 2), (137, 1), (143, 2)]  # exit codes and their weights
FINAL = ("Completed", "Failed", "Skipped")


@dataclass
class Account:
    """What an observer of the API server has written down."""

    jobs: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # UIDs by that of the run
    going: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # names of unfinished Jobs by guard
    attempts: Counter[str] = field(default_factory=Counter)  # Jobs by the UID of the first attempt
    limits: dict[str, int] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)  # final phase by the run's UID
    alive: set[str] = field(default_factory=set)  # UIDs of runs
    unknown: set[str] = field(default_factory=set)  # of runs whose status does not tell of a Job
    violations: list[str] = field(default_factory=list)

    def job_changed(self, change: Change) -> None:
        body = change.after or change.before
        assert body is not None
        name, uid = body["metadata"]["name"], body["metadata"]["uid"]
        [owner] = body["metadata"]["ownerReferences"]
        if change.before is None and owner["uid"] in self.unknown:
            self.jobs[owner["uid"]].clear()  # a person deleted the first before any operator could write that there was one
        # Asked for before its run was deleted or had ended, it is ended at once.
        if change.before is None and owner["uid"] in self.alive and self.ended.get(owner["uid"]) not in FINAL:
            self.jobs[owner["uid"]].add(uid)
            if len(self.jobs[owner["uid"]]) > 1:
                self.violations.append(f"{name} has a second Job")
        guard = body["metadata"]["labels"].get(LABEL_GUARD)
        if guard is None:
            return
        if change.after is None or job_is_finished(change.after):
            self.going[guard].discard(name)
        else:
            self.going[guard].add(name)
            if len(self.going[guard]) > 1:
                self.violations.append(f"{sorted(self.going[guard])} at once")

    def run_changed(self, change: Change) -> None:
        if change.after is None:
            assert change.before is not None
            self.alive.discard(change.before["metadata"]["uid"])
            return
        uid, spec = change.after["metadata"]["uid"], change.after["spec"]
        if change.before is None:
            self.alive.add(uid)
            self.unknown.add(uid)
        if change.before is None and (spec.get("root") or {}).get("uid", uid) in self.alive:
            root = (spec.get("root") or {}).get("uid", uid)
            self.attempts[root] += 1
            self.limits[root] = spec["retry"]["limit"]
            if self.attempts[root] > self.limits[root] + 1:
                self.violations.append(f"{change.key.name} is one attempt too many")
        phase = change.after["status"].get("phase")
        if change.after["status"].get("jobName") is not None:
            self.unknown.discard(uid)
        if self.ended.setdefault(uid, phase) in FINAL and phase != self.ended[uid]:
            self.violations.append(f"{change.key.name} was {self.ended[uid]} and is {phase}")
        self.ended[uid] = phase


class Story:
    """One history, drawn from a seed."""

    def __init__(self, clock: VirtualClock, seed: int) -> None:
        self.clock = clock
        self.draw = random.Random(seed)
        self.trouble = True
        self.account = Account()
        self.cluster = MemoryCluster(
            clock.now,
            admission=ADMISSION,
            latency_s=lambda: self.draw.choice([0.001, 0.01, 0.2]) if self.trouble else 0.001,
            before_write=self._maybe_lost,
            after_write=self._maybe_lost,
        )
        self.store = self.cluster.store
        self.store.history(JOBS).listeners.append(self.account.job_changed)
        self.store.history(RUNS).listeners.append(self.account.run_changed)

    def _maybe_lost(self, method: str, resource: Resource, key: Key) -> None:
        if self.trouble and self.draw.random() < 0.08:
            raise Unavailable(f"{method} {resource.kind} {key}: no answer")

    def pod(self, pod: Body) -> Outcome:
        environment = {each["name"]: each.get("value") for each in pod["spec"]["containers"][0]["env"]}
        if self.draw.random() < 0.05:
            raise PodStuck("ErrImagePull", "no such image")
        [code] = self.draw.choices([code for code, _ in ENDS], [weight for _, weight in ENDS])
        artifact = {"uri": "s3://m/x", "sha256": "0" * 64}
        answer = {"schema": "retrain/v1", "runId": environment["RETRAIN_RUN_ID"], "attempt": 1, "mode": "Execute", "outcome": "trained"}
        message = json.dumps(answer | {"metrics": {"a": 1}, "artifact": artifact}) if code == 0 else ""
        return Outcome(self.draw.choice([0.5, 5, 60, 400]), code, message, stops_after_s=self.draw.choice([0, 2, 20]))

    # What people do, on the store itself: faults are for the operator.

    def _names(self, resource: Resource) -> list[Key]:
        return [Key(each["metadata"]["namespace"], each["metadata"]["name"]) for each in self.store.list(resource).items]

    def make_run(self, number: int) -> None:
        existing = [key.name for key in self._names(RUNS)]
        spec: Body = {
            "trainer": {"image": "t"},
            "retry": {"limit": self.draw.choice([0, 1, 2]), "baseSeconds": self.draw.choice([1, 30, 300]), "jitter": 0.5},
            "pendingDeadlineSeconds": self.draw.choice([30, 300]),
        }
        metadata: Body = {"name": f"hand-{number}"}
        kind = self.draw.choice(["schedule", "schedule", "label", "label", "none"])
        if kind == "schedule":
            spec["schedule"] = "churn"
        elif kind == "label":
            metadata["labels"] = {LABEL_GUARD_KEY: "shared"}
        if self.draw.random() < 0.3:
            spec["window"] = "2025-26"
        if existing and self.draw.random() < 0.25:
            spec["replaces"] = self.draw.choice(existing)
        if self.draw.random() < 0.1:
            spec["suspend"] = True
        if self.draw.random() < 0.15:
            spec["queueName"] = "gpus"
        if self.draw.random() < 0.2:
            spec["ttlSecondsAfterFinished"] = self.draw.choice([0, 60])
        if self.draw.random() < 0.1:
            spec["activeDeadlineSeconds"] = 100
        created = self.store.create(RUNS, "ml", {"metadata": metadata, "spec": spec})
        assert not isinstance(created, AlreadyExists)

    def meddle(self) -> None:
        """A person deletes or releases something."""
        resource = self.draw.choice([RUNS, RUNS, JOBS, LEASES, LEASES])
        keys = self._names(resource)
        if resource is LEASES:  # not in the moment between taking the guard and making the Job: nothing could tell then
            jobs = {key.name for key in self._names(JOBS)}
            keys = [key for key in keys if (self.store.get(LEASES, key) or {})["metadata"]["annotations"][ANNOTATION_HOLDER] in jobs]
        if keys and self.draw.random() < 0.5:
            self.store.delete(resource, self.draw.choice(keys), foreground=resource is not LEASES and self.draw.random() < 0.3)
        self.admit(0.5)

    def admit(self, share: float) -> None:
        """What Kueue does, and people who release what they held."""
        for resource in (RUNS, JOBS):
            for key in self._names(resource):
                body = self.store.get(resource, key)
                if body is not None and body["spec"].get("suspend") and self.draw.random() < share:
                    self.store.update(resource, key, lambda old: {**old, "spec": {**old["spec"], "suspend": False}})

    async def tell(self) -> None:
        schedule = {
            "schedule": "*/7 * * * *",
            "window": "2025-26",
            "jobTemplate": {"spec": {"trainer": {"image": "t"}, "retry": {"limit": 1, "baseSeconds": 20}, "pendingDeadlineSeconds": 60}},
        }
        self.store.create(SCHEDULES, "ml", {"metadata": {"name": "churn"}, "spec": schedule})
        operator = partial(troubled_operator, self.cluster, self.clock, self.draw, down_s=(0, 1, 120))
        async with JobController(self.cluster, ScriptedPods(self.pod, self.clock), self.clock):
            async with operator(), operator():
                end = self.clock.now() + EPISODE
                number = 0
                while self.clock.now() < end:
                    for _ in range(self.draw.choice([0, 1, 1, 3])):
                        self.make_run(number)
                        number += 1
                    self.meddle()
                    await self.clock.sleep(self.draw.choice([0, 1, 30, 200]))
            self.trouble = False
            self.store.update(SCHEDULES, Key("ml", "churn"), lambda old: {**old, "spec": {**old["spec"], "suspend": True}})
            async with operating(self.cluster, self.clock):
                for _ in range(QUIET // timedelta(minutes=10)):
                    self.admit(1.0)
                    await self.clock.sleep(600)
                self.writes_at_rest = self.store.version
                await self.clock.sleep(3600)
                self.writes_at_rest = self.store.version - self.writes_at_rest


def told(seed: int) -> Story:
    async def main(clock: VirtualClock) -> Story:
        story = Story(clock, seed)
        await story.tell()
        return story

    return run_virtual(main, NOW)


@pytest.mark.parametrize("seed", range(HISTORIES))
def test_whatever_happens(seed: int) -> None:
    story = told(seed)
    assert story.account.violations == [], "never two at once of one guard, never a run's Job twice, never an attempt too many"
    unfinished = {
        run["metadata"]["name"]: run["status"]
        for run in story.store.list(RUNS).items
        if run["status"]["phase"] not in FINAL or not run["status"].get("nextAttempt", {"made": True})["made"]
    }
    assert unfinished == {}, "every run reaches its end"
    assert [job["metadata"]["name"] for job in story.store.list(JOBS).items if not job_is_finished(job)] == []
    assert story.writes_at_rest == 0, "what has ended is left alone"
    alive = {each["metadata"]["uid"] for resource in (SCHEDULES, RUNS) for each in story.store.list(resource).items}
    orphans = [
        each["metadata"]["name"]
        for resource in (JOBS, LEASES)
        for each in story.store.list(resource).items
        if not any(owner["uid"] in alive for owner in each["metadata"].get("ownerReferences") or ())
    ]
    assert orphans == []
