"""Made-up rows for load tests: seeded, of any size, for every dataset.

Rows are the same for one seed, symbol and day whatever range is asked for. A bar closes at the price at which the
next one opens, so days join. A million bars take about a second.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import numpy as np
from pydantic import AfterValidator, BeforeValidator, Field

from thermocline.errors import UsageError
from thermocline.model.parsing.times import EARLIEST, LATEST
from thermocline.ports import Fetched, FetchRequest
from thermocline.sources.options import Options, validated
from thermocline.sources.synthetic_bars import Session, bars, opens_of, seconds_of
from thermocline.sources.synthetic_rest import MAKERS
from thermocline.sources.synthetic_world import DAY_SECONDS, Integers, World

PAGE_ROWS = 250_000
"""About how many rows a page has; a page is whole days, or some symbols of one day."""


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _checked(interval: str) -> str:
    try:
        seconds_of(interval)
    except UsageError as error:
        raise ValueError(str(error)) from None
    return interval


Interval = Annotated[str, AfterValidator(_checked)]
Intervals = Annotated[tuple[Interval, ...], BeforeValidator(_as_list), Field(min_length=1)]


class SyntheticOptions(Options):
    """Options of `synthetic`."""

    symbols: Annotated[int, Field(ge=1, le=100_000)] | Annotated[list[str], Field(min_length=1)] | None = None
    interval: Intervals = ("1day",)
    seed: int = 0
    start_price: Annotated[float, Field(gt=0, le=1e7, allow_inf_nan=False)] = 100.0
    session: Session = "24h"
    asset_class: Annotated[str, Field(min_length=1)] = "equity"


def open_source(name: str, options: Mapping[str, Any]) -> "SyntheticSource":
    """The source of that name.

    Raises:
        SettingsError: An option is unknown or wrong.
    """
    return SyntheticSource(name, validated(SyntheticOptions, name, options))


class SyntheticSource:
    """Makes up what is asked for, day by day."""

    def __init__(self, name: str, options: SyntheticOptions) -> None:
        """Keep the options."""
        self._name = name
        self._options = options
        self._world = World(options.seed, options.start_price)

    @property
    def name(self) -> str:
        """What the `source` column of its rows says."""
        return self._name

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """Yield rows of every day asked for.

        Without `symbols` among the options it makes whatever symbols are asked for, else five. Any interval
        asked for is made, else those among the options.

        Raises:
            UsageError: The days asked for are not within 1900 to 2199, or no such dataset or interval can be made.
        """
        days = request.days
        if days.start < EARLIEST.date() or days.end > LATEST.date():
            msg = f"synthetic has no first and no last day; ask for some ({days.start} to {days.end} was asked for)"
            raise UsageError(msg)
        symbols = self._symbols(request.symbols)
        if not symbols:
            return
        if request.dataset.has_intervals:
            for interval in sorted(request.intervals) or self._options.interval:
                yield from self._bars(request, symbols, interval)
        elif request.dataset.name in MAKERS:
            yield from self._rest(request, symbols)
        else:
            msg = f"synthetic can't make up {request.dataset.name}; it makes market_data, {', '.join(MAKERS)}"
            raise UsageError(msg)

    def _symbols(self, asked: frozenset[str]) -> list[str]:
        chosen = self._options.symbols
        if chosen is None and asked:
            return sorted(asked)
        count = 5 if chosen is None else chosen
        own = [f"SYN{number:04d}" for number in range(1, count + 1)] if isinstance(count, int) else count
        return [symbol for symbol in own if not asked or symbol in asked]

    def _bars(self, request: FetchRequest, symbols: list[str], interval: str) -> Iterator[Fetched]:
        options, step = self._options, seconds_of(interval)
        waiting: list[Integers] = []
        for day in request.days:
            waiting.append(opens_of(day, step, options.session))
            if sum(map(len, waiting)) * len(symbols) >= PAGE_ROWS:
                yield from self._page(symbols, waiting, interval)
                waiting = []
        yield from self._page(symbols, waiting, interval)

    def _page(self, symbols: list[str], waiting: list[Integers], interval: str) -> Iterator[Fetched]:
        opens = np.concatenate(waiting) if waiting else np.array([], dtype=np.int64)
        if not len(opens):
            return
        at_once = max(1, PAGE_ROWS // len(opens))
        for first in range(0, len(symbols), at_once):
            some = symbols[first : first + at_once]
            yield Fetched(bars(self._world, some, opens, interval, self._options.asset_class), self._origin(opens))

    def _rest(self, request: FetchRequest, symbols: list[str]) -> Iterator[Fetched]:
        make, rows_a_day = MAKERS[request.dataset.name]
        midnights = np.concatenate([opens_of(day, DAY_SECONDS, self._options.session) for day in request.days])
        days_at_once = max(1, PAGE_ROWS // (rows_a_day * len(symbols)))
        symbols_at_once = max(1, PAGE_ROWS // rows_a_day)
        for start in range(0, len(midnights), days_at_once):
            days = midnights[start : start + days_at_once]
            for first in range(0, len(symbols), symbols_at_once):
                some = symbols[first : first + symbols_at_once]
                yield Fetched(make(self._world, some, days, self._options.asset_class), self._origin(days))

    def _origin(self, seconds: Integers) -> str:
        first, last = (np.datetime64(int(each), "s").astype("datetime64[D]") for each in (seconds[0], seconds[-1]))
        return f"seed {self._options.seed}, {first} to {last}"
