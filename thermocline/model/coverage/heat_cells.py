"""The cells of a picture of coverage: a line for each series, a column for each day, week, month, quarter or year."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from thermocline.model.coverage.report import CoverageReport, SeriesCoverage
from thermocline.model.coverage.states import CODES, State
from thermocline.model.partition import DayRange
from thermocline.model.sessions import number_of

_DAYS_OF_A_YEAR = 366
UNITS = ("day", "week", "month", "quarter", "year")
_WORST_FIRST = (State.QUARANTINED, State.VENDOR_MISSING, State.PENDING, State.EMPTY)


@dataclass(frozen=True, slots=True)
class Cell:
    """What a picture shows of some days of a series; `state` is None where there is nothing to expect or to show."""

    days: DayRange
    state: State | None
    there: int
    expected: int

    @property
    def share(self) -> float:
        """The share of what is expected that is there."""
        return min(self.there / self.expected, 1.0) if self.expected else float(self.there > 0)


@dataclass(frozen=True)
class Line:
    """A line of a picture. `missing` is None where nothing is expected."""

    label: str
    cells: tuple[Cell, ...]
    missing: int | None
    expected: int


@dataclass(frozen=True)
class Picture:
    """All lines; their cells stand below each other where `columns` begin.

    One that `has_line_a_year` shows a single series; its columns are days of any year.
    """

    title: str
    unit: str
    columns: tuple[date, ...]
    lines: tuple[Line, ...]
    has_line_a_year: bool = False


def percent(missing: int, expected: int) -> str:
    """How much of what is expected is there; less than 100 % wherever something is missing."""
    share = round(100 * (1 - missing / expected), 2)
    return f"{min(share, 99.99) if missing else share:.2f} %"


def picture(report: CoverageReport, most_columns: int, *, by_year: bool = False) -> Picture:
    """The report as cells, of the shortest unit of which no more columns are needed than fit.

    With `by_year` a single series of more than a year has a line for each year.
    """
    days = report.days or DayRange(date(2000, 1, 1), date(2000, 1, 2))
    if by_year and len(report.series) == 1 and (days.end - days.start).days > _DAYS_OF_A_YEAR:
        return _years(report.series[0], days, most_columns)
    unit = next((unit for unit in UNITS if len(_starts(days, unit)) <= most_columns), UNITS[-1])
    columns = _starts(days, unit)
    lines = tuple(_line(each, _label(each, report), columns, days.end) for each in report.series)
    first, last = days.start, days.end - timedelta(days=1)
    return Picture(f"{report.dataset}, {first} to {last}", unit, tuple(columns), lines)


def _years(series: SeriesCoverage, days: DayRange, most_columns: int) -> Picture:
    leap = DayRange(date(2000, 1, 1), date(2001, 1, 1))
    unit = next((unit for unit in UNITS[:3] if len(_starts(leap, unit)) <= most_columns), UNITS[2])
    lines = []
    for year in range(days.start.year, (days.end - timedelta(days=1)).year + 1):
        span = DayRange(date(year, 1, 1), date(year + 1, 1, 1))
        lines.append(_line(series, str(year), _starts(span, unit), span.end))
    first, last = days.start, days.end - timedelta(days=1)
    title = f"{series.series}, {first} to {last}"
    return Picture(title, unit, tuple(_starts(leap, unit)), tuple(lines), has_line_a_year=True)


def _label(each: SeriesCoverage, report: CoverageReport) -> str:
    """The symbol, and what tells it from others of the report."""
    parts = [each.series.symbol]
    if len({other.series.asset_class for other in report.series}) > 1:
        parts.insert(0, each.series.asset_class)
    if len({other.series.interval for other in report.series}) > 1:
        parts.append(each.series.interval)
    return " ".join(parts)


def _starts(days: DayRange, unit: str) -> list[date]:
    """The first days of the columns."""
    first, last = days.start, days.end
    match unit:
        case "day":
            return [first + timedelta(days=number) for number in range((last - first).days)]
        case "week":
            monday = first - timedelta(days=first.weekday())
            return [monday + timedelta(days=7 * number) for number in range(-(-(last - monday).days // 7))]
        case "month":
            months = range(_month(first), _month(last - timedelta(days=1)) + 1)
            return [date(month // 12, month % 12 + 1, 1) for month in months]
        case "quarter":
            quarters = range(_month(first) // 3, _month(last - timedelta(days=1)) // 3 + 1)
            return [date(quarter // 4, quarter % 4 * 3 + 1, 1) for quarter in quarters]
    return [date(year, 1, 1) for year in range(first.year, (last - timedelta(days=1)).year + 1)]


def _month(day: date) -> int:
    return day.year * 12 + day.month - 1


def _line(series: SeriesCoverage, label: str, columns: Sequence[date], end: date) -> Line:
    """The cells of one series."""
    bounds = np.array([number_of(day) for day in (*columns, end)]) - series.cover.first
    bounds = np.clip(bounds, 0, len(series.expected))
    expected, there = (np.concatenate([[0], np.cumsum(values)]) for values in (series.expected, series.cover.rows))
    missing = np.concatenate([[0], np.cumsum(np.maximum(series.expected - series.cover.rows, 0))])
    codes = {state: np.concatenate([[0], np.cumsum(series.cover.codes == CODES[state])]) for state in _WORST_FIRST}
    cells = []
    for number, (low, high) in enumerate(zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)):
        days = DayRange(columns[number], columns[number + 1] if number + 1 < len(columns) else end)
        wanted, rows = int(expected[high] - expected[low]), int(there[high] - there[low])
        counts = {state: int(sums[high] - sums[low]) for state, sums in codes.items()}
        lacks = int(missing[high] - missing[low])
        cells.append(Cell(days, _state(wanted, rows, lacks, counts), rows, wanted))
    low, high = int(bounds[0]), int(bounds[-1])
    all_expected, lacking = int(expected[high] - expected[low]), int(missing[high] - missing[low])
    return Line(label, tuple(cells), lacking if all_expected else None, all_expected)


def _state(expected: int, rows: int, lacking: int, counts: dict[State, int]) -> State | None:
    """One state for several days: complete or partial where there are rows, else that of most of them."""
    if rows:
        return State.PARTIAL if lacking else State.COMPLETE
    found = [state for state in _WORST_FIRST if counts[state]]
    if not found:
        return None
    return max(found, key=lambda state: counts[state]) if expected or counts[State.EMPTY] else None
