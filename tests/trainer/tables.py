"""Small tables for the tests, made from arithmetic, so that they are the same everywhere."""

import csv
from pathlib import Path

HEADER = ("age", "country", "spend", "churned")
COUNTRIES = ("at", "de", "fr", "")


def customers(rows: int = 200) -> list[tuple[str, ...]]:
    """Customers who churn when they are young and spend little; some ages and countries are missing."""
    made: list[tuple[str, ...]] = []
    for i in range(rows):
        age, spend = 18 + (i * 37) % 60, (i * 53) % 100
        churned = "yes" if age < 45 and spend < 60 else "no"
        made.append(("" if i % 23 == 0 else str(age), COUNTRIES[i % 4], str(spend), churned))
    return made


def write_csv(path: Path, rows: list[tuple[str, ...]], header: tuple[str, ...] = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path
