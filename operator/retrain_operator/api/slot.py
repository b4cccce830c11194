"""The record of a slot, as `slot.json` in its ConfigMap: what is live, what was before, and what holds automatic deploys."""

from pydantic import Field

from retrain_operator.api.base import ApiModel, Time
from retrain_operator.api.deploy import Target

HANDLED_MAX = 40  # requests that are remembered, so that none acts twice


class SlotRecord(ApiModel):
    """One model that is, or was, the slot's current one."""

    run: str = Field(description="Name of the RetrainJob.")
    run_uid: str = Field(description="UID of the RetrainJob.")
    uri: str = Field(description="Where the artifact lies.")
    sha256: str = Field(description="The trust anchor: nothing else may be loaded.")
    order: str = Field(description="Age of its run: of two, the greater text is of the newer run.")
    deployed_at: Time = Field(description="When it last became current.")
    weight: int = Field(100, description="Share of the traffic in per cent.")
    metrics: dict[str, float | None] = Field(default_factory=dict, description="Metrics on the holdout.")
    data_version: str | None = Field(None, description="Version of the data that it was trained on.")
    targets: list[Target] = Field(default_factory=list, description="What it was rolled out to.")


class Hold(ApiModel):
    """After a rollback: no run goes live that may bring back what was rolled back."""

    since: Time = Field(description="Since when.")
    by: str = Field(description="What asked for the rollback.")
    data_versions: list[str | None] = Field(description="Versions of the data of the models that were rolled back; null: unknown.")
    sha256s: list[str] = Field(description="The models that were rolled back.")


class Rollback(ApiModel):
    """The last rollback."""

    by: str = Field(description="What asked for it: request/<token>, or run/<name> whose rollout was not complete in time.")
    time: Time = Field(description="When.")
    away_from: SlotRecord | None = Field(None, description="The model that was rolled back; absent when there was none to go back to.")
    to_run: str | None = Field(None, description="RetrainJob whose model became current again.")
    to_sha256: str | None = Field(None, description="sha256 of that model.")
    why: str | None = Field(None, description="What was not complete in time; absent when somebody asked for it.")


class Slot(ApiModel):
    """The whole record."""

    serial: int = Field(0, description="How often the current model has changed.")
    newest_order: str = Field("", description="Age of the newest run that was ever current: no older one becomes current, but by rollback.")
    current: SlotRecord | None = Field(None, description="The model that is live.")
    previous: list[SlotRecord] = Field(default_factory=list, description="The models before, newest first.")
    hold: Hold | None = Field(None, description="What holds automatic deploys.")
    rollback: Rollback | None = Field(None, description="The last rollback.")
    handled: list[str] = Field(default_factory=list, description="Requests that were acted on, newest first.")
