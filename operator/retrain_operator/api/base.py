"""What every API model shares: camelCase JSON, frozen values, Kubernetes' time format, and CEL rules beside the field they guard."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from retrain_operator.api.names import Key


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC with whole seconds, as metav1.Time."""
    return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_time(value: str) -> datetime:
    """Aware UTC datetime of an RFC 3339 string."""
    return datetime.fromisoformat(value).astimezone(UTC)


def _in_utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("it is out of range in UTC: write a time between the years 1 and 9999") from None


Time = Annotated[AwareDatetime, AfterValidator(_in_utc), PlainSerializer(format_time, when_used="json-unless-none")]
# As people may write it. An offset of more than a day passes as date-time, and then no CEL rule can read it: no status could be written.
GivenTime = Annotated[
    Time,
    Field(json_schema_extra={"pattern": "^[0-9-]{10}[Tt][0-9:]{8}([.][0-9]+)?([Zz]|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"}),
]


class ApiModel(BaseModel):
    """A part of the API that tolerates fields it does not know: statuses, which a newer operator may have written."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")

    def to_json(self) -> dict[str, Any]:
        """The JSON object as the API server stores it: camelCase, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)

    def given_json(self) -> dict[str, Any]:
        """The same without defaults: only what was given."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)


VALIDATIONS = "x-kubernetes-validations"


def cel(*rules: tuple[str, str]) -> dict[str, Any]:
    """JSON schema extra of CEL rules, each (rule, message), for what only the API server can know."""
    return {VALIDATIONS: [{"rule": rule, "message": message} for rule, message in rules]}


@dataclass(frozen=True, slots=True)
class Rule:
    """What must hold of a value, said twice: in CEL for the API server, in Python for everything that has no API server.

    Stands in the `Annotated` of a field, or in the RULES of a model. The message tells the user what to do.
    """

    cel: str
    message: str
    holds: Callable[[Any], object]  # truthy when it does

    @classmethod
    def pattern(cls, pattern: str, message: str, *, when: str = "") -> "Rule":
        """The whole text matches `pattern`, a regular expression that RE2 and Python read alike; asked of texts that match `when`."""
        asked, wanted = re.compile(when, re.ASCII), re.compile(pattern, re.ASCII)
        return cls(
            (f"!self.matches(r'^({when})$') || " if when else "") + f"self.matches(r'^({pattern})$')",
            message,
            lambda text: (when and not asked.fullmatch(text)) or wanted.fullmatch(text),
        )

    def check(self, value: Any) -> Any:
        if not self.holds(value):
            raise PydanticCustomError("rule", "{message}", {"message": self.message})
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        inner = handler(schema)
        return inner | {VALIDATIONS: [*inner.get(VALIDATIONS, ()), *cel((self.cel, self.message))[VALIDATIONS]]}


def _with_rules(schema: dict[str, Any], model: type["SpecModel"]) -> None:
    if model.RULES:
        schema |= cel(*((rule.cel, rule.message) for rule in model.RULES))


class SpecModel(ApiModel):
    """A part of a spec. A field it does not know is an error, because it would be silently without effect."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=_with_rules)

    RULES: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _rules_hold(self) -> Self:
        for rule in self.RULES:
            rule.check(self)
        return self


def list_map(key: str) -> dict[str, Any]:
    """JSON schema extra of a list merged by `key` under server-side apply."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


# An object of Kubernetes' own API, or of the trainer's, that passes through unread.
Opaque = Annotated[dict[str, Any], Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})]


class Condition(ApiModel):
    """A condition as in metav1.Condition."""

    type: str = Field(description="What it is about, e.g. Ready.")
    status: str = Field(pattern="^(True|False|Unknown)$", description="True, False or Unknown.")
    reason: str = Field(description="Why, one CamelCase word.")
    message: str = Field("", description="Why, for people, and what to do.")
    observed_generation: int | None = Field(None, description="Generation of the spec that it tells of.")
    last_transition_time: Time = Field(description="When the status last changed.")


def unseen_status() -> dict[str, Any]:
    """Conditions of an object that no operator has looked at, filled in by the API server, so that nobody takes it for ready."""
    ready = Condition(
        type="Ready",
        status="Unknown",
        reason="Pending",
        message="nothing is known of it yet: see its events; without any, no operator looks at this namespace",
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
    owner_references: list[Opaque] = Field(default_factory=list)

    @property
    def key(self) -> Key:
        return Key(self.namespace, self.name)
