"""What the symbol of an option contract says: OCC's, such as AAPL230616C00150000, however a vendor dresses it up."""

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

_OCC = re.compile(
    r"(?P<root>[A-Z0-9./]{1,6})(?P<year>\d\d)(?P<month>\d\d)(?P<day>\d\d)(?P<right>[CP])(?P<strike>\d{8})"
)
_THOUSANDTHS = 3
_ADJUSTED = re.compile(r"(?<=[A-Z])\d$")


@dataclass(frozen=True, slots=True)
class Contract:
    """A listed option. `symbol` is OCC's, without blanks; `root` is what it begins with, AAPL1 for an adjusted one."""

    symbol: str
    root: str
    expiration: date
    option_type: str
    strike: Decimal

    @property
    def underlying(self) -> str:
        """The share that the root stands for: an adjusted contract's root has a digit behind it."""
        return _ADJUSTED.sub("", self.root)


def contract_of(symbol: str) -> Contract | None:
    """The contract that a symbol names; None when it is none. `O:` before it and blanks in it are the vendor's."""
    compact = symbol.removeprefix("O:").replace(" ", "")
    match = _OCC.fullmatch(compact)
    if match is None:
        return None
    try:
        expiration = date(2000 + int(match["year"]), int(match["month"]), int(match["day"]))
    except ValueError:
        return None
    strike = Decimal(int(match["strike"])).scaleb(-_THOUSANDTHS)
    return Contract(compact, match["root"], expiration, "call" if match["right"] == "C" else "put", strike)
