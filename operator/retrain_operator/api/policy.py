"""The drift policy of a RetrainSchedule: which signals are watched, what is made of them, and what status tells of that."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StrictInt, field_validator

from retrain_operator.api.base import ApiModel, Rule, SpecModel, Time, list_map

SIGNALS_MAX = 16
RUNS_PER_DAY_MAX = 24  # their times stand in status
_SOURCES = ("config_map", "prometheus", "last_run", "staleness")

SignalName = Annotated[
    str,
    Field(max_length=63),
    Rule.pattern("[a-z0-9]([a-z0-9-]*[a-z0-9])?", "write a name of lower-case letters, digits and '-', e.g. feature-psi"),
]
ObjectName = Annotated[
    str,
    Field(max_length=253),
    Rule.pattern("[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "write the name of an object in the schedule's namespace"),
]
# As strict as a base URL can be: what is let through here is read by one parser only, and compared with the allow-list by its result.
PrometheusUrl = Annotated[
    str,
    Field(max_length=512),
    Rule.pattern(
        r"https?://([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\])(:[0-9]{1,5})?(/[A-Za-z0-9._~/-]*)?",
        "write the server's base URL, e.g. http://prometheus.monitoring:9090 or https://host/prefix: no user, query or fragment",
    ),
]


class KeyOf(SpecModel):
    """One key of a ConfigMap or Secret in the schedule's namespace."""

    name: ObjectName = Field(description="Name of the object.")
    key: str = Field(min_length=1, max_length=253, description="Key in its data.")


class PrometheusSource(SpecModel):
    """An instant query. The operator's administrator says which hosts may be asked: --prometheus-allow."""

    url: PrometheusUrl = Field(description="Base URL of a server with Prometheus' HTTP API. Redirects are not followed.")
    query: str = Field(min_length=1, max_length=4096, description="PromQL that gives a scalar, or a vector of exactly one sample.")
    timeout_seconds: StrictInt = Field(5, ge=1, le=30, description="No answer after this long: the signal cannot be read.")
    bearer_token_secret: KeyOf | None = Field(
        None, description='Token that is sent with the query. The Secret must carry the label retrain.dev/allow-read: "true".'
    )
    ca_config_map: KeyOf | None = Field(None, description="CA certificates (PEM) instead of the system's.")


class LastRunSource(SpecModel):
    """A metric of the last run that trained a model, as in status.lastTrained."""

    metric: str = Field(min_length=1, max_length=128, description="Name of the metric, e.g. roc_auc.")


class Staleness(SpecModel):
    """Age of the model: since the last run that trained one, or since the schedule's creation when none has."""

    max_age_seconds: StrictInt = Field(ge=1, le=2**31 - 1, description="A model older than this fires.")


