"""Who is told of what becomes of a run, beside the Kubernetes Events that tell it always."""

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StrictInt

from retrain_operator.api.base import ApiModel, Rule, SpecModel, Time, list_map
from retrain_operator.api.policy import KeyOf

WEBHOOKS_MAX = 8
TEMPLATE_MAX = 1024


class Occasion(StrEnum):
    """What is worth telling."""

    FAILED = "Failed"
    RECOVERED = "Recovered"
    COMPLETED = "Completed"
    SKIPPED = "Skipped"
    DEPLOYED = "Deployed"
    BLOCKED = "Blocked"
    DEPLOY_FAILED = "DeployFailed"
    ROLLED_BACK = "RolledBack"


class NotifyFormat(StrEnum):
    """What is sent."""

    CLOUD_EVENTS = "CloudEvents"
    SLACK = "Slack"


class Webhook(SpecModel):
    """One receiver: a POST for each occasion, repeated until it is accepted, for a day at most. It never delays a run."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.url) != has(self.urlFrom)",
            "set url, or urlFrom for a URL that is a secret as Slack's are",
            lambda webhook: (webhook.url is None) != (webhook.url_from is None),
        ),
    )

    name: Annotated[
        str,
        Field(min_length=1, max_length=40),
        Rule.pattern("[a-z0-9]([a-z0-9-]*[a-z0-9])?", "write lowercase letters, digits and '-', e.g. team-chat"),
    ] = Field(description="Name of the receiver, for status and events.")
    format: NotifyFormat = Field(
        NotifyFormat.CLOUD_EVENTS, description="CloudEvents: a structured CloudEvent 1.0 in JSON. Slack: a message that Slack understands."
    )
    url: (
        Annotated[
            str,
            Field(max_length=1024),
            Rule.pattern("https?://[^ ]+", "write a URL that begins with http:// or https://"),
        ]
        | None
    ) = Field(None, description="Where to. Its host must be one that the operator's administrator allows.")
    url_from: KeyOf | None = Field(None, description='Secret that holds the URL; it must carry the label retrain.dev/allow-read: "true".')
    bearer_token_from: KeyOf | None = Field(None, description="Secret, labelled likewise, that holds a token for the header Authorization.")
    occasions: list[Occasion] = Field(
        default_factory=lambda: [Occasion.FAILED, Occasion.RECOVERED, Occasion.BLOCKED, Occasion.DEPLOY_FAILED, Occasion.ROLLED_BACK],
        min_length=1,
        max_length=len(Occasion),
        description="What is told. Failed: the last attempt failed. Recovered: the first run that went well after a failed one. "
        "Blocked: a gate or a hold kept the model from going live.",
    )
    template: str | None = Field(
        None,
        max_length=TEMPLATE_MAX,
        description="The message, with $run, $schedule, $namespace, $occasion, $reason, $message, $metrics and $window in it. "
        "When absent: what happened to which run, its message and first metrics.",
    )
    timeout_seconds: StrictInt = Field(10, ge=1, le=30, description="How long the receiver may take to answer.")


class DeliveryState(StrEnum):
    """How a notification went."""

    SENT = "Sent"
    GIVEN_UP = "GivenUp"


class Delivery(ApiModel):
    """One notification that is done with. What is not here yet is still being sent."""

    webhook: str = Field(description="Name of the receiver.")
    occasion: Occasion = Field(description="What was told.")
    state: DeliveryState = Field(description="Sent, or GivenUp.")
    time: Time = Field(description="When.")
    message: str = Field("", description="Why it was given up.")


Notify = Annotated[list[Webhook], Field(max_length=WEBHOOKS_MAX, json_schema_extra=list_map("name"))]
