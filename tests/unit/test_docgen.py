"""The reference documentation is what the models say, and leaves nothing out."""

import re
from pathlib import Path
from typing import Any

import pytest

from retrain_operator import docgen
from retrain_operator.api import names
from retrain_operator.api.base import VALIDATIONS
from retrain_operator.api.contract import EXIT_CODES
from retrain_operator.crdgen import run_definition, schedule_definition
from retrain_operator.rules import reasons

REFERENCE = Path(__file__).parents[2] / "docs" / "reference.md"
CELL = re.compile(r"^\| `([^`]+)` \| (.*) \|$", re.MULTILINE)
LINK = re.compile(r"\[(\w+)\]")


@pytest.fixture(scope="module")
def page() -> str:
    return docgen.text()


@pytest.fixture(scope="module")
def sections(page: str) -> dict[str, str]:
    """Heading to what stands below it."""
    return {part.partition("\n")[0]: part for part in re.split(r"^##+ ", page, flags=re.MULTILINE)[1:]}


def test_the_checked_in_page_is_current() -> None:
    assert docgen.main([str(REFERENCE), "--check"]) == 0, "run `make crds` and commit the result"


def test_check_tells_a_stale_page_and_leaves_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "reference.md"
    page.write_text("# Old\n")
    assert docgen.main([str(page), "--check"]) == 1
    assert (page.read_text(), "make crds" in capsys.readouterr().err) == ("# Old\n", True)
    assert docgen.main([str(page)]) == 0
    assert docgen.main([str(page), "--check"]) == 0


@pytest.mark.parametrize("definition", [schedule_definition(), run_definition()], ids=["schedule", "run"])
@pytest.mark.parametrize("half", ["spec", "status"])
def test_every_field_has_its_row(definition: dict[str, Any], half: str, sections: dict[str, str]) -> None:
    """From the CRD's fields to the page's, through the page's own links."""
    root = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"][half]
    model = definition["spec"]["names"]["kind"] + half.capitalize()
    assert missing(root, sections[model], sections, half) == []


def missing(schema: dict[str, Any], section: str, sections: dict[str, str], path: str) -> list[str]:
    rows = dict(CELL.findall(section))
    found = []
    for field, node in schema["properties"].items():
        here, row = f"{path}.{field}", rows.get(field)
        if row is None or not row.split(" | ")[-1].strip():
            found.append(f"{here}: no row, or no meaning")
            continue
        found += [f"{here}: {value}" for value in node.get("enum", ()) if f"`{value}`" not in row]
        found += [f"{here}: {each['message']}" for each in node.get(VALIDATIONS, ()) if each["message"] not in words(sections)]
        inner = node.get("items", node)
        link = LINK.search(row)
        if "properties" in inner and link is not None:
            found += missing(inner, sections[link[1]], sections, here)
    return found


def words(sections: dict[str, str]) -> str:
    return "".join(sections.values()).replace("\\", "")


def test_links_lead_somewhere(page: str, sections: dict[str, str]) -> None:
    assert {target for _, target in re.findall(r"\[(\w+)\]\(#(\w+)\)", page)} <= {heading.lower() for heading in sections}


@pytest.mark.parametrize(
    "word",
    [
        *(value for name, value in vars(names).items() if name.startswith(("LABEL_", "ANNOTATION_"))),
        *(value for name, value in vars(reasons).items() if name.isupper()),
        *(each.reason for each in EXIT_CODES.values()),
    ],
)
def test_every_name_that_users_meet_has_its_row(word: str, page: str) -> None:
    assert f"`{word}` |" in page
