"""The coverage ledger in PostgreSQL. Functions run inside the caller's transaction."""

from collections.abc import Collection, Iterable, Sequence

from psycopg.types.json import Jsonb

from thermocline.model.coverage.due import Due, Telling
from thermocline.model.coverage.states import Run, Series, State, Told
from thermocline.model.dataset import Dataset
from thermocline.stores.postgres.connection import Connection, scalar

_COLUMNS = """
    dataset, asset_class, symbol, interval, start_day, end_day, state, rows, expected, sources, told_at, reason, counts
"""


class PostgresCoverageWriter:
    """See `CoverageWriter`. The lock goes with the transaction."""

    def __init__(self, connection: Connection, dataset: Dataset) -> None:
        """Take over a connection with a transaction, and the lock in it."""
        self._connection = connection
        self._dataset = dataset
        connection.execute("SET LOCAL lock_timeout = '30s'")
        connection.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended('thermocline coverage ' || %s, 0))", (dataset.name,)
        )

    def runs(self, symbols: Collection[str] = (), intervals: Collection[str] = ()) -> list[Run]:
        """See `CoverageWriter.runs`."""
        return runs(self._connection, self._dataset, symbols, intervals)

    def knows_any(self) -> bool:
        """See `CoverageWriter.knows_any`."""
        found = scalar(
            self._connection,
            "SELECT EXISTS (SELECT FROM thermocline.coverage WHERE dataset = %s)",
            (self._dataset.name,),
        )
        return bool(found)

    def due(self) -> list[Due]:
        """See `CoverageWriter.due`."""
        rows = self._connection.execute(
            """SELECT interval, start_day, end_day, run_id, symbols, source, at, tellings, due_id
               FROM thermocline.coverage_due WHERE dataset = %s ORDER BY due_id""",
            (self._dataset.name,),
        )
        return [
            Due(interval, start, end, run_id, tuple(symbols), source, at, tuple(map(Telling.parse, tellings)), number)
            for interval, start, end, run_id, symbols, source, at, tellings, number in rows
        ]

    def settle(self, due: Collection[Due]) -> None:
        """See `CoverageWriter.settle`."""
        self._connection.execute(
            "DELETE FROM thermocline.coverage_due WHERE due_id = ANY(%s)", ([each.number for each in due],)
        )

    def replace(self, series: Collection[Series], runs: Iterable[Run]) -> None:
        """See `CoverageWriter.replace`."""
        names = [(each.asset_class, each.symbol, each.interval) for each in series]
        asset_classes, symbols, intervals = map(list, zip(*names, strict=True)) if names else ([], [], [])
        self._connection.execute(
            """DELETE FROM thermocline.coverage c USING unnest(%s::text[], %s::text[], %s::text[]) AS gone(a, s, i)
               WHERE c.dataset = %s AND c.symbol = gone.s AND c.interval = gone.i AND c.asset_class = gone.a""",
            (asset_classes, symbols, intervals, self._dataset.name),
        )
        with self._connection.cursor().copy(f"COPY thermocline.coverage ({_COLUMNS}) FROM STDIN") as copy:
            for run in runs:
                s, told = run.series, run.told
                copy.write_row(
                    (
                        s.dataset, s.asset_class, s.symbol, s.interval, run.start, run.end, run.state.value,
                        run.rows, run.expected, list(told.sources), told.at, told.reason.replace("\0", ""),
                        None if run.counts is None else list(run.counts),
                    )
                )  # fmt: skip


def note_due(connection: Connection, dataset: Dataset, due: Sequence[Due]) -> None:
    """See `Coverage.note_due`. Lines are only added, so that nobody waits for anybody."""
    with connection.cursor() as cursor:
        cursor.executemany(
            """INSERT INTO thermocline.coverage_due
                   (dataset, interval, start_day, end_day, run_id, symbols, source, at, tellings)
               VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)""",
            [
                (
                    dataset.name, each.interval, each.start, each.end, each.run_id, list(each.symbols), each.source,
                    each.at, Jsonb([telling.document() for telling in each.tellings]),
                )
                for each in due
            ],
        )  # fmt: skip


def runs(connection: Connection, dataset: Dataset, symbols: Collection[str], intervals: Collection[str]) -> list[Run]:
    """See `Coverage.coverage`."""
    rows = connection.execute(
        f"""SELECT {_COLUMNS} FROM thermocline.coverage
            WHERE dataset = %(dataset)s
              AND (%(symbols)s::text[] IS NULL OR symbol = ANY(%(symbols)s))
              AND (%(intervals)s::text[] IS NULL OR interval = ANY(%(intervals)s))
            ORDER BY asset_class COLLATE "C", symbol COLLATE "C", interval COLLATE "C", start_day""",  # noqa: S608  # constants
        {"dataset": dataset.name, "symbols": list(symbols) or None, "intervals": list(intervals) or None},
    )
    return [
        Run(
            Series(name, asset_class, symbol, interval),
            start, end, State(state), count, expected, Told(tuple(sources), told_at, reason),
            None if counts is None else tuple(counts),
        )
        for name, asset_class, symbol, interval, start, end, state, count, expected, sources, told_at, reason, counts
        in rows
    ]  # fmt: skip
