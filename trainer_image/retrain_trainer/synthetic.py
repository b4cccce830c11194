"""Synthetic interactions, made and not observed: for examples, demos and benchmarks. `synthetic:interactions?users=…&items=…&n=…&seed=…`

Each user takes items with a chance that grows with the item's popularity (Zipf) and with how well it suits the user's
taste (a product of latent factors), each item once. So there is something to learn that popularity alone does not know.
The same address gives the same table, columns `user`, `item` (whole numbers) and `time` (seconds since 1970, over 2025).
"""

import math
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from retrain_trainer.contract import Failure, Reason

PREFIX = "synthetic:"
GENERATOR = 1  # a change of what is generated counts this up, and so changes every data version
DEFAULTS = {"users": 1000, "items": 300, "n": 30_000, "seed": 0}
LIMITS = {"users": 10**6, "items": 10**5, "n": 10**7, "seed": 2**32 - 1}
DIMENSIONS = 8
TASTE = 1.6  # standard deviation of the taste term, in nats; popularity spans ln(items)
BATCH_CELLS = 2_000_000  # users x items at a time: 8 MB of float32
YEAR_BEGINS_S, YEAR_S = 1_735_689_600, 31_536_000


@dataclass(frozen=True)
class Interactions:
    """What an address asks for. `n` is nearly met: everybody takes at least two items and at most half of all."""

    users: int
    items: int
    n: int
    seed: int

    @property
    def schema(self) -> str:
        """Stands for the content in the data version."""
        return f"synthetic/{GENERATOR} users={self.users} items={self.items} n={self.n} seed={self.seed}"


def parse(uri: str) -> Interactions:
    """Raises Failure (exit 2)."""
    name, _, query = uri.removeprefix(PREFIX).partition("?")
    if name != "interactions":
        raise Failure(Reason.BAD_CONFIGURATION, f"{uri}: what can be made is synthetic:interactions?users=…&items=…&n=…&seed=…")
    given = dict(DEFAULTS)
    for key, value in parse_qsl(query, keep_blank_values=True):
        if key not in DEFAULTS or not value.isdecimal() or not (key == "seed" or int(value) >= 10) or int(value) > LIMITS[key]:
            bounds = ", ".join(f"{name} up to {limit}" for name, limit in LIMITS.items())
            raise Failure(Reason.BAD_CONFIGURATION, f"{uri}: {key}={value}: known are {bounds}; all but seed are at least 10")
        given[key] = int(value)
    return Interactions(**given)


def generate(wanted: Interactions) -> Any:
    """The table, a pandas DataFrame in order of time."""
    import numpy as np
    import pandas as pd  # type: ignore[import-untyped]

    rng = np.random.default_rng([GENERATOR, wanted.seed])
    popularity = (-0.8 * np.log(rng.permutation(wanted.items) + 1.0)).astype(np.float32)
    item_factors = rng.standard_normal((wanted.items, DIMENSIONS), np.float32) * np.float32(TASTE / math.sqrt(DIMENSIONS))
    activity = rng.lognormal(sigma=0.8, size=wanted.users)
    counts = np.clip(np.round(activity / activity.sum() * wanted.n), 2, max(2, wanted.items // 2)).astype(np.int64)
    items = []
    batch = max(1, BATCH_CELLS // wanted.items)
    for begin in range(0, wanted.users, batch):
        of_batch = counts[begin : begin + batch]
        taste = rng.standard_normal((len(of_batch), DIMENSIONS), np.float32)
        # The largest of utility plus Gumbel noise are a draw without replacement with softmax chances.
        noise = np.log(np.maximum(rng.standard_exponential((len(of_batch), wanted.items), np.float32), np.finfo(np.float32).tiny))
        against = noise - taste @ item_factors.T - popularity
        # Sorted, because the order that a partition leaves depends on the processor.
        items += [np.sort(np.argpartition(row, count - 1)[:count]) for row, count in zip(against, of_batch, strict=True)]
    users = np.repeat(np.arange(wanted.users), counts)
    times = YEAR_BEGINS_S + rng.integers(0, YEAR_S, len(users))
    frame = pd.DataFrame({"user": users, "item": np.concatenate(items), "time": times})
    return frame.sort_values(["time", "user", "item"], ignore_index=True)
