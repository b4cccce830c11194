"""Tables as `kubectl get` prints them, from the printer columns of the CRDs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from retrain_operator.api.base import parse_time

Body = Mapping[str, Any]

_STEP = re.compile(r"""\.(?P<field>\w+)|\[(?P<index>\d+)\]|\[\?\(@\.(?P<by>\w+)=="(?P<value>[^"]*)"\)\]""")


def table(definition: Body, bodies: Iterable[Body], now: datetime) -> list[str]:
    """Header and one line per object, in the columns that kubectl shows without -o wide."""
    names, version = definition["spec"]["names"], definition["spec"]["versions"][0]
    columns = [column for column in version["additionalPrinterColumns"] if not column.get("priority")]
    rows = [["NAME", *(column["name"].upper() for column in columns)]]
    for body in sorted(bodies, key=lambda each: each["metadata"]["name"]):
        name = f"{names['singular']}.{definition['spec']['group']}/{body['metadata']['name']}"
        rows.append([name, *(_cell(column, body, now) for column in columns)])
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) + 3 for column in range(len(rows[0]))]
    return ["".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _cell(column: Body, body: Body, now: datetime) -> str:
    value = _look_up(column["jsonPath"], body)
    if value is None:
        return ""
    if column["type"] == "date":
        return age((now - parse_time(value)).total_seconds())
    return str(value).lower() if isinstance(value, bool) else str(value)


def _look_up(path: str, body: Any) -> Any:
    """The value at a path of fields, list indices and `[?(@.field=="value")]`, which is all that our columns use."""
    at, value = 0, body
    while at < len(path):
        step = _STEP.match(path, at)
        if step is None:
            raise ValueError(f"not a path of a printer column: {path}")
        at = step.end()
        if value is None:
            return None
        if step["field"]:
            value = value.get(step["field"])
        elif step["index"]:
            value = value[int(step["index"])] if int(step["index"]) < len(value) else None
        else:
            value = next((each for each in value if each.get(step["by"]) == step["value"]), None)
    return value


def age(seconds: float) -> str:
    """A duration as kubectl prints an age: 42s, 3m12s, 65m, 7h."""
    whole = int(seconds)
    if whole < 120:
        return f"{max(whole, 0)}s"
    minutes = whole // 60
    if minutes < 10:
        return f"{minutes}m{whole % 60}s" if whole % 60 else f"{minutes}m"
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    return f"{hours}h" if hours < 48 else f"{hours // 24}d"
