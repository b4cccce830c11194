"""The CustomResourceDefinitions, generated from the API models: `python -m retrain_operator.crdgen crds/` writes them.

`--check` writes nothing and fails when a file is not what the models say.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from retrain_operator.api.base import VALIDATIONS, ApiModel, cel, unseen_status
from retrain_operator.api.job import MUTABLE_RUN_FIELDS, NAME_RULE, Phase, RetrainJob, RetrainJobSpec, RetrainJobStatus
from retrain_operator.api.names import GROUP, SCHEDULE_NAME_MAX, VERSION
from retrain_operator.api.schedule import RetrainSchedule, RetrainScheduleSpec, RetrainScheduleStatus

Schema = dict[str, Any]

_DROPPED = frozenset({"title", "$defs", "additionalProperties"})


def structural(model: type[ApiModel]) -> Schema:
    """Structural schema of a model: references inlined, absence instead of null."""
    raw = model.model_json_schema(by_alias=True)
    return _convert(raw, raw.get("$defs", {}))


def _convert(node: Schema, definitions: dict[str, Schema]) -> Schema:
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        node = target | {key: value for key, value in node.items() if key != "$ref"}
    if node.get("x-kubernetes-int-or-string"):
        return {"x-kubernetes-int-or-string": True}
    if "anyOf" in node:
        choices = [choice for choice in node["anyOf"] if choice.get("type") != "null"]
        if len(choices) != 1:
            raise ValueError(f"not structural: {node}")
        return _convert(choices[0] | {key: value for key, value in node.items() if key != "anyOf"}, definitions)
    out: Schema = {key: value for key, value in node.items() if key not in _DROPPED and key != "default"}
    if node.get("default") is not None:
        out["default"] = node["default"]
    if "const" in out:
        out["enum"] = [out.pop("const")]
    if "properties" in out:
        out["properties"] = {name: _convert(value, definitions) for name, value in out["properties"].items()}
    if "items" in out:
        out["items"] = _convert(out["items"], definitions)
    extra = node.get("additionalProperties")
    if isinstance(extra, dict) and not out.get("x-kubernetes-preserve-unknown-fields"):
        out["additionalProperties"] = _convert(extra, definitions)
    return out


def _immutable(spec: Schema, mutable: frozenset[str]) -> Schema:
    """A transition rule: no field but `mutable` changes, comes or goes.

    The comparison of the whole comes first, and is all that a write of the status evaluates. The API server makes a map of all fields of
    an object whenever a rule reads one of them: a rule for each field, with two or four reads, was a quarter of what such a write cost it.
    """
    same = {}
    for name in spec["properties"]:
        if name not in mutable:
            equal = f"self.{name} == oldSelf.{name}"
            required = name in spec.get("required", [])
            same[name] = equal if required else f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || {equal})"
    which = "".join(f"!({rule}) ? '{name}' : " for name, rule in same.items())
    said = "of a run cannot be changed: create another RetrainJob"
    return {
        "rule": f"self == oldSelf || {' && '.join(f'({rule})' for rule in same.values())}",
        "messageExpression": f"'spec.' + ({which}'?') + ' {said}'",
        "message": f"the spec {said}",
    }


_SCHEDULE_NAME_RULE = (
    f"size(self.metadata.name) <= {SCHEDULE_NAME_MAX}",
    f"choose a name of at most {SCHEDULE_NAME_MAX} characters: the names of its Jobs are made from it",
)


def _definition(
    *, kind: str, plural: str, singular: str, short: str, description: str, spec: Schema, status: Schema, name_rule: tuple[str, str],
    columns: Sequence[tuple[str, str, str, int]], selectable: Sequence[str],
) -> Schema:  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind, "listKind": f"{kind}List", "plural": plural, "singular": singular,
                "shortNames": [short], "categories": ["retrain"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "selectableFields": [{"jsonPath": path} for path in selectable],
                    "additionalPrinterColumns": [
                        {"name": name, "type": type_, "jsonPath": path} | ({"priority": priority} if priority else {})
                        for name, type_, path, priority in columns
                    ],
                    "schema": {
                        "openAPIV3Schema": {
                            "description": description,
                            "type": "object",
                            "required": ["spec"],
                            "properties": {
                                "apiVersion": {"type": "string"},
                                "kind": {"type": "string"},
                                "metadata": {"type": "object"},
                                "spec": spec,
                                "status": status,
                            },
                        }
                        | cel(name_rule)
                    },
                }
            ],
        },
    }  # fmt: skip


def schedule_definition() -> Schema:
    """CustomResourceDefinition of RetrainSchedule."""
    spec, status = structural(RetrainScheduleSpec), structural(RetrainScheduleStatus)
    status["default"] = unseen_status()
    return _definition(
        kind="RetrainSchedule", plural="retrainschedules", singular="retrainschedule", short="rts",
        description=RetrainSchedule.__doc__ or "", name_rule=_SCHEDULE_NAME_RULE, spec=spec, status=status,
        columns=[
            ("Schedule", "string", ".spec.schedule", 0),
            ("Timezone", "string", ".spec.timeZone", 0),
            ("Suspend", "boolean", ".spec.suspend", 0),
            ("Next", "string", ".status.nextScheduleTime", 0),
            ("Last Run", "date", ".status.lastScheduleTime", 0),
            ("Last Success", "date", ".status.lastSuccessfulTime", 0),
            ("Active", "string", ".status.active[0].name", 0),
            ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
            ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 1),
            ("Paused", "string", '.status.conditions[?(@.type=="Paused")].status', 1),
            ("Failures", "integer", ".status.consecutiveFailures", 1),
            ("Last Decision", "string", ".status.lastDecision.reason", 1),
            ("Recommendation", "string", ".status.recommendation.action", 1),
            ("Image", "string", ".spec.jobTemplate.spec.trainer.image", 1),
            ("Age", "date", ".metadata.creationTimestamp", 0),
        ],
        selectable=[".spec.suspend", ".spec.window"],
    )  # fmt: skip


def run_definition() -> Schema:
    """CustomResourceDefinition of RetrainJob."""
    spec, status = structural(RetrainJobSpec), structural(RetrainJobStatus)
    spec[VALIDATIONS] = [*spec[VALIDATIONS], _immutable(spec, MUTABLE_RUN_FIELDS)]
    status["default"] = {"phase": Phase.PENDING.value} | unseen_status()
    return _definition(
        kind="RetrainJob", plural="retrainjobs", singular="retrainjob", short="rtj",
        description=RetrainJob.__doc__ or "", name_rule=NAME_RULE, spec=spec, status=status,
        columns=[
            ("Schedule", "string", ".spec.schedule", 0),
            ("Trigger", "string", ".spec.trigger", 0),
            ("Phase", "string", ".status.phase", 0),
            ("Attempt", "integer", ".status.attempt", 0),
            ("Result", "string", ".status.summary.result", 0),
            ("Model", "string", ".status.summary.model", 0),
            ("Deploy", "string", ".status.deployment.state", 0),
            ("Duration", "string", ".status.summary.duration", 0),
            ("Mode", "string", ".spec.mode", 1),
            ("Window", "string", ".spec.window", 1),
            ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason', 1),
            ("Exit", "integer", ".status.error.exitCode", 1),
            ("Artifact", "string", ".status.result.artifact.uri", 1),
            ("Age", "date", ".metadata.creationTimestamp", 0),
        ],
        selectable=[".spec.schedule", ".spec.window", ".status.phase"],
    )  # fmt: skip


class _Dumper(yaml.SafeDumper):
    """Quotes what kubectl reads as a boolean and PyYAML does not: an unquoted `n` would be the property `false`, and its field pruned."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        return self.represent_scalar("tag:yaml.org,2002:str", data, style="'" if data.lower() in ("y", "n") else None)


_Dumper.add_representer(str, _Dumper.represent_str)


def files() -> dict[str, str]:
    """File name to content."""
    header = "# Generated from operator/retrain_operator/api by `make crds`. Do not edit.\n"
    return {
        f"{GROUP}_{definition['spec']['names']['plural']}.yaml": header
        + yaml.dump(definition, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
        for definition in (schedule_definition(), run_definition())
    }


def settle(generated: Mapping[Path, str], *, check: bool) -> int:
    """Exit code after writing the files that differ, or with `check` only telling which."""
    stale = [path for path, text in generated.items() if not path.exists() or path.read_text() != text]
    if check and stale:
        print(f"stale: {', '.join(map(str, stale))}: run `make crds` and commit the result", file=sys.stderr)
        return 1
    for path in stale:
        path.write_text(generated[path])
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m retrain_operator.crdgen", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is stale")
    options = parser.parse_args(argv)
    return settle({options.folder / name: text for name, text in files().items()}, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
