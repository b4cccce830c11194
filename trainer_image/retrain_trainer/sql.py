"""Data of a database: the rows of one query, written once to a Parquet file that is then hashed and trained on.

    spec.data     {format: sql, uri: "postgresql+psycopg://reader@host/shop"}     a SQLAlchemy URL, without a password
    spec.config   {query: "SELECT age, country, churned FROM customers", …}       one SELECT

The rows are sorted by all of their columns, because the order in which a database gives them means nothing: same rows,
same version. Decimals become float64, and times with a zone become UTC. Another pyarrow may write other bytes for the
same rows, and so make a new version of them once.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from retrain_trainer.contract import Failure, Reason
from retrain_trainer.location import reaching

FORMAT = "sql"
FETCH_ROWS = 50_000  # at a time: a row of Python objects is ten times as large as one of Arrow
SECRETS = r"(?i)[?&;](password|passwd|pwd)="
SQLITE_ERROR = 1  # the code for what is wrong in the statement; the others tell of the file


def fetch(uri: str, query: str | None, path: str) -> str:
    """Writes the query's rows to a new file at `path`; the URL to show for them. Nothing that the query changes is committed.

    Raises Failure: exit 2 for the URL and the query, 3 for what cannot be read, 4 for no rows, 7 for the connection, 8 for a
    missing driver.
    """
    if query is None or not re.match(r"(?i)\s*(SELECT|WITH)\b", query):
        message = "data.format sql needs config.query, one SELECT, e.g. SELECT age, country, churned FROM customers"
        raise Failure(Reason.BAD_CONFIGURATION, message)
    engine, shown = _open(uri)
    from pyarrow import parquet  # type: ignore[import-untyped]

    with reaching(shown, is_local=False), _meant(shown, is_connected=False), engine.connect() as connection:
        with _meant(shown, is_connected=True):
            options = {"no_parameters": True, "stream_results": True, "max_row_buffer": FETCH_ROWS}  # a % is a %
            table = _table(connection.execution_options(**options).exec_driver_sql(query), shown)
        parquet.write_table(table, path)
    return shown


def _open(uri: str) -> tuple[Any, str]:
    """An engine that has not connected yet."""
    import sqlalchemy

    if re.search(SECRETS, unquote(uri)):
        raise Failure(Reason.BAD_CONFIGURATION, _NO_PASSWORD)
    try:
        url = sqlalchemy.make_url(uri)
        if url.password is not None:
            raise Failure(Reason.BAD_CONFIGURATION, _NO_PASSWORD)
        engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool)
    except (sqlalchemy.exc.NoSuchModuleError, ImportError) as error:
        kind = uri.partition(":")[0]
        raise Failure(Reason.PACKAGE_MISSING, f"{kind}:// needs its driver: add the Python package to the image ({error})") from error
    except (sqlalchemy.exc.ArgumentError, TypeError, ValueError) as error:
        message = "data.uri is not a SQLAlchemy URL: write e.g. postgresql+psycopg://reader@host/shop, or sqlite:////data/shop.db"
        raise Failure(Reason.BAD_CONFIGURATION, message) from error
    shown = url.set(query={}).render_as_string()
    if url.get_backend_name() == "sqlite" and "uri" not in url.query and not os.path.isfile(url.database or ""):
        raise Failure(Reason.DATA_NOT_FOUND, f"{shown}: no such file")  # SQLite would make an empty database
    return engine, shown


_NO_PASSWORD = (
    "leave the password out of data.uri: give it by the driver's own variable, e.g. PGPASSWORD, in trainer.env with valueFrom.secretKeyRef"
)


def _table(rows: Any, shown: str) -> Any:
    """A pyarrow table in the order of its columns, the first one first."""
    import pyarrow as pa

    names = [str(name) for name in rows.keys()]  # noqa: SIM118  # a result, no mapping
    if len(set(names)) < len(names):
        raise Failure(Reason.BAD_CONFIGURATION, f"config.query gives a column twice: {', '.join(sorted(names))}: name them with AS")
    parts = []
    try:
        for batch in rows.partitions(FETCH_ROWS):
            columns = zip(*batch, strict=True)
            parts.append(pa.table([_plain(pa.array(column)) for column in columns], names))
        if not parts:
            raise Failure(Reason.TOO_LITTLE_DATA, f"{shown}: config.query gives no row")
        table = pa.concat_tables(parts, promote_options="permissive")
        return table.sort_by([(name, "ascending") for name in names])
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as error:
        message = f"{shown}: a column of config.query is no table's column: CAST it to a number, text or time ({error})"
        raise Failure(Reason.DATA_UNREADABLE, message) from error


def _plain(column: Any) -> Any:
    import pyarrow as pa

    if pa.types.is_decimal(column.type):
        return column.cast(pa.float64())
    return column.cast(pa.timestamp("us", "UTC")) if pa.types.is_timestamp(column.type) and column.type.tz else column


@contextlib.contextmanager
def _meant(shown: str, is_connected: bool) -> Iterator[None]:
    """Turns the database's errors into Failure; their text without the statement."""
    from sqlalchemy import exc

    try:
        yield
    except exc.DBAPIError as error:
        code = getattr(error.orig, "sqlite_errorcode", None)
        if code is not None:
            reason = Reason.BAD_CONFIGURATION if code == SQLITE_ERROR else Reason.DATA_UNREADABLE
        elif isinstance(error, exc.ProgrammingError):
            reason = Reason.BAD_CONFIGURATION
        elif not is_connected or error.connection_invalidated or isinstance(error, exc.OperationalError):
            reason = Reason.FETCH_FAILED
        else:
            reason = Reason.DATA_UNREADABLE
        where = "config.query: " if reason is Reason.BAD_CONFIGURATION else ""
        first, *_ = str(error.orig).splitlines() or [type(error.orig).__name__]
        raise Failure(reason, f"{shown}: {where}{first}") from error
