"""Adopting a table that was there before Thermocline: its rows go to the lake, the table itself is kept aside."""

import time
from collections.abc import Generator, Iterator

import pyarrow as pa
from psycopg import sql

from thermocline.errors import LockTimeoutError, UsageError
from thermocline.faults import Step, reached, step
from thermocline.model.dataset import PROVENANCE, Column, Dataset, Kind
from thermocline.ports import Act, Fetched, FetchRequest, Mapped, MonthOfRows, PlainSurvey
from thermocline.stores.postgres import ledger, tables
from thermocline.stores.postgres.connection import Connection, scalar
from thermocline.stores.postgres.copy_out import BATCH_ROWS, copied
from thermocline.stores.postgres.rows import Streams
from thermocline.stores.postgres.tables import Table

_FETCH_BATCHES = 4
"""Batches that are conformed together; about a quarter of a million rows."""

_DEFAULTS = {"asset_class": "equity"}
"""What a required column is filled with when the table lacks it and nothing was said."""

# How each PostgreSQL type is read: floats and times as themselves, all else as text, which stays exact.
_READ_AS = {
    "double precision": (Kind.FLOAT, "{}"),
    "real": (Kind.TEXT, "{}::text"),
    "timestamp with time zone": (Kind.TIMESTAMP, "{}"),
    "timestamp without time zone": (Kind.TIMESTAMP, "{} AT TIME ZONE 'UTC'"),
    "date": (Kind.TIMESTAMP, "({}::timestamp AT TIME ZONE 'UTC')"),
}


