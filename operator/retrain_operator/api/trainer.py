"""What a run trains with: the trainer's pod, its configuration, its data and where its artifact goes."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, StrictBool, StrictInt

from retrain_operator.api.base import Opaque, Rule, SpecModel, list_map
from retrain_operator.api.names import TRAINER_CONTAINER

Schema = dict[str, Any]
Quantity = Annotated[str | int, Field(json_schema_extra={"x-kubernetes-int-or-string": True})]
_QUANTITY = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?")
Quantities = Annotated[
    Mapping[str, Quantity],
    Field(max_length=16),
    Rule(
        "self.all(name, type(self[name]) == int || isQuantity(self[name]))",
        "write quantities as Kubernetes takes them, e.g. cpu: 500m and memory: 4Gi",
        lambda quantities: all(isinstance(each, int) or _QUANTITY.fullmatch(each) for each in quantities.values()),
    ),
]
_CONTRACT_VARIABLE = "environment variables that start with RETRAIN_ belong to the trainer contract: choose another name"


class EnvVar(SpecModel):
    """One environment variable of the trainer: a literal, or a reference as in a pod."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.value) || !has(self.valueFrom)",
            "set value or valueFrom, not both",
            lambda env: env.value is None or env.value_from is None,
        ),
    )

    name: Annotated[
        str,
        Field(min_length=1, max_length=253),
        Rule(
            "!self.startsWith('RETRAIN_')",
            _CONTRACT_VARIABLE,
            lambda name: not name.startswith("RETRAIN_"),
        ),
    ] = Field(description="Name of the variable. RETRAIN_* belongs to the contract.")
    value: str | None = Field(None, max_length=32768, description="Literal value.")
    value_from: Opaque | None = Field(None, description="Reference to a ConfigMap, Secret or field, as in a pod's container.")


class Resources(SpecModel):
    """Requests and limits of the trainer's container. The CPU limit also sets the trainer's thread counts."""

    limits: Quantities = Field(default_factory=dict, description="The most it may use, e.g. cpu: 500m, memory: 4Gi.")
    requests: Quantities = Field(default_factory=dict, description="What it is scheduled with.")


def _part(required: str, **fields: Schema) -> Schema:
    """JSON schema of an object of which rules read these fields, and the rest passes through."""
    return {"type": "object", "required": [required], "properties": fields, "x-kubernetes-preserve-unknown-fields": True}


