"""What every API model shares: camelCase JSON, frozen values, Kubernetes' time format, and CEL rules beside the field they guard."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, PlainSerializer
from pydantic.alias_generators import to_camel

from retrain_operator.api.names import Key


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(value: str) -> datetime:
    """Aware UTC datetime of an RFC 3339 string."""
    return datetime.fromisoformat(value).astimezone(UTC)


Time = Annotated[AwareDatetime, PlainSerializer(format_time, when_used="json-unless-none")]


class ApiModel(BaseModel):
    """A part of the API that tolerates fields it does not know: statuses, which a newer operator may have written."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """The JSON object as the API server stores it: camelCase, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class SpecModel(ApiModel):
    """A part of a spec. A field it does not know is an error, because it would be silently without effect."""

    model_config = ConfigDict(extra="forbid")


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """JSON schema extra of CEL rules, each (rule, message). The message tells the user what to do."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}


def list_map(key: str) -> dict[str, Any]:
    """JSON schema extra of a list merged by `key` under server-side apply."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


# An object of Kubernetes' own API, or of the trainer's, that passes through unread.
Opaque = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]


class Condition(ApiModel):
    """A condition as in metav1.Condition."""

    type: str
    status: str = Field(pattern="^(True|False|Unknown)$")
    reason: str
    message: str = ""
    observed_generation: int | None = None
    last_transition_time: Time


def unseen_status() -> dict[str, Any]:
    """Conditions of an object that no operator has looked at, filled in by the API server, so that nobody takes it for ready."""
    ready = Condition(
        type="Ready",
        status="Unknown",
        reason="Pending",
        message="no operator has looked at it yet",
        last_transition_time=datetime.fromtimestamp(0, UTC),
    )
    return {"conditions": [ready.to_json()]}


class ObjectMeta(ApiModel):
    """The fields of metadata that rules read."""

    namespace: str
    name: str
    uid: str
    resource_version: str = ""
    generation: int = 1
    creation_timestamp: Time
    deletion_timestamp: Time | None = None
    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)
