"""The memory that this process may use, and whether data can fit into it."""

import os

from retrain_trainer.contract import Failure, Reason

LIMIT_FILES = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # cgroup v2, v1
COPIES = 3  # the table, its split, and what an estimator makes of it; less than this is known not to be enough


def limit_bytes() -> int:
    """The container's memory limit, or the machine's memory where that is less."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for path in LIMIT_FILES:
        try:
            with open(path, encoding="ascii") as file:
                text = file.read().strip()
        except OSError:
            continue
        if text.isdigit():
            limits.append(int(text))
    return min(limits)


def refuse_too_much(data_bytes: int, limit: int) -> None:
    """Raises Failure (exit 4) when `data_bytes` of files cannot be trained on within `limit` bytes: an estimate from below."""
    if data_bytes * COPIES > limit:
        needed, given = data_bytes * COPIES / 2**20, limit / 2**20
        raise Failure(
            Reason.TOO_LITTLE_MEMORY,
            f"{data_bytes / 2**20:.0f} MiB of data need at least {needed:.0f} MiB of memory, the limit is {given:.0f} MiB",
        )