class Signal(SpecModel):
    """One number that is watched, and the threshold beyond which it fires."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.configMap), has(self.prometheus), has(self.lastRun), has(self.staleness)].filter(given, given).size() == 1",
            "set exactly one of configMap, prometheus, lastRun and staleness",
            lambda signal: sum(getattr(signal, source) is not None for source in _SOURCES) == 1,
        ),
        Rule(
            "has(self.staleness) || has(self.above) || has(self.below)",
            "set above, below or both: without a threshold the signal never fires",
            lambda signal: signal.staleness is not None or signal.above is not None or signal.below is not None,
        ),
        Rule(
            "!has(self.staleness) || !(has(self.above) || has(self.below))",
            "staleness has maxAgeSeconds as its threshold: remove above and below",
            lambda signal: signal.staleness is None or (signal.above is None and signal.below is None),
        ),
        Rule(
            "!has(self.above) || !has(self.below) || self.below <= self.above",
            "set below no higher than above: the signal fires outside the two, and would always fire",
            lambda signal: signal.above is None or signal.below is None or signal.below <= signal.above,
        ),
    )

    name: SignalName = Field(description="Name of the signal in reasons, metrics and thresholds.")
    config_map: KeyOf | None = Field(None, description="A key of a ConfigMap that holds one number.")
    prometheus: PrometheusSource | None = Field(None, description="A Prometheus query.")
    last_run: LastRunSource | None = Field(None, description="A metric of the last trained run.")
    staleness: Staleness | None = Field(None, description="Age of the model.")
    above: float | None = Field(None, description="Fires when the value is higher than this.")
    below: float | None = Field(None, description="Fires when the value is lower than this.")
    for_checks: StrictInt = Field(
        1,
        ge=1,
        le=100,
        description="Fires at this many evaluations beyond the threshold in a row. "
        "One that was missed or could not read the signal neither counts nor breaks the row.",
    )


class PolicyMode(StrEnum):
    """What is done about a signal that fires."""

    RECOMMEND = "Recommend"
    EXECUTE = "Execute"


class Policy(SpecModel):
    """When drift asks for a run. Any signal that fires is enough."""

    mode: PolicyMode = Field(PolicyMode.RECOMMEND, description="Recommend: status.recommendation only. Execute: a run is made.")
    interval_seconds: StrictInt = Field(300, ge=10, le=86_400, description="Time between two evaluations.")
    cooldown_seconds: StrictInt = Field(
        3600, ge=0, le=2**31 - 1, description="No run by drift earlier than this after the last one by drift was made."
    )
    max_runs_per_day: StrictInt = Field(4, ge=1, le=RUNS_PER_DAY_MAX, description="Runs by drift within any 24 hours.")
    signals: list[Signal] = Field(min_length=1, max_length=SIGNALS_MAX, json_schema_extra=list_map("name"), description="What is watched.")

    @field_validator("signals")
    @classmethod
    def _names_differ(cls, signals: list[Signal]) -> list[Signal]:
        # The API server refuses duplicates by the list's type.
        if len({signal.name for signal in signals}) < len(signals):
            raise ValueError("Duplicate value: give each signal a name of its own")
        return signals

    @property
    def is_external(self) -> bool:
        """Whether any signal has to be read from outside the schedule."""
        return any(signal.config_map or signal.prometheus for signal in self.signals)


class Threshold(SpecModel):
    """Beyond what a signal fires."""

    above: float | None = Field(None, description="It fires when higher.")
    below: float | None = Field(None, description="It fires when lower.")


# Snapshots of why a run was made, by the signal's name.
Reasons = Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=SIGNALS_MAX + 1)]
Values = Annotated[Mapping[Annotated[str, Field(max_length=63)], float], Field(max_length=SIGNALS_MAX)]
Thresholds = Annotated[Mapping[Annotated[str, Field(max_length=63)], Threshold], Field(max_length=SIGNALS_MAX)]


class RecommendedAction(StrEnum):
    """What is recommended, or was done about it."""

    NONE = "none"
    RECOMMENDED = "recommended"
    QUEUED_RETRAIN = "queued-retrain"
    ALREADY_QUEUED = "already-queued"
    COOLDOWN = "cooldown"


class Recommendation(ApiModel):
    """What the drift policy, or without one a dry run, says should be done."""

    action: RecommendedAction = Field(
        description="none: nothing fires, or nothing is due. recommended: a run should be made, and none was. "
        "queued-retrain: a run was made. already-queued: one is unfinished. cooldown: one was made too lately, or too many today."
    )
    reasons: list[str] = Field(description="Why: of a policy, a sentence for each signal that fires; of a dry run, one CamelCase word.")
    metrics: dict[str, float] | None = Field(None, description="Value of each signal that could be read.")
    thresholds: dict[str, Threshold] | None = Field(None, description="Threshold of each signal.")
    evaluated_at: Time = Field(description="When it was decided.")
    job: str | None = Field(None, description="The RetrainJob that was made, that is unfinished, or that a dry run would have made.")


class SignalState(ApiModel):
    """What is remembered of a signal."""

    name: str = Field(description="Name of the signal.")
    definition: str = Field(description="Hash of the signal's definition: an edit of it begins a new row of breaches.")
    value: float | None = Field(None, description="Last value that could be read.")
    time: Time | None = Field(None, description="Evaluation that read it.")
    breaches: int = Field(0, description="Evaluations in a row that found it beyond its threshold.")
    readable: bool = Field(True, description="Whether the last evaluation could read it.")
    message: str | None = Field(None, description="Why it could not be read.")


class DriftRun(ApiModel):
    """A run that drift made lately."""

    name: str = Field(description="Name of the RetrainJob.")
    time: Time = Field(description="When it was made.")
