"""Histories made by hand, for the oracle's own tests: each write is one version later and one second later than the one before."""

import json
from datetime import UTC, datetime
from typing import Any

from tests.faults.history import Body, History, Version
from tests.faults.oracle import Evidence, violations

FLOOR = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = datetime(2026, 3, 2, 12, 30, tzinfo=UTC)
TICK = "2026-03-02T12:00:00Z"
SUCCEEDED = {"conditions": [{"type": "Complete", "status": "True"}]}
ANSWER = '{"outcome": "trained"}'


class Story:
    """A schedule that is due daily at noon, with one tick to account for; what happens is told step by step."""

    def __init__(self, **spec: Any) -> None:
        self.history = History()
        self._version = 0
        self.schedule = self.put("retrainschedules", "churn", spec={"schedule": "0 12 * * *", **spec}, status={"observedGeneration": 1})

    def put(self, resource: str, name: str, uid: str = "", owner: Body | None = None, *, deleted: bool = False, **fields: Any) -> Body:
        """The object as it is from now on; what is not given stays as it was."""
        self._version += 1
        uid = uid or f"{resource}-{name}"
        before = self.history.lives[uid].last if uid in self.history.lives else {"metadata": {"name": name, "generation": 1}}
        metadata = {**before["metadata"], "namespace": "ml", "uid": uid, "resourceVersion": str(self._version)}
        if owner is not None:
            reference = {"kind": "Owner", "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"], "controller": True}
            metadata["ownerReferences"] = [reference]
        body = {**before, **fields, "metadata": metadata}
        self.history.add(resource, Version(self._version, float(self._version), body, deleted))
        return body

    def run(self, name: str = "churn-1", uid: str = "", tick: str = TICK, **fields: Any) -> Body:
        """A run of the schedule's tick."""
        spec = {"schedule": "churn", "trigger": "Schedule", "scheduledTime": tick}
        return self.put("retrainjobs", name, uid, self.schedule, **{"spec": spec, **fields})

    def job(self, run: Body, uid: str = "", **fields: Any) -> Body:
        return self.put("jobs", run["metadata"]["name"], uid, run, **fields)

    def finish(self, run: Body, job: Body) -> None:
        """The pod answers, the Job is complete, the run and the schedule say so."""
        name = run["metadata"]["name"]
        ended = {"containerStatuses": [{"state": {"terminated": {"exitCode": 0, "message": ANSWER}}}]}
        self.put("pods", name, f"pod-{job['metadata']['uid']}", job, status=ended)
        self.put("jobs", name, job["metadata"]["uid"], status=SUCCEEDED)
        status = {"phase": "Completed", "jobName": name, "completionTime": TICK}
        self.put("retrainjobs", name, run["metadata"]["uid"], status=status)
        self.put("retrainschedules", "churn", status={"observedGeneration": 1, "lastSuccessfulTime": TICK})

    def model(self, name: str, sha256: str, *, deployed: str = "True", **spec: Any) -> Body:
        """A run by hand that trained this model and says whether it is live."""
        trained = {"outcome": "trained", "metrics": {"auc": 0.9}, "data": {"version": "v1"}}
        self.run(name, spec={"schedule": "churn", "trigger": "Manual", "deploy": {"slot": "live"}, **spec})
        result = trained | {"artifact": {"uri": f"file:///{sha256}", "sha256": sha256}}
        told = [{"type": "Deployed", "status": deployed}]
        return self.put("retrainjobs", name, status={"phase": "Completed", "completionTime": TICK, "result": result, "conditions": told})

    def swap(self, run: Body, **other: str) -> None:
        """The slot has the run's model. other: what its plain keys say instead."""
        artifact = run["status"]["result"]["artifact"]
        data = {**artifact, "run": run["metadata"]["name"]}
        targets = run["spec"]["deploy"].get("targets", [])
        record = {"current": {**data, "runUid": run["metadata"]["uid"], "targets": targets}}
        self.put("configmaps", "churn-live", data={**data, **other, "slot.json": json.dumps(record)})
        self.history.lives["configmaps-churn-live"].last["metadata"]["labels"] = {"retrain.dev/slot": "live"}

    def target(self, sha256: str, *, ready: bool = True) -> None:
        """Deployment api shows this model, and its pods serve it or never do."""
        template = {"metadata": {"annotations": {"retrain.dev/model-sha256": sha256}}}
        pods = {"replicas": 1, "updatedReplicas": int(ready), "availableReplicas": 1, "observedGeneration": 1}
        self.put("deployments", "api", spec={"replicas": 1, "template": template}, status=pods)

    def passes(self, seconds: int) -> None:
        """Time, in which other things happen."""
        for _ in range(seconds):
            self.put("pods", "other")

    def ask_for_rollback(self, token: str) -> None:
        self.put("retrainschedules", "churn")["metadata"]["annotations"] = {"retrain.dev/rollbackRequestedAt": token}

    def broken(self, **evidence: Any) -> set[str]:
        """Rules that the oracle finds broken."""
        return {each.rule for each in violations(Evidence(self.history, NOW, floors={"churn": FLOOR}, **evidence))}
