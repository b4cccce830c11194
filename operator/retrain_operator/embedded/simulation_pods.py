"""Pods of a simulation: they do no work, take as long as asked for, and some of them fail."""

import json
from collections.abc import Sequence
from random import Random
from typing import Any

from retrain_operator.api.contract import CONTRACT, Outcome
from retrain_operator.api.job import Mode
from retrain_operator.api.names import TRAINER_CONTAINER
from retrain_operator.cluster.protocol import Body
from retrain_operator.embedded import runners


class Chance:
    """Which runs fail: drawn in advance, so that one can look ahead."""

    def __init__(self, rate: float, seed: int) -> None:
        self._rate = rate
        self._random = Random(seed)
        self._drawn: list[bool] = []
        self.used = 0

    def next(self) -> bool:
        self.used += 1
        return self.between(self.used - 1, self.used)[0]

    def ahead(self, count: int) -> Sequence[bool]:
        return self.between(self.used, self.used + count)

    def between(self, first: int, last: int) -> Sequence[bool]:
        while len(self._drawn) < last:
            self._drawn.append(self._random.random() < self._rate)
        return self._drawn[first:last]


def outcome(pod: Body, takes_s: float, *, fails: bool) -> runners.Outcome:
    """A failure that may be tried again, or an answer that is good by the contract."""
    return runners.Outcome(takes_s, exit_code=1) if fails else runners.Outcome(takes_s, message=_answer(pod))


def _answer(pod: Body) -> str:
    container = next(each for each in pod["spec"]["containers"] if each["name"] == TRAINER_CONTAINER)
    environment = {each["name"]: each.get("value") for each in container["env"]}
    mode = environment["RETRAIN_MODE"]
    result: dict[str, Any] = {"schema": CONTRACT, "runId": environment["RETRAIN_RUN_ID"], "mode": mode}
    if mode == Mode.SIMULATE:
        return json.dumps(result | {"outcome": Outcome.SIMULATED})
    return json.dumps(result | {"outcome": Outcome.TRAINED, "artifact": {"uri": "simulated:", "sha256": "0" * 64}})