class PostgresPlainTable:
    """See `PlainTable`. Lives in one transaction, which also does the swap: it happens whole or not at all."""

    def __init__(self, connection: Connection, schema: str, dataset: Dataset, mapped: Mapped) -> None:
        """Look at the table's columns.

        Raises:
            UsageError: A column that rows must have is neither in the table nor filled.
        """
        self._connection = connection
        self._schema = schema
        self._dataset = dataset
        self._table = tables.parent_table(schema, dataset)
        self._streams = Streams()
        rows = connection.execute(
            """SELECT a.attname, format_type(a.atttypid, NULL) FROM pg_attribute a
               WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum""",
            (self._table.sql.as_string(connection),),
        )
        self._types: dict[str, str] = dict(rows.fetchall())
        self._from = {
            name: mapped.columns.get(name, name)
            for name in dataset.names
            if mapped.columns.get(name, name) in self._types
        }
        self._fill = self._filling(mapped)

    @property
    def name(self) -> str:
        """See `PlainTable.name`."""
        return "postgres"

    def _filling(self, mapped: Mapped) -> dict[str, str]:
        absent = {column.name: column for column in self._dataset.columns if column.name not in self._from}
        fill = {name: text for name, text in (_DEFAULTS | dict(mapped.constants)).items() if name in absent}
        lacking = [
            column.name
            for column in absent.values()
            if not column.nullable and column.name not in fill and column.name not in PROVENANCE
        ]
        if lacking or "ts" not in self._from:
            msg = (
                f"{self._table} has no column {', '.join(lacking or ['ts'])}; it has {', '.join(self._types)}. Say "
                "which column it is with --map ts=COLUMN, or what to fill in with --set interval=1day"
            )
            raise UsageError(msg)
        return fill

    def hold(self) -> None:
        """Let nobody write until the transaction ends, and no second adoption begin.

        Raises:
            LockTimeoutError: Somebody is writing or adopting right now.
        """
        if not scalar(
            self._connection,
            "SELECT pg_try_advisory_xact_lock(hashtextextended('thermocline adopt ' || %s, 0))",
            (self._dataset.name,),
        ):
            msg = f"another cleanup is adopting {self._table}; nothing was changed, try again when it is done"
            raise LockTimeoutError(msg)
        self._connection.execute("SET LOCAL lock_timeout = '10s'")
        self._connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(self._table.sql))

    def survey(self) -> PlainSurvey:
        """See `PlainTable.survey`."""
        total = scalar(self._connection, sql.SQL("SELECT count(*) FROM {}").format(self._table.sql))
        dated = sql.SQL("{} IS NOT NULL AND isfinite({})").format(*(self._sql("ts"),) * 2)
        months = self._connection.execute(
            sql.SQL(
                """SELECT {interval}, date_trunc('month', ({ts}) AT TIME ZONE 'UTC')::date, count(*),
                          coalesce(sum(pg_column_size(t.*)), 0)
                   FROM {table} AS t WHERE {dated} GROUP BY 1, 2 ORDER BY 1, 2"""
            ).format(interval=self._interval(), ts=self._sql("ts"), table=self._table.sql, dated=dated)
        ).fetchall()
        name = self._table.sql.as_string(self._connection)
        size = scalar(
            self._connection,
            "SELECT coalesce(sum(pg_total_relation_size(relid)), 0) FROM pg_partition_tree(%s::regclass)",
            (name,),
        ) or scalar(self._connection, "SELECT pg_total_relation_size(%s::regclass)", (name,))
        dated_rows = sum(row[2] for row in months)
        return PlainSurvey(
            table=str(self._table),
            rows=total,
            size_bytes=int(size),
            months=[MonthOfRows(i or "", month, count, int(size_)) for i, month, count, size_ in months],
            unknown_columns=[column for column in self._types if column not in self._from.values()],
            filled_columns=self._fill,
            duplicate_rows=self._duplicates(),
            null_rows=self._nulls(),
            undated_rows=total - dated_rows,
        )

    def fetch(self, request: FetchRequest) -> Iterator[Fetched]:
        """See `PlainTable.fetch`. The whole table is read once, whatever its indexes."""
        del request
        return self._streams.track(self._fetched())

    def close(self) -> None:
        """End what was not read to its end."""
        self._streams.close()

    def _fetched(self) -> Generator[Fetched, None, None]:
        columns, selected = [], []
        for name, column in self._from.items():
            kind, expression = self._reading(name)
            columns.append(Column(name, kind))
            selected.append(sql.SQL(expression).format(sql.Identifier(column)))
        for name, text in self._fill.items():
            columns.append(Column(name, Kind.TEXT))
            selected.append(sql.SQL("{}::text").format(sql.Literal(text)))
        query = sql.SQL("SELECT {} FROM {} WHERE isfinite({})").format(
            sql.SQL(", ").join(selected), self._table.sql, self._sql("ts")
        )
        for batch in copied(self._connection, query, columns, batch_rows=BATCH_ROWS * _FETCH_BATCHES):
            yield Fetched(pa.Table.from_batches([batch]), str(self._table), accepted_before=True)

    @step(Step.SWAP)
    def swap(self, *, run_id: str) -> str:
        """See `PlainTable.swap`."""
        connection, dataset = self._connection, self._dataset
        kept = Table(tables.DETACHED, f"{dataset.name}_adopted_{time.time_ns() // 1_000_000:x}")
        connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(self._table.sql, sql.Identifier(kept.name)))
        connection.execute(
            sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(
                Table(self._table.schema, kept.name).sql, sql.Identifier(tables.DETACHED)
            )
        )
        reached("swap:renamed")
        tables.create_parent(connection, self._schema, dataset)
        detail = {"dataset": dataset.name, "kept_as": str(kept)}
        ledger.record(connection, Act("adopt", None, run_id, detail))
        return str(kept)

    def _reading(self, name: str) -> tuple[Kind, str]:
        """How a column is read, and the expression that reads it."""
        return _READ_AS.get(self._types[self._from[name]], (Kind.TEXT, "{}::text"))

    def _sql(self, name: str) -> sql.Composed:
        """A column of the dataset as an expression over the table; times come out as timestamptz."""
        _, expression = self._reading(name)
        as_time = "({}::timestamptz)" if name == "ts" and expression == "{}::text" else expression
        return sql.SQL(as_time).format(sql.Identifier(self._from[name]))

    def _interval(self) -> sql.Composable:
        if not self._dataset.has_intervals:
            return sql.Literal("")
        if "interval" in self._from:
            return sql.SQL("{}::text").format(sql.Identifier(self._from["interval"]))
        return sql.Literal(self._fill["interval"])

    def _duplicates(self) -> int:
        key = tables.names(self._from[name] for name in self._dataset.key if name in self._from)
        query = sql.SQL(
            "SELECT coalesce(sum(n - 1), 0) FROM (SELECT count(*) AS n FROM {} GROUP BY {}) AS keys"
        ).format(self._table.sql, key)
        return int(scalar(self._connection, query))

    def _nulls(self) -> dict[str, int]:
        required = [c.name for c in self._dataset.columns if not c.nullable and c.name in self._from]
        required = [name for name in required if name not in PROVENANCE]
        counts = self._connection.execute(
            sql.SQL("SELECT {} FROM {}").format(
                sql.SQL(", ").join(
                    sql.SQL("count(*) FILTER (WHERE {} IS NULL)").format(sql.Identifier(self._from[name]))
                    for name in required
                ),
                self._table.sql,
            )
        ).fetchone()
        return {name: count for name, count in zip(required, counts or (), strict=True) if count}
