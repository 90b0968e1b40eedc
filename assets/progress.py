"""How far a run has come, in its log."""

import logging
from time import monotonic

_SECONDS_BETWEEN = 10.0


class LoggedProgress:
    """Writes a line when a stage begins, then one every ten seconds at most: each is a row in Dagster's database."""

    def __init__(self, log: logging.Logger) -> None:
        """Write to this log."""
        self._log = log
        self._what, self._total, self._steps = "", None, 0  # type: tuple[str, int | None, int]
        self._written = 0.0

    def begin(self, what: str, total: int | None) -> None:
        """See `Progress.begin`."""
        self._what, self._total, self._steps = what, total, 0
        self._log.info(what if total is None else f"{what}: {total:,}")
        self._written = monotonic()

    def advance(self, steps: int = 1) -> None:
        """See `Progress.advance`."""
        self._steps += steps
        if monotonic() - self._written >= _SECONDS_BETWEEN:
            of_total = "" if self._total is None else f" of {self._total:,}"
            self._log.info(f"{self._what}: {self._steps:,}{of_total}")
            self._written = monotonic()
