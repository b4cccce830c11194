"""What a run trains with: the trainer's pod, its configuration, its data and where its artifact goes."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from retrain_operator.api.base import Opaque, SpecModel, cel, list_map

Quantity = Annotated[str | int | float, Field(json_schema_extra={"x-kubernetes-int-or-string": True})]


class EnvVar(SpecModel):
    """One environment variable of the trainer: a literal, or a reference as in a pod."""

    name: str = Field(min_length=1, max_length=253, description="Name of the variable. RETRAIN_* belongs to the contract.")
    value: str | None = Field(None, max_length=32768, description="Literal value.")
    value_from: Opaque | None = Field(None, description="Reference to a ConfigMap, Secret or field, as in a pod's container.")


class Resources(SpecModel):
    """Requests and limits of the trainer's container. The CPU limit also sets the trainer's thread counts."""

    limits: Mapping[str, Quantity] = Field(default_factory=dict, max_length=16, description="The most it may use.")
    requests: Mapping[str, Quantity] = Field(default_factory=dict, max_length=16, description="What it is scheduled with.")


_TEMPLATE_EXCLUDES = (
    "image", "imagePullPolicy", "imagePullSecrets", "command", "args", "env", "envFrom", "resources", "volumes", "volumeMounts",
    "serviceAccountName", "automountServiceAccountToken", "nodeSelector", "tolerations", "affinity", "priorityClassName",
)  # fmt: skip


class Trainer(SpecModel):
    """The pod that trains: an image and the usual fields of a pod, or a whole pod template."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.image) || has(self.podTemplate)",
                "set trainer.image (or trainer.podTemplate for a whole pod template)",
            ),
            (
                "!has(self.podTemplate) || !(" + " || ".join(f"has(self.{field})" for field in _TEMPLATE_EXCLUDES) + ")",
                "trainer.podTemplate stands alone: move image, env, resources and the other fields into its container 'trainer'",
            ),
        )
    )

    image: str | None = Field(None, min_length=1, max_length=1024, description="Image of the trainer.")
    image_pull_policy: str | None = Field(None, pattern="^(Always|IfNotPresent|Never)$", description="As in a pod.")
    image_pull_secrets: list[Opaque] | None = Field(None, max_length=16, description="As in a pod.")
    command: list[Annotated[str, Field(max_length=8192)]] | None = Field(
        None, max_length=256, description="Replaces the image's entrypoint."
    )
    args: list[Annotated[str, Field(max_length=8192)]] | None = Field(None, max_length=256, description="Arguments of the trainer.")
    env: list[EnvVar] | None = Field(
        None,
        max_length=256,
        description="Environment of the trainer, beside the contract's own.",
        json_schema_extra=list_map("name")
        | cel(
            (
                "self.all(e, !e.name.startsWith('RETRAIN_'))",
                "environment variables that start with RETRAIN_ belong to the trainer contract: choose another name",
            )
        ),
    )
    env_from: list[Opaque] | None = Field(None, max_length=32, description="As in a pod's container.")
    resources: Resources | None = Field(None, description="Requests and limits.")
    volumes: list[Opaque] | None = Field(None, max_length=32, description="As in a pod.")
    volume_mounts: list[Opaque] | None = Field(None, max_length=32, description="As in a pod's container.")
    service_account_name: str | None = Field(None, max_length=253, description="Service account of the pod.")
    automount_service_account_token: bool | None = Field(None, description="Mount a service-account token. Not done unless true.")
    node_selector: Mapping[str, str] | None = Field(None, max_length=32, description="As in a pod.")
    tolerations: list[Opaque] | None = Field(None, max_length=32, description="As in a pod.")
    affinity: Opaque | None = Field(None, description="As in a pod.")
    priority_class_name: str | None = Field(None, max_length=253, description="As in a pod.")
    pod_template: Opaque | None = Field(
        None,
        description="A whole pod template (metadata and spec) with a container named 'trainer', instead of the other fields.",
    )


class KeyRef(SpecModel):
    """One key of a ConfigMap or Secret in the same namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the object.")
    key: str = Field(min_length=1, max_length=253, description="Key in its data.")


class ConfigFrom(SpecModel):
    """Where the trainer's configuration stands, when it is not written in the spec."""

    model_config = ConfigDict(
        json_schema_extra=cel(
            (
                "has(self.configMapKeyRef) != has(self.secretKeyRef)",
                "set exactly one of configFrom.configMapKeyRef and configFrom.secretKeyRef",
            )
        )
    )

    config_map_key_ref: KeyRef | None = Field(None, description="A ConfigMap's key that holds the JSON configuration.")
    secret_key_ref: KeyRef | None = Field(None, description="A Secret's key that holds the JSON configuration.")


class DataCheck(StrEnum):
    """What a run does when neither its data nor its configuration changed since the last trained run."""

    ALWAYS = "Always"
    SKIP = "Skip"


class Data(SpecModel):
    """What a run trains on."""

    uri: str = Field(
        min_length=1,
        max_length=2048,
        description="Data as the trainer reads it: a file, a folder or a pattern (file://, s3://, gs://, az://, https://), "
        "or sklearn:<name> for a data set that comes with scikit-learn.",
    )
    format: str | None = Field(None, pattern="^(csv|parquet)$", description="Format of the files; by their ending when absent.")
    check: DataCheck = Field(
        DataCheck.ALWAYS,
        description="Skip: end as Skipped, reason DataUnchanged, when data and configuration are those of the last trained run.",
    )


class Output(SpecModel):
    """Where artifacts go."""

    uri: str = Field(
        min_length=1,
        max_length=2048,
        description="A folder for artifacts; each run writes runs/<runId>/ below it and never overwrites.",
    )
