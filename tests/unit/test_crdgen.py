"""The CRDs are structural, explain themselves, and are those that are checked in."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import Field

from retrain_operator import crdgen
from retrain_operator.api.base import ApiModel
from retrain_operator.api.job import RetrainJobSpec, RetrainJobStatus
from retrain_operator.api.schedule import RetrainScheduleSpec, RetrainScheduleStatus

CRDS = Path(__file__).parents[2] / "crds"
MODELS = [RetrainScheduleSpec, RetrainScheduleStatus, RetrainJobSpec, RetrainJobStatus]
NOT_STRUCTURAL = {"$ref", "$defs", "anyOf", "oneOf", "allOf", "const", "title", "definitions", "exclusiveMinimum", "exclusiveMaximum"}
OF_KUBERNETES = {"conditions"}  # metav1.Condition, known to every reader

Schema = dict[str, Any]


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Every schema within a schema, with its path."""
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(inner, f"{path}.{name}")
    for part in ("items", "additionalProperties"):
        if isinstance(schema.get(part), dict):
            yield from nodes(schema[part], f"{path}[]")


@pytest.mark.parametrize("model", MODELS)
def test_schema_is_structural(model: type[ApiModel]) -> None:
    for path, node in nodes(crdgen.structural(model)):
        assert not node.keys() & NOT_STRUCTURAL, path
        typed = node.get("type") in {"object", "array", "string", "integer", "number", "boolean"}
        assert typed or node.get("x-kubernetes-int-or-string") or node.get("x-kubernetes-preserve-unknown-fields"), path
        assert node.get("default", "") is not None, path
        assert not ("properties" in node and "additionalProperties" in node), path


@pytest.mark.parametrize("model", MODELS)
def test_no_object_is_pruned_to_nothing(model: type[ApiModel]) -> None:
    for path, node in nodes(crdgen.structural(model)):
        if node.get("type") == "object":
            assert {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"} & node.keys(), path


@pytest.mark.parametrize("model", MODELS)
def test_every_field_is_described(model: type[ApiModel]) -> None:
    for path, node in nodes(crdgen.structural(model)):
        for name, inner in node.get("properties", {}).items():
            known = path.removeprefix(".").split("[]")[0] in OF_KUBERNETES or node.get("x-kubernetes-preserve-unknown-fields")
            assert inner.get("description") or known, f"{path}.{name}"


@pytest.mark.parametrize("model", MODELS)
def test_required_fields_exist_and_have_no_default(model: type[ApiModel]) -> None:
    for path, node in nodes(crdgen.structural(model)):
        for name in node.get("required", []):
            assert "default" not in node["properties"][name], f"{path}.{name}"


@pytest.mark.parametrize("model", MODELS)
def test_every_cel_rule_says_what_to_do(model: type[ApiModel]) -> None:
    for path, node in nodes(crdgen.structural(model)):
        for rule in node.get("x-kubernetes-validations", []):
            assert rule["rule"], path
            assert len(rule["message"]) > 20, path


def rules(definition: Schema) -> list[dict[str, str]]:
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    found: list[dict[str, str]] = spec["x-kubernetes-validations"]
    return found


def test_every_field_of_a_run_but_suspend_is_immutable() -> None:
    spec = crdgen.structural(RetrainJobSpec)
    [transition] = [rule for rule in rules(crdgen.run_definition()) if "oldSelf" in rule["rule"]]
    for name in spec["properties"].keys() - {"suspend"}:
        assert f"self.{name} == oldSelf.{name})" in transition["rule"]
        assert f"? '{name}' :" in transition["messageExpression"]
        may_be_absent = name not in spec["required"]
        assert (f"has(self.{name}) == has(oldSelf.{name})" in transition["rule"]) == may_be_absent, name
    assert "suspend" not in transition["rule"]


def test_spec_of_a_schedule_may_be_edited() -> None:
    assert not any(
        "oldSelf" in rule["rule"]
        for _, node in nodes(crdgen.structural(RetrainScheduleSpec))
        for rule in node.get("x-kubernetes-validations", [])
    )


@pytest.mark.parametrize("definition", [crdgen.schedule_definition(), crdgen.run_definition()], ids=["schedules", "runs"])
def test_new_object_is_not_taken_for_ready(definition: Schema) -> None:
    status = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    [condition] = status["default"]["conditions"]
    assert (condition["type"], condition["status"]) == ("Ready", "Unknown")


@pytest.mark.parametrize("definition", [crdgen.schedule_definition(), crdgen.run_definition()], ids=["schedules", "runs"])
def test_columns_and_selectors_point_at_fields_that_exist(definition: Schema) -> None:
    version = definition["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    paths += [field["jsonPath"] for field in version["selectableFields"]]
    for path in paths:
        node = schema
        for part in path.removeprefix(".").split("[")[0].split("."):
            if node is not schema["properties"]["metadata"]:  # which has its own schema
                node = node["properties"][part]


@pytest.mark.parametrize("name", crdgen.files())
def test_checked_in_file_is_current(name: str) -> None:
    assert (CRDS / name).read_text() == crdgen.files()[name], "run `make crds`"


def test_check_writes_nothing_and_fails_when_stale(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert crdgen.main([str(tmp_path), "--check"]) == 1
    assert "run `make crds`" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert crdgen.main([str(tmp_path)]) == 0
    assert crdgen.main([str(tmp_path), "--check"]) == 0
    assert all(yaml.safe_load(path.read_text())["kind"] == "CustomResourceDefinition" for path in tmp_path.iterdir())


def test_choice_that_is_not_structural_is_an_error() -> None:
    class Choice(ApiModel):
        either: int | str = Field(description="x")

    with pytest.raises(ValueError, match="not structural"):
        crdgen.structural(Choice)


def test_property_may_be_called_title() -> None:
    class Book(ApiModel):
        title: Annotated[str, Field(description="On the cover.")]

    assert crdgen.structural(Book)["properties"] == {"title": {"type": "string", "description": "On the cover."}}


@pytest.mark.parametrize("text", crdgen.files().values(), ids=crdgen.files())
def test_no_key_is_one_that_kubectl_takes_for_a_boolean(text: str) -> None:
    assert not re.search(r"^ *(y|Y|n|N|yes|no|on|off):", text, re.MULTILINE), "quote it: YAML 1.1 reads true or false"
