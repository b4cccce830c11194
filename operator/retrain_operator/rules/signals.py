"""What one evaluation of a drift policy makes of each signal: its value, its row of breaches, and whether it fires.

A signal that cannot be read never fires. Its row of breaches stays as it is: neither that evaluation nor one that was missed counts, and
neither breaks the row. So "three in a row" is three that could be read, with none between them that was in order.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from retrain_operator.api.base import ObjectMeta
from retrain_operator.api.policy import Policy, Signal, SignalState, Threshold
from retrain_operator.api.schedule import LastTrained
from retrain_operator.rules.observed import Reading, Readings

NAMED_METRICS_MAX = 8  # in a message


@dataclass(frozen=True, slots=True)
class Judged:
    """Every signal of a policy at one evaluation."""

    states: tuple[SignalState, ...]
    reasons: tuple[str, ...]  # a sentence for each that fires
    metrics: Mapping[str, float]
    thresholds: Mapping[str, Threshold]

    @property
    def unreadable(self) -> tuple[SignalState, ...]:
        return tuple(state for state in self.states if not state.readable)


def judge(
    policy: Policy, schedule: ObjectMeta, remembered: Sequence[SignalState], last_trained: LastTrained | None, readings: Readings
) -> Judged:
    """The signals at the evaluation `readings.slot`. A signal whose definition was edited begins anew."""
    known = {state.name: state for state in remembered}
    states, reasons, metrics = [], [], {}
    thresholds = {signal.name: _threshold(signal) for signal in policy.signals}
    for signal in policy.signals:
        before = recall(known, signal) or SignalState(name=signal.name, definition=_definition(signal))
        reading = _reading(signal, schedule, last_trained, readings)
        if reading.value is None:
            states.append(before.model_copy(update={"readable": False, "message": reading.problem}))
            continue
        metrics[signal.name] = reading.value
        beyond = _beyond(reading.value, thresholds[signal.name])
        breaches = before.breaches + 1 if beyond else 0
        states.append(
            before.model_copy(
                update={"value": reading.value, "time": readings.slot, "breaches": breaches, "readable": True, "message": None}
            )
        )
        if beyond and breaches >= signal.for_checks:
            in_a_row = f" at {breaches} evaluations in a row" if signal.for_checks > 1 else ""
            what = f"the model's age of {reading.value:.0f} s" if signal.staleness else f"{reading.value:.6g}"
            reasons.append(f"{signal.name}: {what} is {beyond}{in_a_row}")
    return Judged(tuple(states), tuple(reasons), metrics, thresholds)


def recall(known: Mapping[str, SignalState], signal: Signal) -> SignalState | None:
    """What is remembered of the signal as it is defined now."""
    before = known.get(signal.name)
    return before if before is not None and before.definition == _definition(signal) else None


def _definition(signal: Signal) -> str:
    return hashlib.sha256(json.dumps(signal.to_json(), sort_keys=True).encode()).hexdigest()[:12]


def _threshold(signal: Signal) -> Threshold:
    return Threshold(above=signal.staleness.max_age_seconds) if signal.staleness else Threshold(above=signal.above, below=signal.below)


def _beyond(value: float, threshold: Threshold) -> str:
    if threshold.above is not None and value > threshold.above:
        return f"above {threshold.above:.6g}"
    return f"below {threshold.below:.6g}" if threshold.below is not None and value < threshold.below else ""


def _reading(signal: Signal, schedule: ObjectMeta, last: LastTrained | None, readings: Readings) -> Reading:
    if signal.staleness is not None:
        return Reading(_age_s(last.completion_time if last else schedule.creation_timestamp, readings.slot))
    if signal.last_run is None:
        return readings.values.get(signal.name) or Reading(None, "it was not read")
    if last is None:
        return Reading(None, "no run has trained a model yet")
    metrics, wanted = last.metrics or {}, signal.last_run.metric
    if wanted in metrics:
        return Reading(metrics[wanted])
    there = ", ".join(list(metrics)[:NAMED_METRICS_MAX]) or "no metric"
    return Reading(None, f"RetrainJob {last.run} has no metric {wanted}; it has {there}")


def _age_s(since: datetime, slot: datetime) -> float:
    return max(0.0, (slot - since).total_seconds())
