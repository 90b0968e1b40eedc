"""One consistent look at the hot set, live vintages, hot rows and late rows."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property, lru_cache

import psycopg
import pyarrow as pa
from psycopg import sql

from thermocline.errors import LockTimeoutError
from thermocline.model.aggregates import Aggregation
from thermocline.model.dataset import Dataset
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.model.query import Query, Segment
from thermocline.model.receipt import Vintage
from thermocline.stores.postgres import aggregate, ledger, rows, shape, tables
from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.facts import Facts, Known, any_late, during, generation_of, locking, read_facts
from thermocline.stores.postgres.tables import Leaf, Table

_ATTEMPTS = 5
_CANCEL_SECONDS = 5.0
_FEW_DAYS = 100


class PostgresSnapshot:
    """See `Snapshot`. Open only inside `PostgresHot.snapshot`."""

    def __init__(
        self,
        connection: Connection,
        known: Known,
        datasets: Sequence[Dataset],
        days: DayRange,
        intervals: Collection[str],
    ) -> None:
        """Take over a connection whose transaction is `locked`."""
        self._connection = connection
        self._datasets = datasets
        self._days = days
        self._intervals = intervals
        self._known = known
        self._facts: dict[str, Facts] = {}
        self._late: dict[str, bool] = {}
        self._unchecked: set[str] = set()

    def found(self, same: Sequence[Facts], late: Sequence[bool], *, checked: bool) -> None:
        """Go by facts that are so in this very snapshot, and by whether there are late rows of its days.

        Also the names of the tables of its days, where these are `checked`.
        """
        self._facts = {facts.dataset.name: facts for facts in same}
        self._late = {facts.dataset.name: is_late for facts, is_late in zip(same, late, strict=True)}
        self._unchecked = set() if checked else set(self._facts)

    def _of(self, dataset: Dataset) -> Facts:
        facts = self._facts.get(dataset.name)
        if facts is None:
            facts, lasting = read_facts(self._connection, self._known.schema, dataset)
            self._facts[dataset.name] = facts
            if lasting:
                self._known.keep(facts)
        return facts

    @cached_property
    def hot(self) -> frozenset[Partition]:
        """See `Snapshot.hot`.

        Raises:
            HotStoreError: Rows hang from our tables that no answer would have, also one about cold days alone.
        """
        hot, *more = [self._of(dataset).hot for dataset in self._datasets] or [frozenset()]
        return hot.union(*more)

    @cached_property
    def live(self) -> Sequence[Vintage]:
        """See `Snapshot.live`."""
        one, *more = [self._live(dataset) for dataset in self._datasets] or [[]]
        return [*one, *(vintage for each in more for vintage in each)] if more else one

    def _live(self, dataset: Dataset) -> Sequence[Vintage]:
        facts = self._facts.get(dataset.name)
        generation = facts.generation if facts else generation_of(self._connection, dataset)
        return self._known.read_live(self._connection, dataset, generation, self._days, self._intervals)

    @cached_property
    def late(self) -> frozenset[Partition]:
        """See `Snapshot.late`."""
        return frozenset(
            partition
            for dataset in self._datasets
            if self._late.get(dataset.name, True)
            for partition in late_counts(self._connection, dataset, self._days)
        )

    def _leaves(self, dataset: Dataset, partitions: Sequence[Partition]) -> Mapping[Partition, Leaf]:
        """The tables of days. What was known of these is right but for their names, which somebody may have changed."""
        found = self._of(dataset).leaves
        if dataset.name in self._unchecked:
            asked = [found[partition] for partition in partitions if partition in found]
            names = [leaf.table.quoted for leaf in asked]
            oids = self._connection.execute(
                "SELECT to_regclass(name)::oid::bigint FROM unnest(%s::text[]) WITH ORDINALITY AS named (name, at) "
                "ORDER BY at",
                (names,),
            )
            if [oid for (oid,) in oids] != [leaf.oid for leaf in asked]:
                self._unchecked.discard(dataset.name)
                del self._facts[dataset.name]
                return self._of(dataset).leaves
        return found

    def as_of(self, instant: datetime) -> Sequence[Vintage]:
        """See `Snapshot.as_of`."""
        return [
            vintage
            for dataset in self._datasets
            for vintage in ledger.as_of(self._connection, dataset, self._days, self._intervals, instant)
        ]

    @contextmanager
    def scan(self, query: Query, segment: Segment) -> Iterator[pa.RecordBatchReader]:
        """See `Snapshot.scan`."""
        dataset = query.dataset
        leaves = self._tables(dataset, segment)
        schema = pa.schema([dataset.column(name).arrow_field for name in query.names])
        streams = rows.Streams()
        batches: Iterator[pa.RecordBatch] = iter(())
        if leaves:
            select = sql.SQL(select_sql(self._connection, query, leaves))
            batches = streams.track(rows.copy_out(self._connection, select, dataset, query.names))
        try:
            yield pa.RecordBatchReader.from_batches(schema, batches)
        finally:
            streams.close()

    @contextmanager
    def aggregate(self, asked: Aggregation, segment: Segment) -> Iterator[pa.RecordBatchReader]:
        """See `Snapshot.aggregate`."""
        leaves = self._tables(asked.query.dataset, segment)
        streams = rows.Streams()
        condition = condition_on(self._connection, asked.query)
        batches = streams.track(aggregate.partials(self._connection, asked, leaves, condition))
        try:
            yield pa.RecordBatchReader.from_batches(asked.partial_schema, batches)
        finally:
            streams.close()

    def _tables(self, dataset: Dataset, segment: Segment) -> list[Leaf]:
        """The tables of a segment's days."""
        partitions = [Partition(dataset.name, segment.interval, day) for day in segment.days]
        found, leaves = self._leaves(dataset, partitions), []
        for partition in partitions:
            if partition not in found:
                raise shape.missing(partition)
            leaves.append(found[partition])
        return leaves

    def cancel(self) -> None:
        """See `Snapshot.cancel`."""
        cancel(self._connection)

    def late_rows(self, query: Query) -> pa.Table:
        """See `Snapshot.late_rows`."""
        dataset = query.dataset
        if not self.late:
            return dataset.arrow_schema.empty_table()
        # A late row may say another symbol than the row it stands in for, unless the symbol identifies the row.
        asked = query if dataset.symbol_column in dataset.key else replace(query, symbols=())
        condition = _condition(self._connection, asked)
        select = rows.newest_late(tables.late_table(dataset), dataset, condition)
        return pa.Table.from_batches(rows.copy_out(self._connection, select, dataset), schema=dataset.arrow_schema)


