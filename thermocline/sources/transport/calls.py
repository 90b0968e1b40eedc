"""Requests of a vendor: one after another within its rate limit, and made again where they failed for a moment.

Pauses between attempts are drawn from zero up to a bound that doubles (full jitter), or are what the vendor asked for.
A request is given up after so many attempts and so much time, whatever comes first.
"""

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import TypeVar

from thermocline.errors import SourceError
from thermocline.sources.transport.limits import Limit

T = TypeVar("T")

_log = logging.getLogger(__name__)


class PassingError(Exception):
    """The vendor did not answer this time. `wait_seconds` is the pause that it asked for, if it did."""

    def __init__(self, what: str, wait_seconds: float | None = None) -> None:
        """Say what happened, in words that need no secret hidden."""
        super().__init__(what)
        self.wait_seconds = wait_seconds


@dataclass(frozen=True, slots=True)
class Patience:
    """How often one request is made, and for how long.

    Before the nth repetition lies a pause of at most `first_pause_seconds` times two to the n-1, and never more than
    `longest_pause_seconds`, unless the vendor asks for a longer one. No pause begins that would end later than
    `give_up_after_seconds` after the first attempt.
    """

    attempts: int = 7
    first_pause_seconds: float = 0.5
    longest_pause_seconds: float = 30.0
    give_up_after_seconds: float = 300.0


class Calls:
    """Makes one source's requests."""

    def __init__(
        self,
        source: str,
        limit: Limit,
        patience: Patience | None = None,
        *,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
        dice: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Ask within a limit. `sleep` and `dice` make and draw the pauses between attempts."""
        self.source = source
        self._limit, self._patience = limit, patience or Patience()
        self._clock, self._sleep, self._dice = clock, sleep, dice

    @property
    def clock(self) -> Callable[[], float]:
        """Seconds since 1970."""
        return self._clock

    def make(self, what: str, attempt: Callable[[], T]) -> T:
        """Make a request, as often as need be; `what` says in an error what was asked for.

        `attempt` makes it once, and raises a PassingError where making it again may help.

        Raises:
            SourceError: It failed for good.
        """
        began, failures = self._clock(), 0
        while True:
            self._limit.wait()
            try:
                return attempt()
            except PassingError as error:
                failures += 1
                self._pause(what, error, failures, began)

    def _pause(self, what: str, error: PassingError, failures: int, began: float) -> None:
        patience = self._patience
        longest = min(patience.longest_pause_seconds, patience.first_pause_seconds * 2 ** (failures - 1))
        seconds = self._dice(0.0, longest)
        if error.wait_seconds is not None:
            seconds += error.wait_seconds  # not all at the very moment that was named
            self._limit.hold(error.wait_seconds)
        left = began + patience.give_up_after_seconds - self._clock()
        if failures >= patience.attempts or seconds > left:
            asked = f" and asks to wait {error.wait_seconds:.0f} s" if error.wait_seconds else ""
            msg = (
                f"{self.source}: {what}: {error}{asked}; it was tried {failures} times. Run it again later: pages that "
                "were complete are kept, and not asked for again"
            )
            raise SourceError(msg) from error
        _log.info("%s: %s: %s; trying again in %.1f s (%d)", self.source, what, error, seconds, failures + 1)
        self._sleep(seconds)


def retry_after(text: str | None, now: float) -> float | None:
    """The seconds that a `Retry-After` header asks for, be it a number or an HTTP date; None where it says neither."""
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(text).timestamp() - now
        except (TypeError, ValueError):
            return None
    return max(seconds, 0.0) if seconds == seconds else None  # noqa: PLR0124  # nan is not a pause
