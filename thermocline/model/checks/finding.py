"""What a check found."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from thermocline.model.checks.rules import Severity


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """Something that a person should look at: where, since when, and what in words.

    `value` is the number that made it one, such as the ratio of two closes. A finding of a whole feed has no symbol.
    """

    rule: str
    ts: datetime
    interval: str
    asset_class: str
    symbol: str
    severity: Severity
    detail: str
    value: float | None = None

    def document(self) -> dict[str, Any]:
        """The finding as one flat JSON object."""
        return {
            "rule": self.rule,
            "severity": self.severity.value,
            "asset_class": self.asset_class or None,
            "symbol": self.symbol or None,
            "interval": self.interval or None,
            "ts": self.ts.isoformat(),
            "detail": self.detail,
            "value": self.value,
        }