def cancel(connection: Connection) -> None:
    """Have the server end what it does for a connection that another thread waits for."""
    # Where the server can't be reached any more, the read fails by itself.
    with suppress(psycopg.Error):
        connection.cancel_safe(timeout=_CANCEL_SECONDS)


@contextmanager
def look(
    connection: Connection,
    known: Known,
    datasets: Sequence[Dataset],
    days: DayRange,
    intervals: Collection[str],
) -> Iterator[PostgresSnapshot]:
    """A look that no detach can disturb. Where nothing has changed since the last one, it takes one round trip."""
    snapshot = PostgresSnapshot(connection, known, datasets, days, intervals)
    facts = [each for dataset in datasets if (each := known.of(dataset))]
    if facts and len(facts) == len(datasets):
        few = intervals if (days.end - days.start).days <= _FEW_DAYS else ()
        late = _begun(connection, facts, days, few)
        if late is not None:
            snapshot.found(facts, late, checked=bool(few))
            yield snapshot
            connection.execute("COMMIT")
            return
        connection.execute("ROLLBACK")
        known.forget(datasets)
    with locked(connection, known.schema, datasets):
        yield snapshot


def _begun(
    connection: Connection, known: Sequence[Facts], days: DayRange, intervals: Collection[str]
) -> list[bool] | None:
    """Begin a look; of each dataset, whether there are late rows. None where not all is as it was known to be.

    The names of tables are checked along with the rest for the days of those intervals.
    """
    conditions = [facts.condition_of(days, intervals) if intervals else facts.same for facts in known]
    asked = sql.SQL(", ").join(
        part
        for facts, condition in zip(known, conditions, strict=True)
        for part in (sql.SQL(condition), any_late(facts.dataset, days))
    )
    try:
        cursor = connection.execute(
            sql.SQL("{}; SELECT {}").format(locking([table for facts in known for table in facts.tables]), asked)
        )
    except psycopg.ProgrammingError:  # a table is not there any more
        return None
    while cursor.nextset():
        pass
    row: Sequence[bool] = cursor.fetchone() or ()
    return list(row[1::2]) if all(row[0::2]) else None


