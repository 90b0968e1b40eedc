"""A rule: a name, what must hold, and what becomes of rows where it does not."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from thermocline.model.rules.rows import Mask, Rows


class Severity(StrEnum):
    """What becomes of rows that break a rule."""

    REJECT = "reject"  # they go to quarantine
    WARN = "warn"  # they go in, counted and named
    CLEAR = "clear"  # they go in, with null in place of what can't be known
    OFF = "off"  # nobody looks


@dataclass(frozen=True)
class Rule:
    """What rows must say. `broken` tells the rows that don't; a null breaks nothing.

    `says` is what holds of a good row. A rule that `clears` columns makes them null where it is broken.
    """

    name: str
    says: str
    broken: Callable[[Rows], Mask]
    severity: Severity = Severity.REJECT
    clears: tuple[str, ...] = ()

    @property
    def reason(self) -> str:
        """Why a row that breaks it may not go in."""
        return f"breaks {self.name}: {self.says}"

    @property
    def allowed(self) -> tuple[Severity, ...]:
        """How it can be taken."""
        return (Severity.CLEAR, Severity.OFF) if self.clears else (Severity.REJECT, Severity.WARN, Severity.OFF)
