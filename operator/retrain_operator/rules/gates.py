"""Whether a trained model may go live: each gate's verdict, from numbers. What is missing or is no number blocks.

Numbers are compared as the decimals that people read: 0.85 is better than 0.8 by 0.05, not by 0.04999999999999993.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from retrain_operator.api.contract import RunDetails
from retrain_operator.api.deploy import Deploy, Direction, Gate, GateVerdict, Verdict
from retrain_operator.api.slot import SlotRecord

_MINIMIZED = frozenset(
    {"mae", "mse", "rmse", "rmsle", "msle", "mape", "smape", "mase", "wape", "wmape", "logloss", "nll", "perplexity"}
    | {"brier", "brier_score", "ece", "loss", "error", "error_rate", "deviance"}
)
_MINIMIZED_ENDS = ("_error", "_loss", "_error_rate", "_deviance")


@dataclass(frozen=True, slots=True)
class _Comparison:
    """What minImprovement says: whether it passes, and why in words."""

    passed: bool
    message: str
    champion: Decimal | None = None
    improvement: Decimal | None = None


def verdicts(deploy: Deploy, result: RunDetails, current: SlotRecord | None) -> list[GateVerdict]:
    """One verdict for each gate, in their order. `current`: the slot's model at this moment."""
    return [_verdict(gate, deploy, result, current) for gate in deploy.gates]


def why_blocked(found: Sequence[GateVerdict]) -> str | None:
    """The comparisons that failed, in words; None when all gates passed."""
    return "; ".join(each.message for each in found if not each.passed) or None


def direction_of(gate: Gate) -> Direction:
    """As given, else by the metric's name; what stands behind an @, as in ndcg@20, does not matter."""
    if gate.direction is not None:
        return gate.direction
    name = gate.metric.lower().split("@")[0]
    is_minimized = name in _MINIMIZED or name.endswith(_MINIMIZED_ENDS)
    return Direction.MINIMIZE if is_minimized and not name.startswith("neg_") else Direction.MAXIMIZE


def _verdict(gate: Gate, deploy: Deploy, result: RunDetails, current: SlotRecord | None) -> GateVerdict:
    value, n = _number(result.metrics.get(gate.metric)), result.evaluation.n if result.evaluation else None
    if value is None:
        known = ", ".join(sorted(result.metrics)) or "none"
        missing = f"{gate.metric} is not in the result (its metrics: {known})"
        message = f"{gate.metric} has no value on the holdout" if gate.metric in result.metrics else missing
        return GateVerdict(metric=gate.metric, passed=False, message=message)
    checks: list[tuple[bool, str]] = []
    if gate.min_samples is not None:
        told = f"a holdout of {n}" if n is not None else "a holdout of unknown size"
        checks.append(_check(n is not None and n >= gate.min_samples, gate, told, "at least", str(gate.min_samples)))
    if gate.min is not None:
        checks.append(_check(value >= _decimal(gate.min), gate, _text(value), "at least", _text(_decimal(gate.min))))
    if gate.max is not None:
        checks.append(_check(value <= _decimal(gate.max), gate, _text(value), "at most", _text(_decimal(gate.max))))
    compared = _compared(gate, deploy, result, current, value)
    if compared is not None:
        checks.append((compared.passed, compared.message))
    failed = [message for passed, message in checks if not passed]
    return GateVerdict(
        metric=gate.metric,
        passed=not failed,
        value=float(value),
        champion=float(compared.champion) if compared and compared.champion is not None else None,
        improvement=float(compared.improvement) if compared and compared.improvement is not None else None,
        message="; ".join(failed or (message for _, message in checks)),
    )


def _check(passed: bool, gate: Gate, found: str, bound: str, wanted: str) -> tuple[bool, str]:
    return passed, f"{gate.metric}: {found} is {bound} {wanted}" if passed else f"{gate.metric}: {found} is not {bound} {wanted}"


def _compared(gate: Gate, deploy: Deploy, result: RunDetails, current: SlotRecord | None, value: Decimal) -> _Comparison | None:
    """With the slot's model, as the trainer scored it on the same holdout; None when the gate does not ask for it."""
    if gate.min_improvement is None:
        return None
    if current is None:
        passed = deploy.on_no_champion is Verdict.PASS
        return _Comparison(passed, f"{gate.metric}: the slot is empty, and onNoChampion is {deploy.on_no_champion}")
    champion, why = _champion(gate, result, current)
    if champion is not None and gate.relative and champion == 0:
        champion, why = None, "a share of the current model's value 0 means nothing: leave out relative"
    if champion is None:
        passed = deploy.on_incomparable is Verdict.PASS
        return _Comparison(passed, f"{gate.metric}: {why}, and onIncomparable is {deploy.on_incomparable}")
    direction = direction_of(gate)
    better_by = value - champion if direction is Direction.MAXIMIZE else champion - value
    wanted = _decimal(gate.min_improvement)
    needed = wanted * abs(champion) if gate.relative else wanted
    passed = better_by >= needed
    share = f" ({_text(wanted * 100)} %)" if gate.relative else ""
    message = (
        f"{gate.metric}: {_text(value)} against the current model's {_text(champion)} is {'better' if better_by >= 0 else 'worse'} by "
        f"{_text(abs(better_by))} ({direction}); {'as' if passed else 'but'} minImprovement {_text(needed)}{share} is asked for"
    )
    return _Comparison(passed, message, champion, better_by)


def _champion(gate: Gate, result: RunDetails, current: SlotRecord) -> tuple[Decimal | None, str]:
    """The current model's value on the new one's holdout, or why there is none."""
    scored = result.champion
    if scored is None or scored.sha256 is None:
        return None, "the trainer has not scored the current model on the same holdout"
    if scored.sha256 != current.sha256:
        return None, f"the trainer scored the model {scored.sha256[:12]}, but by now {current.sha256[:12]} is current"
    value = _number(scored.metrics.get(gate.metric))
    return value, "" if value is not None else "the current model has no value on the holdout"


def _number(value: float | None) -> Decimal | None:
    return _decimal(value) if value is not None and math.isfinite(value) else None


def _decimal(value: float) -> Decimal:
    return Decimal(repr(value))


def _text(value: Decimal) -> str:
    """At most nine significant digits; exact where they are enough."""
    return f"{value:.9g}" if len(value.normalize().as_tuple().digits) > 9 else f"{value.normalize():f}"