@contextmanager
def locked(connection: Connection, schema: str, datasets: Sequence[Dataset]) -> Iterator[None]:
    """A REPEATABLE READ transaction that no detach can disturb; see `locking`."""
    for _ in range(_ATTEMPTS):
        found = _range_tables(connection, schema, datasets)
        connection.execute(locking(found))
        # An interval that got its first day in between has a table that is not locked yet.
        if _range_tables(connection, schema, datasets) == found:
            yield
            connection.execute("COMMIT")
            return
        connection.execute("ROLLBACK")
    msg = "intervals are being added faster than a reader can look at them; nothing was read, try again"
    raise LockTimeoutError(msg)


def _range_tables(connection: Connection, schema: str, datasets: Sequence[Dataset]) -> list[Table]:
    return [table for dataset in datasets for table in tables.range_tables(connection, schema, dataset)]


def late_counts(connection: Connection, dataset: Dataset, days: DayRange = ALL_DAYS) -> dict[Partition, int]:
    """How many late rows each of those days has, in order."""
    interval = sql.SQL("interval" if dataset.has_intervals else "''")
    query = sql.SQL(
        "SELECT {}, (ts AT TIME ZONE 'UTC')::date, count(*) FROM {} WHERE {} GROUP BY 1, 2 ORDER BY 1, 2"
    ).format(interval, tables.late_table(dataset).sql, sql.SQL("true") if days == ALL_DAYS else during(days))
    return {Partition(dataset.name, name, day): count for name, day, count in connection.execute(query)}


def select_sql(connection: Connection, query: Query, leaves: Sequence[Leaf]) -> str:
    """The rows that a query asks for of days of one interval, in the order of the answer."""
    alike = {"interval", query.dataset.symbol_column if len(query.symbols) == 1 else ""}
    order = tuple(name for name in query.order if name not in alike)
    columns = _names(tuple(dict.fromkeys((*query.names, *order))))
    condition = condition_on(connection, query)
    days = " UNION ALL ".join(f"SELECT {columns} FROM {leaf.table.quoted} WHERE {condition(leaf)}" for leaf in leaves)  # noqa: S608  # quoted
    limit = "" if query.limit is None else f" LIMIT {query.limit:d}"
    return f"SELECT {_names(query.names)} FROM ({days}) AS days ORDER BY {_order(order, query.dataset)}{limit}"  # noqa: S608  # quoted


@lru_cache(maxsize=256)
def _names(columns: tuple[str, ...]) -> str:
    return tables.names(columns).as_string()


@lru_cache(maxsize=256)
def _order(columns: tuple[str, ...], dataset: Dataset) -> str:
    return rows.ordered(columns, dataset).as_string()


def condition_on(connection: Connection, query: Query) -> Callable[[Leaf], str]:
    """SQL: what must hold of the rows of a day's table beyond what holds of them all, which would be asked of each."""
    symbols = _of_symbols(connection, query)

    def condition(leaf: Leaf) -> str:
        day = leaf.partition
        bounds = ""
        if query.start and query.start > day.start:
            bounds = f"ts >= {_instant(connection, query.start)} AND "
        if query.end and query.end < day.end:
            bounds += f"ts < {_instant(connection, query.end)} AND "
        return f"{bounds}{symbols}"

    return condition


def _of_symbols(connection: Connection, query: Query) -> str:
    if not query.symbols:
        return "true"
    # No text in PostgreSQL holds a zero byte, and none can be asked for.
    possible = [symbol for symbol in query.symbols if "\0" not in symbol]
    texts = [sql.Literal(symbol).as_string(connection) for symbol in possible]
    column = _names((query.dataset.symbol_column,))
    if len(texts) == 1:
        return f"{column} = {texts[0]}"
    return f"{column} = ANY(ARRAY[{', '.join(texts)}])" if texts else "false"


def _instant(connection: Connection, instant: datetime) -> str:
    return sql.Literal(instant.astimezone(UTC)).as_string(connection)


def _condition(connection: Connection, query: Query) -> sql.SQL:
    """What must hold of a row, whatever table it is in."""
    parts = [_of_symbols(connection, query)]
    if query.start:
        parts.append(f"ts >= {_instant(connection, query.start)}")
    if query.end:
        parts.append(f"ts < {_instant(connection, query.end)}")
    if query.intervals:
        parts.append(sql.SQL("interval = ANY({})").format(sql.Literal(list(query.intervals))).as_string(connection))
    return sql.SQL(" AND ".join(parts))
