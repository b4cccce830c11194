"""Data of a database, by SQLAlchemy: which rows, which version, and what is said when there are none."""

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from retrain_trainer.contract import Failure, Reason
from retrain_trainer.data import load
from retrain_trainer.dataversion import DataSet, read_data_set
from tests.trainer.harness import TREE, Trainer, write_module
from tests.trainer.inprocess import tell
from tests.trainer.tables import customers, write_csv

ROWS = [(3, "c", None), (1, "a", 0.5), (2, None, 1.5), (1, "a", 0.5)]
ALL = "SELECT number, word, share FROM things"


def database(path: Path, rows: Sequence[tuple[Any, ...]] = ROWS) -> str:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE things (number INTEGER, word TEXT, share REAL)")
        connection.executemany("INSERT INTO things VALUES (?, ?, ?)", rows)
    connection.close()
    return f"sqlite:///{path}"


def read(uri: str, query: str | None = ALL, folder: Path | None = None) -> DataSet:
    def scratch() -> str:
        made = Path(uri.removeprefix("sqlite:///")).parent / "scratch"
        made.mkdir(exist_ok=True)
        return str(made)

    return read_data_set(uri, "sql", "", scratch if folder is None else lambda: str(folder), query=query)


def test_the_rows_are_the_query_s_in_an_order_of_their_own(tmp_path: Path) -> None:
    frame = load(read(database(tmp_path / "x.db")))
    assert list(frame.columns) == ["number", "word", "share"]
    assert frame.astype(object).where(frame.notna(), None).values.tolist() == [[1, "a", 0.5], [1, "a", 0.5], [2, None, 1.5], [3, "c", None]]


def test_the_order_of_the_rows_does_not_change_the_version(tmp_path: Path) -> None:
    versions = {read(database(tmp_path / f"{i}.db", rows)).version for i, rows in enumerate((ROWS, ROWS[::-1]))}
    versions.add(read(f"sqlite:///{tmp_path}/0.db", ALL + " ORDER BY share DESC").version)
    assert len(versions) == 1


@pytest.mark.parametrize("rows", [ROWS[:3], [*ROWS[1:], (3, "d", None)], [*ROWS, ROWS[0]]], ids=["less", "another", "twice"])
def test_other_rows_are_another_version(tmp_path: Path, rows: list[tuple[Any, ...]]) -> None:
    assert read(database(tmp_path / "a.db")).version != read(database(tmp_path / "b.db", rows)).version


