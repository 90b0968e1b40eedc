"""The rules: what each looks for, from which size on, and how grave it is."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import date
from enum import StrEnum
from types import MappingProxyType
from typing import Protocol

from thermocline.errors import UsageError
from thermocline.model.partition import parse_day


class Severity(StrEnum):
    """How grave a finding is: worth knowing, worth a look, or hardly anything but wrong."""

    INFO = "info"
    WARN = "warn"
    ERROR = "error"


class Rule(Protocol):
    """What all rules have."""

    @property
    def enabled(self) -> bool:
        """Whether the rule is looked for where nobody names it."""
        ...

    @property
    def severity(self) -> Severity:
        """How grave its findings are."""
        ...


@dataclass(frozen=True, slots=True)
class JumpRule:
    """A close that moved by more than `threshold` since the last one, and no known split or dividend is the reason.

    One is the reason where the close, undone of it, is within `tolerance` of the last one. `turnover` tells what a
    jump that nobody knows looks like: a split leaves price times volume as it was, news multiply it.
    """

    enabled: bool = True
    severity: Severity = Severity.WARN
    threshold: float = 0.35
    tolerance: float = 0.15
    turnover: float = 3.0


@dataclass(frozen=True, slots=True)
class MixedRule:
    """A row out of line with both of its neighbours, which agree within `agreement`: perhaps another instrument's.

    Either its close is more than `threshold` away, or its high or low alone.
    """

    enabled: bool = True
    severity: Severity = Severity.WARN
    threshold: float = 0.35
    agreement: float = 0.15


@dataclass(frozen=True, slots=True)
class SameSeriesRule:
    """So many `rows` that say exactly the same, prices and volume, at the same times under two symbols."""

    enabled: bool = True
    severity: Severity = Severity.ERROR
    rows: int = 20


@dataclass(frozen=True, slots=True)
class RepeatedDayRule:
    """A day of a series that says exactly what its day before said: prices, volume and times of day.

    Where that is so of at least `symbols` series and a `share` of all that traded on both days, it is one finding of
    the whole feed. Days without volume, and those on which the price never moved, are left out for a single series:
    a thin share may well trade a hundred times at one price twice.
    """

    enabled: bool = True
    severity: Severity = Severity.ERROR
    symbols: int = 5
    share: float = 0.5


@dataclass(frozen=True, slots=True)
class ReusedSymbolRule:
    """A symbol that names something else from a day on.

    By what is known of instruments; else by at least `gap_days` without a bar, after which the close is more than
    `threshold` away from the last one.
    """

    enabled: bool = True
    severity: Severity = Severity.WARN
    gap_days: int = 60
    threshold: float = 0.35


@dataclass(frozen=True, slots=True)
class RestatementFoundRule:
    """A restatement of many symbols on one day that is held and waits for a person."""

    enabled: bool = True
    severity: Severity = Severity.WARN


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """A finding that a person has looked at: of which rule, symbol and day. Written `jumps/AAPL/2000-09-29`."""

    rule: str
    symbol: str
    day: date

    @classmethod
    def parse(cls, text: str) -> "Acknowledged":
        """From its spelling; a symbol may have slashes of its own, and that of a whole feed is empty.

        Raises:
            UsageError: It is none, or there is no such rule.
        """
        rule, _, rest = text.partition("/")
        symbol, slash, day = rest.rpartition("/")
        if rule not in RULES or not slash:
            msg = f"{text!r} is no finding; write RULE/SYMBOL/DAY, such as jumps/AAPL/2000-09-29"
            raise UsageError(msg)
        return cls(rule, symbol, parse_day(day))


@dataclass(frozen=True, slots=True)
class CheckRules:
    """Every rule. `look_back_days` are read before the days that are asked about, for there to be neighbours.

    What is `acknowledged` is no finding any more.
    """

    look_back_days: int = 40
    acknowledged: frozenset[Acknowledged] = frozenset()
    jumps: JumpRule = field(default_factory=JumpRule)
    mixed: MixedRule = field(default_factory=MixedRule)
    same_series: SameSeriesRule = field(default_factory=SameSeriesRule)
    repeated_day: RepeatedDayRule = field(default_factory=RepeatedDayRule)
    reused_symbol: ReusedSymbolRule = field(default_factory=ReusedSymbolRule)
    restatement: RestatementFoundRule = field(default_factory=RestatementFoundRule)

    def __getitem__(self, name: str) -> Rule:
        """The rule of that name."""
        rule: Rule = getattr(self, name)
        return rule

    def chosen(self, names: Collection[str] = ()) -> frozenset[str]:
        """The names of the rules to look for: those named, else all that are enabled.

        Raises:
            UsageError: There is no such rule.
        """
        if unknown := [name for name in names if name not in RULES]:
            msg = f"no rule is called {unknown[0]!r}; there are {', '.join(RULES)}"
            raise UsageError(msg)
        return frozenset(names) or frozenset(name for name in RULES if self[name].enabled)


RULES: Mapping[str, str] = MappingProxyType(
    {
        "jumps": "a close far from the last one that no known split or dividend explains",
        "mixed": "a row out of line with both of its neighbours, as if of another instrument",
        "same_series": "the same prices and volumes under two symbols",
        "repeated_day": "a day that says what the day before said",
        "reused_symbol": "a symbol that names another instrument from a day on",
        "restatement": "a restatement of many symbols that waits for a person",
    }
)
"""The rules by name, and what each finds."""

if set(RULES) != {each.name for each in fields(CheckRules)} - {"look_back_days", "acknowledged"}:  # pragma: no cover
    msg = "RULES and CheckRules name different rules"
    raise AssertionError(msg)
