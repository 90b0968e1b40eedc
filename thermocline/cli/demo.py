"""The command `demo`: one whole night on real bars, checked against its source in the end."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from thermocline.cli.commands import command
from thermocline.cli.invocation import FAILED, Invocation, exit_with
from thermocline.cli.words import Table, plural
from thermocline.errors import ThermoclineError
from thermocline.model.partition import DayRange, midnight

if TYPE_CHECKING:
    import pyarrow as pa

    from thermocline.api import Thermocline
    from thermocline.ports import Progress

_DATASET, _SOURCE, _INTERVAL = "market_data", "sample", "1day"
_START, _END = date(2012, 1, 1), date(2013, 3, 2)
_LOADED_ON, _ROTATED_ON = date(2013, 2, 15), date(2013, 2, 25)
_COMPARED = ("symbol", "ts", "open", "high", "low", "close", "volume")

_NEXT = """
What to try next:
  thermocline status
  thermocline query market_data --symbol AAPL --interval 1day --start 2013-01-14 --end 2013-02-01
  thermocline sql "select symbol, max(high) from market_data group by symbol order by symbol"
  thermocline undo market_data
  make dev      the Dagster UI, with the schedule that does this every night"""


@dataclass(frozen=True)
class _Crossing:
    """The answer to a query over both tiers, beside what the source says."""

    hot_rows: int
    hot_days: int
    cold_rows: int
    cold_days: int
    source_rows: int
    is_equal: bool

    @property
    def rows(self) -> int:
        """The rows of both tiers."""
        return self.hot_rows + self.cold_rows


@command(examples=("thermocline demo", "thermocline --home /tmp/walk demo"))
def demo(invocation: Invocation) -> None:
    """Run one whole night on real bars, and check every row.

    Fourteen months of daily bars of five stocks go into the lake, the last days of them to PostgreSQL, the oldest of
    those back by a rotation; then one query crosses both tiers, and its rows are compared with the source. Can be
    repeated. Refuses to run where the home holds later daily bars, which it would bring to PostgreSQL.
    """
    with invocation.opened() as opened, invocation.progress() as progress:
        _check_is_ours(opened)
        walk = _Walk(invocation, opened, progress)
        document, rows, is_good = walk.run()
    table = Table(("", "rows", "partitions", ""), rows)
    invocation.answer(document, table, *([] if invocation.quiet or not is_good else [_NEXT]))
    if not is_good:
        click.echo("Error: the demo did not give what it should; see the table", err=True)
        exit_with(FAILED)


def _check_is_ours(opened: "Thermocline") -> None:
    for series in opened.status([_DATASET], as_of=_ROTATED_ON):
        if series.interval == _INTERVAL and series.last and series.last >= _END:
            msg = (
                f"this home holds daily bars up to {series.last}, and the demo would bring all since January 2013 to "
                "PostgreSQL; nothing was changed. Run it in a home of its own: thermocline --home /tmp/walk demo"
            )
            raise ThermoclineError(msg)


@dataclass(frozen=True)
class _Walk:
    invocation: Invocation
    opened: "Thermocline"
    progress: "Progress"

    def run(self) -> tuple[dict[str, Any], list[Sequence[object]], bool]:
        """Take every step; give the results as a document, as rows of a table, and whether all is as it should be."""
        opened, progress = self.opened, self.progress
        self._say(f"1  backfill: daily bars of the sample, {_START} to {_END}, into {opened.lake.url}")
        filled = opened.backfill(_DATASET, source=_SOURCE, start=_START, end=_END, as_of=_LOADED_ON, progress=progress)
        self._say(f"2  load: the {opened.settings.lifecycle.hot_days} days before {_LOADED_ON} to {opened.hot.url}")
        loaded = opened.load_hot([_DATASET], as_of=_LOADED_ON, progress=progress)
        hot = [s for s in opened.status([_DATASET], as_of=_LOADED_ON) if s.interval == _INTERVAL]
        plan = opened.plan_rotation([_DATASET], as_of=_ROTATED_ON)
        self._say(f"3  plan: as of {_ROTATED_ON}, {plural(len(plan), 'day')} are due to leave PostgreSQL")
        self._say("4  rotate: write, read back, compare, detach; then VACUUM (ANALYZE)")
        rotated = opened.rotate([_DATASET], as_of=_ROTATED_ON, force=True, progress=progress)
        vacuumed = opened.vacuum([_DATASET], progress=progress)
        self._say("5  verify: read every object again and compare it with its receipt")
        verified = opened.verify([_DATASET], start=_START, end=_END, intervals=[_INTERVAL], progress=progress)
        self._say("6  query: one question to both tiers, compared row by row with the source")
        crossing = self._crossing()
        for failed in (*rotated.failed, *verified.failed):
            click.echo(f"Error: {failed.partition}: {failed.reason}", err=True)
        hot_rows = sum(series.hot_rows for series in hot)
        hot_days = sum(series.hot_days for series in hot)
        moved_rows = sum(moved.rows for moved in rotated.moved)
        equal = "every row and price as in the source" if crossing.is_equal else "NOT what the source says"
        is_good = crossing.is_equal and not (rotated.failed or verified.failed or verified.table)
        rows: list[Sequence[object]] = [
            (
                "backfilled", filled.rows, len(filled.moved),
                f"{filled.written:,d} written, {filled.unchanged:,d} unchanged",
            ),
            (
                f"hot, as of {_LOADED_ON}", hot_rows, hot_days,
                f"{loaded.loaded:,d} loaded, {loaded.unchanged:,d} there already",
            ),
            (f"rotated, as of {_ROTATED_ON}", moved_rows, len(rotated.moved), "read back and equal, then detached"),
            ("verified", verified.rows, verified.verified, "bytes and rows as in the receipts"),
            ("query: from the lake", crossing.cold_rows, crossing.cold_days, None),
            ("query: from PostgreSQL", crossing.hot_rows, crossing.hot_days, None),
            ("query: together", crossing.rows, crossing.cold_days + crossing.hot_days, equal),
        ]  # fmt: skip
        document = {
            "backfilled": _brief(filled.document()),
            "hot": {"rows": hot_rows, "partitions": hot_days} | _brief(loaded.document()),
            "due": len(plan),
            "rotated": {"rows": moved_rows, "partitions": len(rotated.moved), "failed": len(rotated.failed)},
            "vacuum": {"tables": len(vacuumed.tables), "reclaimed_bytes": vacuumed.reclaimed_bytes},
            "verified": {"rows": verified.rows, "partitions": verified.verified, "failed": len(verified.failed)},
            "query": asdict(crossing) | {"rows": crossing.rows},
        }
        return document, rows, is_good

    def _say(self, text: str) -> None:
        if not self.invocation.quiet:
            click.echo(text, err=self.invocation.as_json)

    def _crossing(self) -> _Crossing:
        """Ask for the source's rows; count them by tier, and compare them with the source."""
        import pyarrow as pa  # noqa: PLC0415  # not for `--help`
        import pyarrow.compute as pc  # noqa: PLC0415

        expected = _source_rows()
        asked: dict[str, Any] = {
            "symbols": sorted(set(expected["symbol"].to_pylist())),
            "interval": _INTERVAL,
            "start": _START,
            "end": _END,
        }
        segments = self.opened.explain(_DATASET, **asked).route.segments
        hot_days = {day for segment in segments if segment.tier == "hot" for day in segment.days}
        days = {day for segment in segments for day in segment.days}
        answer = self.opened.query(_DATASET, columns=_COMPARED, **asked).to_arrow()
        answered_on = pc.cast(pc.cast(answer["ts"], pa.timestamp("us")), pa.date32()).to_pylist()
        hot_rows = sum(day in hot_days for day in answered_on)
        order = [("symbol", "ascending"), ("ts", "ascending")]
        return _Crossing(
            hot_rows=hot_rows,
            hot_days=len(hot_days),
            cold_rows=len(answer) - hot_rows,
            cold_days=len(days - hot_days),
            source_rows=len(expected),
            is_equal=answer.sort_by(order).to_pylist() == expected.sort_by(order).to_pylist(),
        )


def _source_rows() -> "pa.Table":
    """The rows of the source, in the dataset's types, read anew."""
    import pyarrow as pa  # noqa: PLC0415  # not for `--help`

    from thermocline.model.conform import conform  # noqa: PLC0415
    from thermocline.model.datasets import MARKET_DATA  # noqa: PLC0415
    from thermocline.ports import FetchRequest  # noqa: PLC0415
    from thermocline.sources.open import open_source  # noqa: PLC0415

    days = DayRange(_START, _END)
    read = [
        conform(
            fetched.rows, MARKET_DATA, source=_SOURCE, ingested_at=midnight(_END), origin=fetched.origin, days=days
        ).rows
        for fetched in open_source(_SOURCE).fetch(FetchRequest(MARKET_DATA, days))
    ]
    return pa.concat_tables(read).select(_COMPARED)


def _brief(document: dict[str, Any]) -> dict[str, Any]:
    """The counts of a result, without its list of partitions."""
    return {name: value for name, value in document.items() if isinstance(value, int)}
