"""One layer for programs, over any storage."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from thermocline.answer import Answer
from thermocline.arguments import (
    Day,
    Instant,
    as_days,
    as_query,
    as_table,
)
from thermocline.model.partition import ALL_DAYS, parse_interval
from thermocline.model.query import Tier
from thermocline.ports import (
    Fetched,
    FetchRequest,
)
from thermocline.tasks.delete import Deletion, delete
from thermocline.tasks.query import query

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa


from thermocline.api.opened import IN_POSTGRES, Opened, new_run_id


class Programs(Opened):
    """One layer for programs, over any storage."""

    def save(
        self, dataset: str, rows: "pa.Table | pd.DataFrame", *, source: str = "save", as_of: Day | None = None
    ) -> int:
        """Keep rows; on a key that is there, these win, however many they are. Returns how many were taken in.

        `parquet` and `hybrid` publish them in the lake (and in the days that are hot), `postgres` takes them into hot.
        """
        chosen = self._dataset(dataset)
        table = as_table(rows)
        if self._storage in IN_POSTGRES:
            report = self._ingest(
                chosen, [Fetched(table, source)], source, as_of, always_hot=True, accept_restatements=True
            )
            return report.hot_rows + report.late_rows
        lifecycle = self.settings.lifecycle
        if self._storage == "parquet":
            lifecycle = replace(lifecycle, archive_on_backfill=True)
        rows_source = _TableSource(table, source)
        backfill = self._backfill(
            rows_source, lifecycle, as_of, accept_restatements=True, rulebook=self._rulebook(chosen)
        )
        return backfill.run(FetchRequest(chosen, ALL_DAYS)).rows

    def load(
        self,
        dataset: str,
        *,
        symbols: Collection[str] = (),
        interval: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
        columns: Sequence[str] = (),
    ) -> Answer:
        """The rows that this storage has."""
        self._dataset(dataset)
        asked = as_query(dataset, symbols=symbols, interval=interval, start=start, end=end, columns=columns)
        return Answer(lambda: query(self.hot, self.lake, asked, self._tiers))

    def exists(
        self,
        dataset: str,
        *,
        symbols: Collection[str] = (),
        interval: str | None = None,
        start: Instant | None = None,
        end: Instant | None = None,
    ) -> bool:
        """Whether this storage has any such row."""
        self._dataset(dataset)
        asked = as_query(dataset, symbols=symbols, interval=interval, start=start, end=end, columns=["ts"], limit=1)
        with query(self.hot, self.lake, asked, self._tiers) as reader:
            return any(batch.num_rows for batch in reader)

    def delete(
        self,
        dataset: str,
        *,
        symbols: Collection[str] = (),
        interval: str | None = None,
        start: Day | None = None,
        end: Day | None = None,
    ) -> int:
        """Delete rows of whole days from this storage; return how many. Earlier vintages of cold days are kept."""
        chosen, days = self._dataset(dataset), as_days(start, end)
        intervals = [parse_interval(interval)] if interval else []
        asked = as_query(dataset, symbols=symbols, interval=interval, start=start, end=end, columns=["ts"])
        with query(self.hot, self.lake, asked, self._tiers) as reader:
            rows: int = sum(batch.num_rows for batch in reader)
        delete(
            self.hot,
            self.lake,
            Deletion(chosen, days, intervals, symbols),
            run_id=new_run_id(),
            cold=Tier.COLD in self._tiers,
            warm=Tier.HOT in self._tiers,
        )
        return rows

    def get_date_range(
        self, dataset: str, *, symbols: Collection[str] = (), interval: str | None = None
    ) -> tuple[datetime, datetime] | None:
        """The first and last `ts` that this storage has, or None when it has no such row."""
        self._dataset(dataset)
        asked = as_query(dataset, symbols=symbols, interval=interval, columns=["ts"])
        first = last = None
        with query(self.hot, self.lake, asked, self._tiers) as reader:
            for batch in reader:
                stamps = batch.column("ts").to_pylist()
                first = min(stamps if first is None else [first, *stamps])
                last = max(stamps if last is None else [last, *stamps])
        return None if first is None or last is None else (first, last)


class _TableSource:
    """Rows that are there already."""

    def __init__(self, table: "pa.Table", name: str) -> None:
        self._table = table
        self.name = name

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """All of them."""
        del request
        yield Fetched(self._table, self.name)
