"""When a trained model goes live: gates, the slot that it is written to, and what is rolled out. And how that went."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StrictBool, StrictInt

from retrain_operator.api.base import ApiModel, Rule, SpecModel, Time

GATES_MAX = 16
TARGETS_MAX = 4


class Direction(StrEnum):
    """Which values of a metric are better."""

    MAXIMIZE = "Maximize"
    MINIMIZE = "Minimize"


class Verdict(StrEnum):
    """What a gate says where it has nothing to compare with."""

    PASS = "Pass"
    BLOCK = "Block"


class TargetKind(StrEnum):
    """What can be rolled out."""

    DEPLOYMENT = "Deployment"
    INFERENCE_SERVICE = "InferenceService"


class Gate(SpecModel):
    """What one metric must show before a model goes live. Numbers are compared as the decimals that people read."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.min) || has(self.max) || has(self.minImprovement) || has(self.minSamples)",
            "say what the metric must show: set min, max, minImprovement or minSamples",
            lambda gate: (gate.min, gate.max, gate.min_improvement, gate.min_samples) != (None, None, None, None),
        ),
        Rule(
            "!has(self.min) || !has(self.max) || self.min <= self.max",
            "set min to at most max: no value passes otherwise",
            lambda gate: gate.min is None or gate.max is None or gate.min <= gate.max,
        ),
        Rule(
            "!has(self.relative) || !self.relative || has(self.minImprovement)",
            "set minImprovement beside relative, e.g. minImprovement: 0.01 for one per cent",
            lambda gate: not gate.relative or gate.min_improvement is not None,
        ),
    )

    metric: str = Field(min_length=1, max_length=63, description="Name of the metric in the run's result, e.g. roc_auc.")
    direction: Direction | None = Field(
        None,
        description="Which values are better. When absent: Minimize for the known errors and losses (mae, rmse, log_loss, brier, "
        "wape, names that end in _error or _loss and do not start with neg_), else Maximize.",
    )
    min: float | None = Field(None, description="The least value that passes.")
    max: float | None = Field(None, description="The greatest value that passes.")
    min_improvement: float | None = Field(
        None,
        description="By how much it must be better than the slot's current model on the same holdout; 0: not worse; "
        "negative: by so much it may be worse.",
    )
    relative: StrictBool = Field(False, description="minImprovement is a share of the current model's value: 0.01 is one per cent.")
    min_samples: StrictInt | None = Field(None, ge=1, le=2**31 - 1, description="The least size of the holdout.")


class Target(SpecModel):
    """What is rolled out when the slot's model changes. It must opt in, by the annotation `retrain.dev/deploy-from: <schedule>`."""

    kind: TargetKind = Field(
        description="Deployment: its pod template is annotated, which restarts it. InferenceService (KServe): its storageUri is set."
    )
    name: Annotated[
        str,
        Field(max_length=253),
        Rule.pattern("[a-z0-9]([a-z0-9.-]*[a-z0-9])?", "write the name of an object in the run's namespace, e.g. churn-api"),
    ] = Field(description="Its name, in the run's namespace.")


class Deploy(SpecModel):
    """Let the trained model go live: when all gates pass it becomes the slot's current model, and the targets are rolled out."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.autoRollback) || !self.autoRollback || has(self.targets) && size(self.targets) > 0",
            "name targets beside autoRollback: it acts when their rollout is not complete in time",
            lambda deploy: not deploy.auto_rollback or deploy.targets,
        ),
    )

    slot: Annotated[
        str,
        Field(max_length=63),
        Rule.pattern("[a-z0-9]([a-z0-9-]*[a-z0-9])?", "write lowercase letters, digits and '-', e.g. production"),
    ] = Field(description="Name of the slot. Its record is the ConfigMap <schedule>-<slot> in the run's namespace.")
    weight: StrictInt = Field(100, ge=0, le=100, description="Share of the traffic in per cent, written to the slot for whoever serves.")
    gates: list[Gate] = Field(default_factory=list, max_length=GATES_MAX, description="All must pass. None: every trained model goes live.")
    on_no_champion: Verdict = Field(Verdict.PASS, description="What minImprovement says while the slot is empty.")
    on_incomparable: Verdict = Field(
        Verdict.BLOCK,
        description="What minImprovement says when the trainer has not scored the slot's current model on the same holdout.",
    )
    targets: list[Target] = Field(default_factory=list, max_length=TARGETS_MAX, description="What is rolled out.")
    rollout_timeout_seconds: StrictInt = Field(
        600, ge=10, le=86_400, description="A rollout that takes longer has failed: Deployed=False, reason RolloutTimeout."
    )
    auto_rollback: StrictBool = Field(False, description="Restore the slot's previous model when the rollout is not complete in time.")
    history_limit: StrictInt = Field(5, ge=1, le=20, description="How many previous models the slot remembers.")


class DeploymentState(StrEnum):
    """Where the deployment of a run's model stands."""

    PENDING = "Pending"
    ROLLING_OUT = "RollingOut"
    DEPLOYED = "Deployed"
    BLOCKED = "Blocked"
    HELD = "Held"
    SUPERSEDED = "Superseded"
    FAILED = "Failed"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"

    @property
    def is_decided(self) -> bool:
        """Nothing is left to do about it."""
        return self not in (DeploymentState.PENDING, DeploymentState.ROLLING_OUT, DeploymentState.ROLLING_BACK)


class GateVerdict(ApiModel):
    """What one gate said, with its numbers."""

    metric: str = Field(description="Name of the metric.")
    passed: bool = Field(description="Whether it passed.")
    value: float | None = Field(None, description="Value of the new model.")
    champion: float | None = Field(None, description="Value of the slot's current model on the same holdout.")
    improvement: float | None = Field(None, description="By how much the new model is better; negative: worse.")
    message: str = Field(description="The comparison in words: the one that failed, else those that passed.")


class TargetState(ApiModel):
    """How far one target is."""

    kind: TargetKind = Field(description="Deployment or InferenceService.")
    name: str = Field(description="Its name.")
    ready: bool = Field(description="Whether it was seen to serve the model, all of it.")
    message: str = Field("", description="What it waits for.")


class DeploymentStatus(ApiModel):
    """What became of the run's model."""

    slot: str = Field(description="Name of the slot.")
    config_map: str | None = Field(None, description="ConfigMap that is the slot's record.")
    state: DeploymentState = Field(
        description="Pending, RollingOut, Deployed, Blocked, Held, Superseded, Failed, RollingBack or RolledBack: how it ended; "
        "the slot's record says what is live now."
    )
    time: Time = Field(description="Since when.")
    message: str = Field("", description="Why, for people, and what to do.")
    gates: list[GateVerdict] = Field(default_factory=list, description="What each gate said.")
    previous_sha256: str | None = Field(None, description="sha256 of the model that it took the place of.")
    targets: list[TargetState] = Field(default_factory=list, description="How far each target is.")


class RollbackState(StrEnum):
    """Where a rollback stands."""

    ROLLING_OUT = "RollingOut"
    ROLLED_BACK = "RolledBack"
    IMPOSSIBLE = "Impossible"
    TIMED_OUT = "TimedOut"


class LastRollback(ApiModel):
    """What became of the last rollback that was asked for."""

    requested_at: str = Field(description="Token of the request.")
    state: RollbackState = Field(description="RollingOut, RolledBack, Impossible or TimedOut.")
    message: str = Field("", description="What happened and what to do.")
    time: Time = Field(description="When the slot's record was changed, or the request was refused.")
    run: str | None = Field(None, description="RetrainJob whose model is current again.")
    sha256: str | None = Field(None, description="sha256 of that model.")
