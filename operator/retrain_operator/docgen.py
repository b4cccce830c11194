"""The reference documentation, generated from the API models: `python -m retrain_operator.docgen docs/reference.md` writes it."""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType

from retrain_operator.api import names
from retrain_operator.api.base import VALIDATIONS
from retrain_operator.api.contract import EXIT_CODES
from retrain_operator.api.job import RetrainJobSpec, RetrainJobStatus
from retrain_operator.api.schedule import RetrainScheduleSpec, RetrainScheduleStatus
from retrain_operator.crdgen import Schema, run_definition, schedule_definition, settle
from retrain_operator.rules import reasons

_MARKUP = re.compile(r"([*|<])")
INTRODUCTION = f"""\
# API reference

<!-- Generated from operator/retrain_operator/api by `make crds`. Do not edit. -->

Both kinds belong to `{names.API_VERSION}` and to a namespace. The API server fills in defaults, and refuses what breaks a limit or a rule,
with a message. `kubectl explain` tells the same as these tables. Only the operator writes `status`."""


def text() -> str:
    """The whole page."""
    parts: dict[str, Schema] = {}
    for model in (RetrainScheduleSpec, RetrainScheduleStatus, RetrainJobSpec, RetrainJobStatus):
        schema = model.model_json_schema()
        parts |= schema.pop("$defs", {}) | {model.__name__: schema}
    sections = {name: _section(name, parts) for name in sorted(parts) if "properties" in parts[name]}
    blocks = [INTRODUCTION]
    for definition in (schedule_definition(), run_definition()):
        kind = definition["spec"]["names"]["kind"]
        blocks += [_kind(definition), sections.pop(f"{kind}Spec"), sections.pop(f"{kind}Status")]
    exits = [[f"`{code}`", f"`{each.reason}`", each.meaning, "yes" if each.retryable else "no"] for code, each in EXIT_CODES.items()]
    blocks += ["## Parts", *sections.values(), "## Labels and annotations", *_constants(names, ("LABEL_", "ANNOTATION_"))]
    blocks += ["## Reasons", *_constants(reasons, ("",)), "## Exit codes of a trainer"]
    blocks += ["A reason that the trainer gives comes first.", _table(["Exit code", "Reason", "Meaning", "Trying again may help"], exits)]
    return "\n\n".join(blocks) + "\n"


def _kind(definition: Schema) -> str:
    named, version = definition["spec"]["names"], definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    selectors = ", ".join(f"`{each['jsonPath'][1:]}`" for each in version["selectableFields"])
    (rule,) = schema[VALIDATIONS]
    found = f"Short name `{named['shortNames'][0]}`, category `{named['categories'][0]}`. Field selectors: {selectors}."
    return f"## {named['kind']}\n\n{schema['description']}\n\n{found}\n\n- `metadata.name`: {rule['message']}"


def _section(name: str, parts: dict[str, Schema]) -> str:
    """One model: its fields, then its rules."""
    schema = parts[name]
    rows, rules = [], [rule["message"] for rule in schema.get(VALIDATIONS, ())]
    for field, given in schema["properties"].items():
        node, type_ = _resolved(given, parts), _type(given, parts)
        default = f"`{json.dumps(given['default'])}`" if given.get("default") not in (None, "") else ""
        presence = "required" if field in schema.get("required", ()) else default
        rows.append([f"`{field}`", type_, presence, _limits(node), _MARKUP.sub(r"\\\1", given.get("description") or node["description"])])
        if "](#" not in type_:  # else they stand with that model
            rules += [f"`{field}`: {rule['message']}" for rule in node.get(VALIDATIONS, ())]
    blocks = [f"### {name}", schema["description"], _table(["Field", "Type", "Default", "Limits", "Meaning"], rows)]
    return "\n\n".join(filter(None, [*blocks, _MARKUP.sub(r"\\\1", "\n".join(f"- {rule}" for rule in rules))]))


def _resolved(node: Schema, parts: dict[str, Schema]) -> Schema:
    """The node without reference and without null."""
    if "anyOf" in node and "x-kubernetes-int-or-string" not in node:
        node = next(each for each in node["anyOf"] if each.get("type") != "null")
    return parts[node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node


def _type(given: Schema, parts: dict[str, Schema]) -> str:
    node = _resolved(given, parts)
    if "properties" in node and node.get("title") in parts:
        return f"[{node['title']}](#{node['title'].lower()})"
    if "items" in node:
        return f"list of {_type(node['items'], parts)}"
    if isinstance(node.get("additionalProperties"), dict):
        return f"map of string to {_type(node['additionalProperties'], parts)}"
    return "quantity" if "anyOf" in node else "time" if node.get("format") == "date-time" else str(node["type"])


def _limits(node: Schema) -> str:
    """Only what no rule says in words."""
    limits = [f"`{value}`" for value in node.get("enum") or [node.get("const")] if value]
    if "maximum" in node:
        limits.append(f"{node['minimum']} " + ("or more" if node["maximum"] == 2**31 - 1 else f"to {node['maximum']}"))
    sizes = (("maxLength", "characters"), ("maxItems", "items"), ("maxProperties", "entries"))
    return "; ".join([*limits, *(f"{node[key]} {unit}" for key, unit in sizes if key in node)])


def _constants(module: ModuleType, prefixes: tuple[str, ...]) -> Iterator[str]:
    """Tables of a module's constants whose names start with one of these, from the comments above and beside them."""
    for above, lines in re.findall(r"^# (.+)\n((?:[A-Z_]+ = .*\n)+)", inspect.getsource(module), re.MULTILINE):
        found = re.findall(r"^([A-Z_]+) = .*?  # (.+)$", lines, re.MULTILINE)
        rows = [[f"`{getattr(module, name)}`", meaning] for name, meaning in found if name.startswith(prefixes)]
        yield f"**{above.rstrip('.')}**\n\n" + _table(["Name", "Meaning"], rows)


def _table(header: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rows])


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m retrain_operator.docgen", description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when the file is stale")
    options = parser.parse_args(argv)
    return settle({options.file: text()}, check=options.check)


if __name__ == "__main__":
    sys.exit(main())
