"""Adjusted bars: raw bars, and the splits and dividends that are known of, brought together on read."""

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from thermocline.errors import AdjustmentError, UsageError
from thermocline.model.adjusting.factors import Adjust, Adjustment, Event, dividend_factor, split_factor
from thermocline.model.datasets import MARKET_DATA, dataset_named
from thermocline.model.instruments import Instruments, Span, ZoneOf, new_york
from thermocline.model.partition import ALL_DAYS, ONE_DAY, midnight
from thermocline.model.query import Query, Tier
from thermocline.ports import Hot, Lake
from thermocline.tasks.instruments import known_instruments, query_instrument
from thermocline.tasks.query import query

if TYPE_CHECKING:
    import pyarrow as pa

    from thermocline.model.adjusting.closes import Close

_Paid = tuple[str, str, date]
"""Asset class, symbol and ex-date of a dividend."""

_LAST = ALL_DAYS.end - ONE_DAY
_STALE = timedelta(days=10)
"""A close that is older than this, at an ex-date, is not taken for that of the session before."""


@contextmanager
def query_adjusted(
    hot: Hot,
    lake: Lake,
    asked: Query,
    how: Adjust,
    *,
    as_of: date,
    instrument_id: str | None = None,
    zone_of: ZoneOf = new_york,
    tiers: Collection[Tier] = tuple(Tier),
) -> "Iterator[pa.RecordBatchReader]":
    """Bars with prices and volumes adjusted for splits, or for splits and dividends, as a stream of record batches.

    Only events with an ex-date up to and with `as_of` count, so that the same question gives the same prices again
    whatever happens later. With `asked.as_of_vintage` events and instruments too are those that the lake had then.
    With `instrument_id` the bars are those of an instrument, under every symbol that it had.

    Events are read first, then the bars; closes of the sessions before ex-dates come from daily bars, and from bars of
    the interval asked for where there are none.

    Args:
        hot: The hot tier.
        lake: The cold tier.
        asked: Which bars, of market_data.
        how: What to adjust for.
        as_of: The last ex-date that counts.
        instrument_id: Whose bars; else those of the symbols that are asked for.
        zone_of: Where the days of bars shorter than a day begin: an event counts from that midnight on.
        tiers: Where to look.

    Raises:
        UsageError: The dataset has no bars.
        AdjustmentError: An event makes no sense, or there is no close before a dividend.
    """
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

    from thermocline.model.adjusting.rows import RowAdjuster  # noqa: PLC0415  # it brings Arrow
    from thermocline.model.series import columns_of_series  # noqa: PLC0415  # it brings Arrow

    if asked.dataset.name != MARKET_DATA.name:
        msg = f"only bars of market_data can be adjusted, not {asked.dataset.name}; strikes of options never are"
        raise UsageError(msg)
    instruments = known_instruments(hot, lake, as_of_vintage=asked.as_of_vintage, tiers=tiers)
    reading = _Reading(hot, lake, asked, tiers, instruments, zone_of)
    events = reading.events(how, as_of, _symbols(instruments, asked, instrument_id))
    adjuster = RowAdjuster(Adjustment(instruments, events, as_of=as_of), asked.dataset, zone_of=zone_of)
    columns = tuple(dict.fromkeys((*asked.names, *columns_of_series(asked.dataset))))
    wanted = replace(asked, columns=columns)
    opened: AbstractContextManager[pa.RecordBatchReader] = (
        query(hot, lake, wanted, tiers)
        if instrument_id is None
        else query_instrument(hot, lake, wanted, instrument_id, zone_of=zone_of, tiers=tiers)
    )
    with opened as reader:
        schema = pa.schema([reader.schema.field(name) for name in asked.names])
        batches = (adjuster.adjusted(batch).select(asked.names) for batch in reader)
        yield pa.RecordBatchReader.from_batches(schema, batches)


def _symbols(instruments: Instruments, asked: Query, instrument_id: str | None) -> tuple[str, ...]:
    """Every symbol under which an event can be that concerns the bars; none means all."""
    if instrument_id is not None:
        return tuple(dict.fromkeys(each.symbol for each in instruments.namings(instrument_id)))
    return instruments.kin(asked.symbols)


