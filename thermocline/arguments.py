"""What callers say, as the model has it: names, days, instants and rows in whatever form suits them."""

from collections.abc import Collection, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, overload

from thermocline.errors import BadRangeError, UsageError
from thermocline.model.adjusting.factors import Adjust
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS, MARKET_DATA, dataset_named
from thermocline.model.partition import ALL_DAYS, DayRange, midnight, parse_day, parse_interval
from thermocline.model.query import Query

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Day = date | str
Instant = datetime | date | str


def as_query(
    dataset: str,
    *,
    symbols: Collection[str],
    interval: str | None,
    intervals: Collection[str] = (),
    start: Instant | None = None,
    end: Instant | None = None,
    columns: Sequence[str] = (),
    limit: int | None = None,
    as_of_vintage: Instant | None = None,
) -> Query:
    """A query from what a caller says; checks names, intervals and the range."""
    chosen = dataset_named(dataset)
    wanted = tuple(dict.fromkeys(map(parse_interval, [*([interval] if interval else []), *intervals])))
    if wanted and not chosen.has_intervals:
        msg = f"{dataset} has no intervals; leave out {', '.join(wanted)}"
        raise UsageError(msg)
    return Query(
        chosen,
        as_instant(start),
        as_instant(end),
        tuple(symbols),
        wanted,
        tuple(columns),
        limit,
        as_instant(as_of_vintage),
    )


def as_interval(text: str) -> str:
    """An interval, also where its unit is written short: `1h` and `1hour` are the same.

    Raises:
        UsageError: It is none, or `m`, which may be minutes or months.
    """
    for short, unit in (("s", "sec"), ("h", "hour"), ("d", "day"), ("w", "week")):
        if text.endswith(short) and text[: -len(short)].isdigit():
            return parse_interval(text.removesuffix(short) + unit)
    return parse_interval(text)


def as_adjust(how: str) -> Adjust:
    """What bars are adjusted for."""
    try:
        return Adjust(how)
    except ValueError:
        msg = f"bars are adjusted for {' or '.join(Adjust)}, not {how!r}"
        raise UsageError(msg) from None


def as_datasets(names: Collection[str]) -> list[Dataset]:
    """The datasets of those names, all of them when none is named."""
    return [dataset_named(name) for name in names] or list(DATASETS.values())


def as_rotated_datasets(names: Collection[str], *, full: bool) -> list[Dataset]:
    """The datasets that a rotation takes: those named, else market_data, or all of them when `full`."""
    if full:
        return list(DATASETS.values())
    return [dataset_named(name) for name in names] or [dataset_named(MARKET_DATA.name)]


def as_folded_datasets(names: Collection[str], *, full: bool) -> list[Dataset]:
    """The datasets of which a rotation folds late rows alone: where none is named, all that it does not take."""
    rotated = as_rotated_datasets(names, full=full)
    return [] if names else [dataset for dataset in DATASETS.values() if dataset not in rotated]


def as_day(day: Day) -> date:
    """A day from a date, its ISO text, or an instant of it in UTC."""
    if isinstance(day, str):
        return parse_day(day)
    return as_instant(day).date() if isinstance(day, datetime) else day


def as_days(start: Day | None, end: Day | None) -> DayRange:
    """A range of days; a side that is None is open."""
    return DayRange(ALL_DAYS.start if start is None else as_day(start), ALL_DAYS.end if end is None else as_day(end))


@overload
def as_instant(at: Instant) -> datetime: ...


@overload
def as_instant(at: None) -> None: ...


def as_instant(at: Instant | None) -> datetime | None:
    """An instant in UTC from a datetime, a date or ISO text; without an offset it is UTC."""
    if isinstance(at, str):
        try:
            at = datetime.fromisoformat(at)
        except ValueError:
            msg = f"{at!r} is neither a date nor a time; write 2024-01-15 or 2024-01-15T14:30:00+00:00"
            raise BadRangeError(msg) from None
    if isinstance(at, datetime):
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    return None if at is None else midnight(at)


def as_table(rows: "pa.Table | pd.DataFrame") -> "pa.Table":
    """Rows as an Arrow table."""
    import pyarrow as pa  # noqa: PLC0415  # `import thermocline` shall not pay for it

    if isinstance(rows, pa.Table):
        return rows
    if isinstance(rows, pa.RecordBatch):
        return pa.Table.from_batches([rows])
    return pa.Table.from_pandas(rows, preserve_index=False)