def _trainers(template: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    try:
        return [container for container in template["spec"]["containers"] if container.get("name") == TRAINER_CONTAINER]
    except (AttributeError, KeyError, TypeError):
        return []  # without the structure that the schema asks for


_VARIABLE = _part("name", name={"type": "string", "maxLength": 253})
_CONTAINER = _part("name", name={"type": "string", "maxLength": 63}, env={"type": "array", "maxItems": 256, "items": _VARIABLE})
_POD_SPEC = _part("containers", containers={"type": "array", "maxItems": 16, "items": _CONTAINER})
PodTemplate = Annotated[
    dict[str, Any],
    Field(json_schema_extra=_part("spec", spec=_POD_SPEC)),
    Rule(
        f"self.spec.containers.exists(c, c.name == '{TRAINER_CONTAINER}')",
        f"name the container that trains '{TRAINER_CONTAINER}': trainer.podTemplate.spec.containers has none of that name",
        _trainers,
    ),
    Rule(
        f"self.spec.containers.all(c, c.name != '{TRAINER_CONTAINER}' || !has(c.env) || c.env.all(e, !e.name.startsWith('RETRAIN_')))",
        _CONTRACT_VARIABLE,
        lambda template: (
            not any(env.get("name", "").startswith("RETRAIN_") for each in _trainers(template) for env in each.get("env") or ())
        ),
    ),
]
_TEMPLATE_EXCLUDES = (
    "image", "imagePullPolicy", "imagePullSecrets", "command", "args", "env", "envFrom", "resources", "volumes", "volumeMounts",
    "serviceAccountName", "automountServiceAccountToken", "nodeSelector", "tolerations", "affinity", "priorityClassName",
    "securityContext",
)  # fmt: skip


class Trainer(SpecModel):
    """The pod that trains: an image and the usual fields of a pod, or a whole pod template."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.image) || has(self.podTemplate)",
            "set trainer.image (or trainer.podTemplate for a whole pod template)",
            lambda trainer: trainer.image is not None or trainer.pod_template is not None,
        ),
        Rule(
            "!has(self.podTemplate) || !(" + " || ".join(f"has(self.{field})" for field in _TEMPLATE_EXCLUDES) + ")",
            "trainer.podTemplate stands alone: move image, env, resources and the other fields into its container 'trainer'",
            lambda trainer: trainer.pod_template is None or set(trainer.to_json()) == {"podTemplate"},
        ),
    )

    image: str | None = Field(None, min_length=1, max_length=1024, description="Image of the trainer.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(None, description="As in a pod.")
    image_pull_secrets: list[Opaque] | None = Field(None, max_length=16, description="As in a pod.")
    command: list[Annotated[str, Field(max_length=8192)]] | None = Field(
        None, max_length=256, description="Replaces the image's entrypoint."
    )
    args: list[Annotated[str, Field(max_length=8192)]] | None = Field(None, max_length=256, description="Arguments of the trainer.")
    env: list[EnvVar] | None = Field(
        None,
        max_length=256,
        description="Environment of the trainer, beside the contract's own.",
        json_schema_extra=list_map("name"),
    )
    env_from: list[Opaque] | None = Field(None, max_length=32, description="As in a pod's container.")
    resources: Resources | None = Field(None, description="Requests and limits.")
    volumes: list[Opaque] | None = Field(None, max_length=32, description="As in a pod.")
    volume_mounts: list[Opaque] | None = Field(None, max_length=32, description="As in a pod's container.")
    service_account_name: str | None = Field(None, max_length=253, description="Service account of the pod.")
    automount_service_account_token: StrictBool | None = Field(None, description="Mount a service-account token. Not done unless true.")
    node_selector: Mapping[str, str] | None = Field(None, max_length=32, description="As in a pod.")
    tolerations: list[Opaque] | None = Field(None, max_length=32, description="As in a pod.")
    affinity: Opaque | None = Field(None, description="As in a pod.")
    priority_class_name: str | None = Field(None, max_length=253, description="As in a pod.")
    security_context: Opaque | None = Field(
        None,
        description="Pod security context, over the restricted default; e.g. fsGroup, so that a non-root trainer may write to a volume.",
    )
    pod_template: PodTemplate | None = Field(
        None,
        description="A whole pod template (metadata and spec) with a container named 'trainer', instead of the other fields.",
    )


class KeyRef(SpecModel):
    """One key of a ConfigMap or Secret in the same namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the object.")
    key: str = Field(min_length=1, max_length=253, description="Key in its data.")


_MODEL_FIELDS = {"tabular": {"estimator"}, "recommender": {"algorithm"}}
# The fields that rules read; the rest of it is the trainer's own. The two tasks are the default trainer's.
Config = Annotated[
    dict[str, Any],
    Field(
        json_schema_extra={
            "properties": {name: {"type": "string"} for name in ("task", "estimator", "algorithm")},
            "x-kubernetes-preserve-unknown-fields": True,
        }
    ),
]
NAMES_A_MODEL = Rule(
    "has(self.retune) || !has(self.config) || !has(self.config.task) || ("
    "(self.config.task != 'tabular' || has(self.config.estimator)) && (self.config.task != 'recommender' || has(self.config.algorithm)))",
    "without retune the model configuration is required: give config.estimator for task tabular, config.algorithm for task recommender, "
    "and their params, or set retune to have them searched for",
    lambda run: run.retune is not None or not run.config or _MODEL_FIELDS.get(str(run.config.get("task")), set()) <= set(run.config),
)


class ConfigFrom(SpecModel):
    """Where the trainer's configuration stands, when it is not written in the spec."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.configMapKeyRef) != has(self.secretKeyRef)",
            "set exactly one of configFrom.configMapKeyRef and configFrom.secretKeyRef",
            lambda source: (source.config_map_key_ref is None) != (source.secret_key_ref is None),
        ),
    )

    config_map_key_ref: KeyRef | None = Field(None, description="A ConfigMap's key that holds the JSON configuration.")
    secret_key_ref: KeyRef | None = Field(None, description="A Secret's key that holds the JSON configuration.")


class DataCheck(StrEnum):
    """What a run does when neither its data nor its configuration changed since the last trained run."""

    ALWAYS = "Always"
    SKIP = "Skip"


class DataSelect(StrEnum):
    """Which of several files a run trains on."""

    NEWEST = "Newest"
    ALL = "All"


_URL_WITH_PASSWORD = "^[^/]*//[^/@]*:[^/]*@"  # user:password@ before the host


class Data(SpecModel):
    """What a run trains on."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.maxAgeSeconds) || self.check == 'Skip'",
            "set data.check: Skip beside data.maxAgeSeconds: without the check every run trains, however young the last model is",
            lambda data: data.max_age_seconds is None or data.check is DataCheck.SKIP,
        ),
        Rule(
            f"!has(self.format) || self.format != 'sql' || !self.uri.matches('{_URL_WITH_PASSWORD}')",
            "leave the password out of data.uri: everybody who may read this object would see it. Give it by the driver's own variable, "
            "e.g. PGPASSWORD, in trainer.env with valueFrom.secretKeyRef",
            lambda data: data.format != "sql" or re.search(_URL_WITH_PASSWORD, data.uri) is None,
        ),
    )

    uri: str = Field(
        min_length=1,
        max_length=2048,
        description="Data as the trainer reads it: a file, a folder or a pattern (file://, s3://, gs://, az://, https://), "
        "sklearn:<name> for a data set that comes with scikit-learn, or, with format sql, a SQLAlchemy URL without a password, "
        "e.g. postgresql+psycopg://reader@host/shop.",
    )
    format: Literal["csv", "parquet", "sql"] | None = Field(
        None, description="Format of the files; by their ending when absent. sql: the rows that config.query selects from a database."
    )
    check: DataCheck = Field(
        DataCheck.ALWAYS,
        description="Skip: end as Skipped, reason DataUnchanged, when data and configuration are those of the last trained run.",
    )
    max_age_seconds: StrictInt | None = Field(
        None,
        ge=1,
        le=2**31 - 1,
        description="With check: Skip. Train although nothing changed when the last trained run finished longer ago than this.",
    )
    select: DataSelect | None = Field(
        None,
        description="Newest: the file that was modified last. All: every file. When absent, a pattern means its newest file and a folder "
        "all its files.",
    )


class Output(SpecModel):
    """Where artifacts go."""

    uri: str = Field(
        min_length=1,
        max_length=1024,  # the artifact's URI must fit into the trainer's answer of 3,072 bytes
        description="A folder for artifacts; each run writes runs/<runId>/ below it and never overwrites.",
    )