@dataclass(frozen=True)
class _Reading:
    """Where events and closes are read."""

    hot: Hot
    lake: Lake
    asked: Query
    tiers: Collection[Tier]
    instruments: Instruments
    zone_of: ZoneOf

    def events(self, how: Adjust, as_of: date, symbols: tuple[str, ...]) -> list[Event]:
        """The events that are known as of a day and can concern the bars."""
        splits = [_split(row) for row in self._rows("splits", symbols, as_of)]
        if how is Adjust.SPLITS:
            return splits
        paid = _paid(self._rows("dividends", symbols, as_of))
        return [*splits, *(self._dividends(paid, splits) if paid else ())]

    def _rows(self, dataset: str, symbols: tuple[str, ...], as_of: date) -> list[dict[str, Any]]:
        """Rows of events that change a bar and are not after the as-of day."""
        end = midnight(min(as_of, _LAST) + ONE_DAY)
        # Bars shorter than a day may begin in the day before that of UTC.
        start = _before(self.asked.start, ONE_DAY)
        if start and start >= end:
            return []
        question = Query(dataset_named(dataset), start, end, symbols, as_of_vintage=self.asked.as_of_vintage)
        with query(self.hot, self.lake, question, self.tiers) as reader:
            return [row for batch in reader for row in batch.to_pylist()]

    def _dividends(self, paid: Mapping[_Paid, Fraction], splits: Sequence[Event]) -> Iterator[Event]:
        """Dividends as events, by the closes of the sessions before; those before all bars change none."""
        owners = {each: self.instruments.days_of(*each) for each in paid}
        closes = self._closes(owners)
        by_day: dict[date, list[Event]] = {}
        for split in splits:
            by_day.setdefault(split.ex_date, []).append(split)
        seen = set()
        for key in sorted(paid, key=lambda each: each[2]):
            owner, amount, close = tuple(owners[key]), paid[key], closes.get(key)
            if close is None and owner not in seen:
                continue
            seen.add(owner)
            if close is None or close.age > _STALE:
                raise AdjustmentError(_no_close(*key))
            # The amount is for a share of the ex-date, the close for one of the day before.
            same_day = [each for each in by_day.get(key[2], ()) if self._owned(each) == owners[key]]
            price = close.price * math.prod(each.factor.price for each in same_day)
            if not 0 <= amount < price:
                raise AdjustmentError(_too_much(*key, amount, price))
            yield Event(*key, dividend_factor(amount, price))

    def _owned(self, split: Event) -> Sequence[tuple[str, str, Span]]:
        return self.instruments.days_of(split.asset_class, split.symbol, split.ex_date)

    def _closes(self, owners: Mapping[_Paid, Sequence[tuple[str, str, Span]]]) -> dict[_Paid, "Close"]:
        """The raw close of the session before each ex-date: of daily bars, else of bars of the interval asked for."""
        from thermocline.model.adjusting.closes import ClosesBefore  # noqa: PLC0415  # it brings Arrow
        from thermocline.model.series import columns_of_series  # noqa: PLC0415

        found: dict[_Paid, Close] = {}
        for intervals in dict.fromkeys([("1day",), self.asked.intervals]):
            missing = {key: spans for key, spans in owners.items() if key not in found or found[key].age > _STALE}
            if not missing:
                break
            closes = ClosesBefore({key: (key[2], spans) for key, spans in missing.items()}, zone_of=self.zone_of)
            question = replace(
                self.asked,
                start=_before(self.asked.start, _STALE),
                end=midnight(max(ex_date for *_, ex_date in missing)) + ONE_DAY,
                symbols=tuple(sorted({symbol for spans in missing.values() for _, symbol, _ in spans})),
                intervals=intervals,
                columns=(*columns_of_series(self.asked.dataset), "close"),
                limit=None,
            )
            with query(self.hot, self.lake, question, self.tiers) as reader:
                for batch in reader:
                    closes.look_at(batch, self.asked.dataset)
            found |= closes.found()
        return found


def _before(start: datetime | None, by: timedelta) -> datetime | None:
    """An earlier start; none where there are no days so early."""
    return start - by if start and start.year > 1 else None


def _split(row: Mapping[str, Any]) -> Event:
    old, new = Fraction(row["old_shares"]), Fraction(row["new_shares"])
    ex_date = row["ts"].astimezone(UTC).date()
    if old <= 0 or new <= 0:
        msg = (
            f"{row['symbol']}: a split of {row['old_shares']} into {row['new_shares']} shares on {ex_date} makes no "
            "sense; no bar was read. Correct it in the dataset splits, or query the raw prices"
        )
        raise AdjustmentError(msg)
    return Event(row["asset_class"], row["symbol"], ex_date, split_factor(old, new))


def _paid(rows: Sequence[Mapping[str, Any]]) -> dict[_Paid, Fraction]:
    """What was paid for a share on each ex-date, kinds added up.

    Two sources may call one payment by different kinds, so only the rows of one source count for an ex-date: of that
    which was ingested last.
    """
    days: dict[_Paid, dict[str, list[Mapping[str, Any]]]] = {}
    for row in rows:
        key = row["asset_class"], row["symbol"], row["ts"].astimezone(UTC).date()
        days.setdefault(key, {}).setdefault(row["source"], []).append(row)
    return {
        key: sum(
            (
                Fraction(row["amount"])
                for row in max(sources.values(), key=lambda found: max(row["ingested_at"] for row in found))
            ),
            Fraction(0),
        )
        for key, sources in days.items()
    }


def _no_close(_: str, symbol: str, ex_date: date) -> str:
    return (
        f"{symbol}: there is no close in the {_STALE.days} days before its dividend of {ex_date}, so bars before that "
        f"can't be adjusted; none was read. Backfill the daily bars of these days, adjust as of {ex_date - ONE_DAY} or "
        f"for splits alone, or ask for bars from {ex_date} on"
    )


def _too_much(_: str, symbol: str, ex_date: date, amount: Fraction, close: Fraction) -> str:
    return (
        f"{symbol}: its dividend of {ex_date} is {float(amount):g} for a share that closed at {float(close):g} before; "
        "bars before that day can't be adjusted and none was read. Correct one of the two, or adjust for splits alone"
    )
