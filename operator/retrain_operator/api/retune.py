"""Retuning: that a run searches for its model's parameters, how long, and by which metric."""

from typing import Annotated, Literal

from pydantic import Field, StrictInt

from retrain_operator.api.base import Rule, SpecModel

_STORAGE = Rule.pattern(
    "(file:/)?/[^?#]*",
    "name a folder on a volume that outlives the pod, e.g. file:///tuning, and mount it with trainer.volumes and volumeMounts",
)


class Retune(SpecModel):
    """A search for the parameters of the model, before it is trained with the best ones. What config gives is the first trial."""

    trials: StrictInt = Field(50, ge=1, le=1000, description="How many parameters are tried.")
    timeout_seconds: StrictInt | None = Field(
        None, ge=1, le=2**31 - 1, description="No trial is started after this long; activeDeadlineSeconds must leave room for it."
    )
    metric: Annotated[str, Rule.pattern("[A-Za-z0-9_@.-]+", "write the name of one metric, e.g. roc_auc")] | None = Field(
        None, max_length=63, description="Metric that the search is about, e.g. roc_auc; the first of the trainer's when absent."
    )
    direction: Literal["Maximize", "Minimize"] | None = Field(
        None, description="What is better; need not be given for the metrics that the default trainer knows."
    )
    storage: Annotated[str, _STORAGE] | None = Field(
        None,
        max_length=1024,
        description="Folder where trials are kept until the run has trained, so that another attempt goes on with them, e.g. file:///tuning.",
    )
