"""Which hosts the operator talks to on behalf of whoever may write a schedule, who is trusted with little.

Only hosts that the operator's administrator allows, compared after parsing, port included. The parser is that of the client which
connects: two parsers may read one URL differently. Whoever uses this follows no redirects and no proxy of the environment.
"""

import re
from collections.abc import Iterable

from yarl import URL

_HOST = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\]):([0-9]{1,5})")


class NotAllowed(Exception):
    """The URL cannot be used. The message is for people."""


def parse_allowed(text: str) -> tuple[str, ...]:
    """Hosts from "host:port,host:port". Raises ValueError."""
    hosts = tuple(each.strip().lower() for each in text.split(",") if each.strip())
    for host in hosts:
        if _HOST.fullmatch(host) is None:
            raise ValueError(f"{host!r} is not a host with its port: write e.g. prometheus.monitoring:9090")
    return hosts


def allowed_url(text: str, hosts: Iterable[str], flag: str) -> tuple[URL, str]:
    """The URL and its host:port. `flag`: where the administrator lists hosts. Raises NotAllowed, without showing path or query."""
    try:
        url = URL(text)
        # Here as well: yarl decodes a host only when it is asked for, and some that it has taken it cannot decode.
        is_plain, name, port = not (url.user or url.password or url.fragment), url.host, url.port
    except (ValueError, IndexError):
        raise NotAllowed("the URL is not one") from None
    if url.scheme not in ("http", "https") or not name or not is_plain:
        raise NotAllowed("the URL is not of the form http://host:port/path or https://host:port/path")
    host = f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
    if host not in hosts:
        raise NotAllowed(f"the host {host} is not allowed: the operator's administrator lists it in {flag}")
    return url, host
