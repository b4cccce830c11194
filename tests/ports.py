"""Ports for servers that have to be told theirs before they start."""

import errno
import socket
from random import SystemRandom

_PORTS = range(10_000, 32_768)  # Linux gives connections theirs from 32768 up, macOS from 49152: none of these goes to one by chance


def free_port() -> int:
    """A port of this machine that nobody has, and that hardly anybody takes before the server does."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many, each another one."""
    found: list[int] = []
    for port in SystemRandom().sample(_PORTS, len(_PORTS)):  # not as `random`, which processes side by side may have seeded alike
        if len(found) == count:
            return found
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
                continue
        found.append(port)
    raise OSError(errno.EADDRINUSE, "no port is free")