def test_types_do_not_depend_on_where_a_batch_of_rows_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whole number and one gap in a batch of their own."""
    uri = database(tmp_path / "x.db", [(1, None, 1.5), (2, None, None), (3, "c", 2.0)])
    whole = read(uri).version
    monkeypatch.setattr("retrain_trainer.sql.FETCH_ROWS", 1)
    assert read(uri).version == whole


def test_a_query_changes_nothing(tmp_path: Path) -> None:
    uri = database(tmp_path / "x.db")
    with pytest.raises(Failure, match="one SELECT"):
        read(uri, "DELETE FROM things")
    assert len(load(read(uri))) == 4


def test_a_percent_sign_is_a_percent_sign(tmp_path: Path) -> None:
    assert len(load(read(database(tmp_path / "x.db"), ALL + " WHERE word LIKE 'a%' OR number % 3 = 0"))) == 3


@pytest.mark.parametrize(
    ("uri", "query", "reason", "message"),
    [
        pytest.param("sqlite:///{}/x.db", None, Reason.BAD_CONFIGURATION, "needs config.query", id="no query"),
        pytest.param("sqlite:///{}/x.db", "DROP TABLE things", Reason.BAD_CONFIGURATION, "one SELECT", id="no SELECT"),
        pytest.param("sqlite:///{}/x.db", "SELECT profit FROM things", Reason.BAD_CONFIGURATION, "query: no such column", id="column"),
        pytest.param("sqlite:///{}/x.db", "SELECT FROM", Reason.BAD_CONFIGURATION, "syntax error", id="bad SQL"),
        pytest.param("sqlite:///{}/x.db", "SELECT 1 AS a, 2 AS a", Reason.BAD_CONFIGURATION, "twice", id="a name twice"),
        pytest.param("sqlite:///{}/x.db", ALL + " WHERE 1 = 0", Reason.TOO_LITTLE_DATA, "no row", id="no row"),
        pytest.param("sqlite:///{}/x.db", "SELECT 1 AS a UNION SELECT 'b'", Reason.DATA_UNREADABLE, "CAST", id="mixed types"),
        pytest.param("sqlite:///{}/none.db", ALL, Reason.DATA_NOT_FOUND, "no such file", id="SQLite: no file"),
        pytest.param("sqlite:///{}/text.db", ALL, Reason.DATA_UNREADABLE, "not a database", id="SQLite: another file"),
        pytest.param("{}/x.db", ALL, Reason.BAD_CONFIGURATION, "sqlite:////data/shop.db", id="a path and no URL"),
        pytest.param("postgresql+psycopg://u:hunter2@h/db", ALL, Reason.BAD_CONFIGURATION, "PGPASSWORD", id="a password"),
        pytest.param("mysql://u@h/db?passwd=hunter2", ALL, Reason.BAD_CONFIGURATION, "PGPASSWORD", id="a password in the query"),
        pytest.param("mssql+x://?odbc_connect=Host%3Dh%3BPWD%3Dhunter2", ALL, Reason.BAD_CONFIGURATION, "PGPASSWORD", id="ODBC's password"),
        pytest.param("lakehouse://h/db", ALL, Reason.PACKAGE_MISSING, "lakehouse:// needs its driver", id="unknown database"),
        pytest.param("mssql+pymssql://h/db", ALL, Reason.PACKAGE_MISSING, "pymssql", id="no driver"),
    ],
)
def test_refusals(tmp_path: Path, uri: str, query: str | None, reason: Reason, message: str) -> None:
    database(tmp_path / "x.db")
    (tmp_path / "text.db").write_text("no database" * 100)
    with pytest.raises(Failure) as caught:
        read(uri.format(tmp_path), query, tmp_path)
    assert caught.value.reason is reason, caught.value.message
    assert message in caught.value.message
    assert "hunter2" not in caught.value.message


def test_a_query_without_a_database_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"set data\.format: sql"):
        read_data_set("x.csv", "", "", lambda: str(tmp_path), query=ALL)


# A driver of a database on a network, whose server refuses. DB-API 2.0 has the names.
REFUSING = """
from sqlite3 import *
paramstyle = "format"
def connect(*args, **given):
    raise OperationalError("Connection refused")
"""


def test_a_database_that_is_not_there_exits_7(trainer: Trainer) -> None:
    driver = write_module(trainer.folder / "driver", "pymysql", REFUSING)
    config = {**TREE, "target": "share", "query": ALL}
    run = trainer.run(config, driver, DATA_URI="mysql+pymysql://reader@127.0.0.1/shop", DATA_FORMAT="sql")
    assert (run.code, run.result["error"]["reason"]) == (7, "FetchFailed"), run.stderr
    assert run.result["error"]["message"] == "mysql+pymysql://reader@127.0.0.1/shop: Connection refused"


def test_a_model_of_a_query_is_that_of_the_same_table(tmp_path: Path) -> None:
    rows = sorted((int(spend), country, churned) for _, country, spend, churned in customers())
    header = ("spend", "country", "churned")
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.execute("CREATE TABLE customers (spend INTEGER, country TEXT, churned TEXT)")
        connection.executemany("INSERT INTO customers VALUES (?, ?, ?)", [(a, b or None, c) for a, b, c in rows[::-1]])
    connection.close()
    data = write_csv(tmp_path / "x.csv", [tuple(map(str, row)) for row in rows], header)
    config = {**TREE, "target": "churned"}
    query = {"query": "SELECT spend, country, churned FROM customers"}
    told = tell(tmp_path, {**config, **query}, "sql", DATA_URI=f"sqlite:///{tmp_path}/x.db", DATA_FORMAT="sql")
    assert told.result["data"]["rows"] == 200
    assert told.manifest["data"]["uri"] == f"sqlite:///{tmp_path}/x.db"
    assert told.result["metrics"] == tell(tmp_path, config, "csv", DATA_URI=str(data)).result["metrics"]
    before = {"PREVIOUS_DATA_VERSION": told.result["data"]["version"], "PREVIOUS_CONFIG_HASH": told.result["config"]["hash"]}
    again = tell(
        tmp_path, {**config, **query}, "again", DATA_URI=f"sqlite:///{tmp_path}/x.db", DATA_FORMAT="sql", DATA_CHECK="Skip", **before
    )
    assert again.result["reason"] == "DataUnchanged"
