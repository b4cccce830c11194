"""When a search ends: after so many trials, so much time, or when what is left is needed to train the final model."""

from dataclasses import dataclass

# A final fit is one on more rows than a trial's, and is scored and written; a trial is scored too.
FINAL_FITS = 1.5
MARGIN_S = 10.0  # of the deadline, for what trials do not tell about: writing the artifact, a slower disk
MARGIN_SHARE = 0.1  # of a deadline so short that the margin would be most of it


@dataclass(frozen=True)
class Spent:
    """What a search has cost so far. Seconds."""

    trials: int = 0  # of all attempts
    search_s: float = 0.0  # of all attempts
    run_s: float = 0.0  # since the trainer started
    longest_s: float = 0.0  # the longest trial


@dataclass(frozen=True)
class Budget:
    """`timeout_s` of the search, `deadline_s` of the run, both None when there is none."""

    trials: int
    timeout_s: float | None = None
    deadline_s: float | None = None

    def ended_by(self, spent: Spent) -> str | None:
        """Why no further trial is started: trials, timeout or deadline. None while one is. The first trial always is."""
        if spent.trials >= self.trials:
            return "trials"
        if spent.trials == 0:
            return None
        if self.timeout_s is not None and spent.search_s >= self.timeout_s:
            return "timeout"
        if self.deadline_s is not None and spent.run_s + spent.longest_s + self._reserve_s(spent) > self.deadline_s:
            return "deadline"
        return None

    def done(self, spent: Spent) -> float:
        """The share of the search that is done, 0 to 1: by trials or by time, whichever is further."""
        shares = [spent.trials / self.trials]
        if self.timeout_s is not None:
            shares.append(spent.search_s / self.timeout_s)
        if self.deadline_s is not None:
            shares.append(spent.run_s / max(self.deadline_s - self._reserve_s(spent), 1.0))
        return min(1.0, max(shares))

    def _reserve_s(self, spent: Spent) -> float:
        assert self.deadline_s is not None
        return FINAL_FITS * spent.longest_s + min(MARGIN_S, MARGIN_SHARE * self.deadline_s)
