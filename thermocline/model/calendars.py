"""Which trading calendar an instrument has."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

ALWAYS = "24/7"
"""The calendar of what trades around the clock, every day of the year."""
WEEK = "24/5"
"""The calendar of foreign exchange: from Sunday 17:00 to Friday 17:00 in New York, but for Christmas and New Year."""
NONE = "none"
"""What stands where nothing is expected: rows are counted, none is missing."""

DEFAULT_CALENDARS: Mapping[str, str] = {
    "equity": "XNYS",
    "index": "XNYS",
    "option": "XNYS",
    "future": "CMES",
    "forex": WEEK,
    "crypto": ALWAYS,
}
"""The calendar of each asset class where nothing is set."""


@dataclass(frozen=True)
class CalendarRules:
    """Calendars by asset class (`equity`), or by asset class and symbol (`equity/7203`), `*` standing for anything."""

    rules: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_CALENDARS))

    def of(self, asset_class: str, symbol: str) -> str | None:
        """The instrument's calendar; None where nothing is known of when it trades.

        Of several rules the one that names the symbol goes first, then the longest pattern, then the asset class.
        """
        name = f"{asset_class}/{symbol}"
        found = self.rules.get(name)
        if found is None:
            patterns = [key for key in self.rules if "/" in key and fnmatchcase(name, key)]
            found = self.rules.get(max(patterns, key=len) if patterns else asset_class)
        return None if found in {None, NONE} else found
