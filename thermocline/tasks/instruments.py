"""Who is who: what the dataset `instruments` knows, and the rows of one instrument under all its symbols."""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from thermocline.errors import UsageError
from thermocline.model.datasets import dataset_named
from thermocline.model.instruments import Instruments, Naming, Span, ZoneOf, days_named, new_york
from thermocline.model.partition import DayRange
from thermocline.model.prices import PriceBook
from thermocline.model.query import Query, Tier
from thermocline.ports import Hot, Lake
from thermocline.tasks.explain import Explanation, explain
from thermocline.tasks.query import query

if TYPE_CHECKING:
    import pyarrow as pa


def known_instruments(
    hot: Hot, lake: Lake, *, as_of_vintage: datetime | None = None, tiers: Collection[Tier] = tuple(Tier)
) -> Instruments:
    """Every instrument that the dataset `instruments` holds."""
    return Instruments(_namings(hot, lake, Query(dataset_named("instruments"), as_of_vintage=as_of_vintage), tiers))


def known_days(hot: Hot, lake: Lake, symbols: Collection[str] = ()) -> dict[tuple[str, str], list[DayRange]]:
    """The days on which each asset class and symbol named an instrument, of those that `instruments` holds.

    Only of the `symbols`, where any are said.
    """
    return days_named(_namings(hot, lake, Query(dataset_named("instruments"), symbols=tuple(sorted(symbols)))))


def _namings(hot: Hot, lake: Lake, asked: Query, tiers: Collection[Tier] = tuple(Tier)) -> list[Naming]:
    with query(hot, lake, asked, tiers) as reader:
        rows = [row for batch in reader for row in batch.to_pylist()]
    return [
        Naming(
            row["instrument_id"],
            row["asset_class"],
            row["symbol"],
            row["ts"].astimezone(UTC).date(),
            row["until"],
            row["exchange"],
            row["name"],
            row["source"],
        )
        for row in rows
    ]


def listed_namings(instruments: Instruments, symbol: str | None = None, on: date | None = None) -> list[Naming]:
    """Namings by their start: of every instrument that the symbol named (on that day), or all (of that day)."""
    if symbol is None:
        found = [each for known in instruments.ids for each in instruments.namings(known)]
        found = [each for each in found if on is None or each.start <= on < (each.until or date.max)]
    else:
        ids = instruments.named_by(symbol, on)
        found = [each for known in ids for each in instruments.namings(known)]
    return sorted(found, key=lambda each: (each.start, each.symbol, each.instrument_id))


def explain_instrument(
    hot: Hot, lake: Lake, asked: Query, instrument_id: str, prices: Callable[[], PriceBook] | None = None
) -> Explanation:
    """How `query_instrument` would be answered; of the lake only the dataset `instruments` is read.

    Raises:
        UsageError: No such instrument is known, or symbols are asked for besides.
    """
    spans = _spans_of(hot, lake, asked, instrument_id, tuple(Tier))
    return explain(hot, replace(asked, symbols=_symbols(spans)), lake, prices)


def _spans_of(
    hot: Hot, lake: Lake, asked: Query, instrument_id: str, tiers: Collection[Tier]
) -> list[tuple[str, str, Span]]:
    """Asset class, symbol and days under which the rows of an instrument are found."""
    if asked.symbols:
        msg = "an instrument tells its own symbols; ask for an instrument or for symbols, not for both"
        raise UsageError(msg)
    spans = known_instruments(hot, lake, as_of_vintage=asked.as_of_vintage, tiers=tiers).spans_of(instrument_id)
    if not spans:
        msg = (
            f"no instrument has the id {instrument_id!r}; `thermocline instruments SYMBOL` shows those that a symbol "
            "named, `thermocline backfill instruments` brings them in"
        )
        raise UsageError(msg)
    return spans


def _symbols(spans: Sequence[tuple[str, str, Span]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(symbol for _, symbol, _ in spans))


@contextmanager
def query_instrument(
    hot: Hot,
    lake: Lake,
    asked: Query,
    instrument_id: str,
    *,
    zone_of: ZoneOf = new_york,
    tiers: Collection[Tier] = tuple(Tier),
) -> "Iterator[pa.RecordBatchReader]":
    """The rows of one instrument under every symbol that it had, as one series.

    A row carries the symbol of its day. Rows of another instrument that had one of the symbols before or after are left
    out. `asked` names no symbols.

    Raises:
        UsageError: No such instrument is known, or symbols are asked for besides.
    """
    import pyarrow as pa  # noqa: PLC0415  # the import costs a quarter of a second, `--help` shall not pay it

    from thermocline.model.series import columns_of_series, first_rows, rows_within  # noqa: PLC0415  # it brings Arrow

    spans = _spans_of(hot, lake, asked, instrument_id, tiers)
    columns = tuple(dict.fromkeys((*asked.names, *columns_of_series(asked.dataset))))
    with query(hot, lake, replace(asked, symbols=_symbols(spans), columns=columns, limit=None), tiers) as reader:
        kept = (rows_within(batch, asked.dataset, spans, zone_of).select(asked.names) for batch in reader)
        schema = pa.schema([reader.schema.field(name) for name in asked.names])
        yield pa.RecordBatchReader.from_batches(schema, first_rows(kept, asked.limit))
