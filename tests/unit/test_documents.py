"""The documents lead where they say: links, anchors, tests, examples and flags exist."""

import argparse
import re
from pathlib import Path

import pytest
import yaml

from retrain_operator.cli import operate
from retrain_operator.reconcile.metrics import Metrics

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
FENCED = re.compile(r"^( *)```.*?^\1```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FLAG = re.compile(r"`(-[\w-]+)`")
OPERATIONS = ROOT / "docs" / "operations.md"
EXAMPLES = sorted((ROOT / "manifests" / "examples").glob("*.yaml"))


def prose(page: Path) -> str:
    """The page without its fenced blocks."""
    return FENCED.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> list[tuple[str, str]]:
    """(text, target) of every relative link."""
    return [(each["text"], each["target"]) for each in LINK.finditer(prose(page)) if "://" not in each["target"]]


def anchor(heading: str) -> str:
    """As GitHub makes it: `Who may be told` is #who-may-be-told."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def problem(page: Path, text: str, target: str) -> str | None:
    """What is wrong with a link; None when nothing is."""
    path, _, fragment = target.partition("#")
    there = (page.parent / path).resolve() if path else page
    if not there.exists():
        return f"{target}: no such file"
    if fragment and fragment not in {anchor(heading) for heading in HEADING.findall(prose(there))}:
        return f"{target}: no such heading"
    name = text.strip("`")
    if name.startswith("test_") and f"def {name}(" not in there.read_text(encoding="utf-8"):
        return f"{target}: no test {name}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert [found for text, target in links(page) if (found := problem(page, text, target)) is not None] == []


@pytest.mark.parametrize(
    ("target", "says"),
    [
        pytest.param("absent.md", "absent.md: no such file", id="no file"),
        pytest.param("docs/operations.md#absent", "docs/operations.md#absent: no such heading", id="no heading"),
        pytest.param("tests/unit/test_cron.py", "tests/unit/test_cron.py: no test test_absent", id="no test"),
    ],
)
def test_a_link_that_leads_nowhere_is_found(target: str, says: str) -> None:
    assert problem(ROOT / "README.md", "`test_absent`", target) == says


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_every_example_is_linked(example: Path) -> None:
    assert example in {(page.parent / target).resolve() for page in PAGES for _, target in links(page)}


def test_every_page_is_linked() -> None:
    assert set(PAGES[1:]) <= {(page.parent / target.partition("#")[0]).resolve() for page in PAGES for _, target in links(page)}


def operator_flags() -> set[str]:
    """All flags of `retrain operator`."""
    commands = argparse.ArgumentParser().add_subparsers()
    operate.add_to(commands)
    return set(commands.choices["operator"]._option_string_actions)


def section(heading: str) -> str:
    """A section of the page on operations, to the next of its level."""
    return prose(OPERATIONS).split(f"\n## {heading}\n")[1].split("\n## ")[0]


def test_the_flags_of_the_operator_are_those_that_are_documented() -> None:
    assert set(FLAG.findall(section("Flags"))) | {"--help"} == operator_flags()


def test_flags_are_those_of_the_operator_wherever_operations_names_them() -> None:
    assert {each for each in FLAG.findall(prose(OPERATIONS)) if each.startswith("--")} <= operator_flags()


@pytest.mark.parametrize("name", ["rbac.yaml", "rbac-leader-election.yaml"])
def test_every_right_has_its_reason(name: str) -> None:
    rights = section("Rights")
    documents = yaml.safe_load_all((ROOT / "manifests" / "operator" / name).read_text())
    resources = {each for body in documents for rule in body.get("rules", ()) for each in rule["resources"]}
    assert {each for each in resources if f"`{each}`" not in rights} == set()


def test_every_metric_is_explained() -> None:
    counters = {f"{each.name}_total" if each.type == "counter" else each.name for each in Metrics().registry.collect()}
    assert set(re.findall(r"^\| `(retrain_\w+)`", section("Metrics and alerts"), re.MULTILINE)) == counters


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 170
