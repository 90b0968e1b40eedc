"""The hot tier in PostgreSQL 14 or later, with the ledger beside it."""

from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from thermocline.faults import Step, reached, step
from thermocline.model.coverage.due import Due, due_of
from thermocline.model.coverage.states import Run
from thermocline.model.dataset import Dataset
from thermocline.model.datasets import DATASETS
from thermocline.model.derivation import Derivation
from thermocline.model.partition import DayRange, Partition, partitions_of
from thermocline.model.query import Query, Segment
from thermocline.model.receipt import Contents, Vintage, VintageState
from thermocline.model.report import Failed
from thermocline.model.schema import Schema
from thermocline.model.url import redacted
from thermocline.ports import (
    Act,
    AuditGuard,
    AuditQuery,
    CoverageWriter,
    Detached,
    HotDay,
    HotLeaf,
    Ingested,
    Mapped,
    PlainTable,
    Snapshot,
    Trouble,
    UnnamedObject,
    Vacuumed,
    Verdict,
    Writer,
)
from thermocline.ports.cancelling import ended_by
from thermocline.stores.postgres import (
    at_once,
    coverage,
    expiry,
    guard,
    ledger,
    schemas,
    scratch,
    shape,
    tables,
    trouble,
    vacuum,
)
from thermocline.stores.postgres import derivations as derived
from thermocline.stores.postgres.adoption import PostgresPlainTable
from thermocline.stores.postgres.connection import Connection, connect, translated
from thermocline.stores.postgres.facts import Facts, Known
from thermocline.stores.postgres.ingest import ingest
from thermocline.stores.postgres.locks import WRITING, take_lock
from thermocline.stores.postgres.migrate import migrate, refuse_outdated
from thermocline.stores.postgres.pool import Pool
from thermocline.stores.postgres.quarantine import PostgresQuarantine, judge
from thermocline.stores.postgres.reader import cancel, late_counts, locked, look
from thermocline.stores.postgres.tables import Leaf
from thermocline.stores.postgres.writer import PostgresWriter


class PostgresHot(PostgresQuarantine):
    """See `Hot`. Connects when it is first used. Acts that hold a lock for long have a connection of their own."""

    def __init__(self, address: str | Callable[[], str], *, schema: str = "public") -> None:
        """Name the server by a libpq URL, or by what finds it on first use, and the schema of the datasets' tables."""
        self._address = address
        self._schema = schema
        self._ready: set[str] = set()
        self._pool = Pool(address)
        self._known = Known(schema)

    def __repr__(self) -> str:
        """The class and where it is, without a password."""
        where = redacted(self._address) if isinstance(self._address, str) else "where it is found on first use"
        return f"PostgresHot({where!r})"

    @property
    def _url(self) -> str:
        return self._pool.url

    @property
    def url(self) -> str:
        """See `Hot.url`."""
        return redacted(self._url)

    def close(self) -> None:
        """See `Hot.close`."""
        self._pool.close()

    @contextmanager
    def _session(self, *datasets: Dataset) -> Iterator[Connection]:
        """A connection for what leaves nothing behind in its session."""
        with translated(self._url), self._pool.lent() as connection:
            self._prepare(connection, datasets)
            yield connection

    @contextmanager
    def _own_session(self, *datasets: Dataset) -> Iterator[Connection]:
        """A connection that ends with the block, and so do the locks of its session."""
        with translated(self._url), closing(connect(self._url)) as connection:
            self._prepare(connection, datasets)
            yield connection

    def _prepare(self, connection: Connection, datasets: Sequence[Dataset]) -> None:
        """Bring the schema up to date, once for this object and dataset."""
        if not self._ready:
            migrate(connection, self._url)
            self._ready.add("")
        for dataset in datasets:
            if dataset.name not in self._ready:
                DATASETS.apply_one(schemas.ensure(connection, self._schema, dataset))
                self._ready.add(dataset.name)

    @contextmanager
    def writer(self, dataset: Dataset, *, wait_seconds: float = 60.0) -> Iterator[Writer]:
        """See `Hot.writer`."""
        with self._own_session(dataset) as connection:
            take_lock(connection, WRITING, dataset, wait_seconds)
            # The lock goes with the connection, however this block is left.
            applied = schemas.current(connection, dataset)
            yield PostgresWriter(connection, self._schema, applied, lambda: self._own_session(dataset))

    @contextmanager
    def alone(self, act: str, dataset: Dataset, *, wait_seconds: float = 60.0) -> Iterator[None]:
        """See `Hot.alone`."""
        with self._own_session(dataset) as connection:
            take_lock(connection, act, dataset, wait_seconds)
            yield

    def schemas(self, datasets: Sequence[Dataset]) -> Mapping[str, Sequence[Schema]]:
        """See `Hot.schemas`."""
        with self._session() as connection:
            return schemas.versions(connection, datasets)

    @contextmanager
    def snapshot(
        self, datasets: Sequence[Dataset], days: DayRange, intervals: Collection[str] = ()
    ) -> Iterator[Snapshot]:
        """See `Hot.snapshot`."""
        with (
            self._session(*datasets) as connection,
            ended_by(partial(cancel, connection)),
            look(connection, self._known, datasets, days, intervals) as snapshot,
        ):
            yield snapshot

    @contextmanager
    def at_once(self, query: Query) -> Iterator[pa.RecordBatchReader | None]:
        """See `Hot.at_once`."""
        facts = self._known.of(query.dataset)
        found = at_once.only_segment(self._known, facts, query) if facts else None
        if facts is None or found is None:
            yield None
            return
        with translated(self._url):
            connection = self._pool.take()
            try:
                with ended_by(partial(cancel, connection)):
                    batches = self._begun(connection, facts, query, *found)
                    if batches is not None:
                        schema = pa.schema([query.dataset.column(name).arrow_field for name in query.names])
                        yield pa.RecordBatchReader.from_batches(schema, batches)
                if batches is None:
                    connection.close()
                    yield None
                    return
            except BaseException:
                connection.close()
                raise
            # One that has more rows to send is closed.
            self._pool.give(connection)

    def _begun(
        self, connection: Connection, facts: Facts, query: Query, segment: Segment, unless_late: bool
    ) -> Generator[pa.RecordBatch, None, None] | None:
        try:
            batches = at_once.begin(connection, facts, query, segment, unless_late=unless_late)
        except psycopg.Error:  # nothing was read; a look of its own says what is wrong
            batches = None
        if batches is None:
            self._known.forget([facts.dataset])
        return batches

    @step(Step.INGEST)
    def ingest(
        self,
        dataset: Dataset,
        rows: pa.Table,
        *,
        hot_days: Collection[Partition],
        run_id: str,
        verdict: Verdict | None = None,
    ) -> Ingested:
        """See `Hot.ingest`."""
        with self._session(dataset) as connection, connection.transaction():
            ingested = ingest(connection, self._schema, dataset, rows, hot_days)
            ledger.record(connection, ingested.act(dataset, rows, run_id))
            if verdict:
                judge(connection, verdict, run_id=run_id)
            symbols = pc.unique(rows[dataset.symbol_column]).to_pylist()
            coverage.note_due(connection, dataset, due_of(partitions_of(dataset, rows), run_id, symbols))
            reached("ingest:committing")
            return ingested

    def leaves(self, dataset: Dataset, *, counted: bool = True) -> list[HotLeaf]:
        """See `Hot.leaves`."""
        with self._session(dataset) as connection, locked(connection, self._schema, [dataset]):
            until = {day.partition: day.until for day in ledger.hot_days(connection, [dataset])}
            found = tables.leaves(connection, self._schema, dataset)
            shape.refuse_unknown(connection, dataset, [leaf for leaf in found if leaf.partition not in until])
            return [
                HotLeaf(
                    leaf.partition,
                    str(leaf.table),
                    *(_rows_and_bytes(connection, leaf) if counted else (0, 0)),
                    leaf.partition in until,
                    until.get(leaf.partition),
                )
                for leaf in found
            ]

    def hot_days(self, dataset: Dataset) -> list[HotDay]:
        """See `Hot.hot_days`."""
        with self._session(dataset) as connection:
            return ledger.hot_days(connection, [dataset])

    def live(self, dataset: Dataset, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
        """See `Hot.live`."""
        with self._session(dataset) as connection:
            return ledger.live(connection, dataset, days, intervals)

    def vintages(
        self,
        dataset: Dataset,
        days: DayRange,
        intervals: Collection[str] = (),
        states: Collection[VintageState] = (),
    ) -> list[Vintage]:
        """See `Hot.vintages`."""
        with self._session(dataset) as connection:
            return ledger.vintages(connection, dataset, days, intervals, states)

    def unnamed(self, dataset: Dataset) -> list[UnnamedObject]:
        """See `Hot.unnamed`."""
        with self._session(dataset) as connection:
            return expiry.unnamed(connection, dataset)

    def late(self, dataset: Dataset) -> Mapping[Partition, int]:
        """See `Hot.late`."""
        with self._session(dataset) as connection:
            return late_counts(connection, dataset)

    def detached(self, dataset: Dataset) -> list[Detached]:
        """See `Hot.detached`."""
        with self._session(dataset) as connection:
            return ledger.detached(connection, dataset)

    def head(self, dataset: Dataset) -> str | None:
        """See `Hot.head`."""
        with self._session(dataset) as connection:
            return ledger.head(connection, dataset)

    def trouble(self, dataset: Dataset) -> list[Trouble]:
        """See `Hot.trouble`."""
        with self._session(dataset) as connection:
            return trouble.all_of(connection, dataset)

    def note_trouble(self, act: str, failed: Sequence[Failed], *, run_id: str) -> None:
        """See `Hot.note_trouble`."""
        with self._session() as connection, connection.transaction():
            trouble.note(connection, act, failed, run_id=run_id)

    def end_trouble(self, act: str, partitions: Collection[Partition]) -> None:
        """See `Hot.end_trouble`."""
        with self._session() as connection, connection.transaction():
            trouble.end(connection, act, partitions)

    def derivations(self, dataset: Dataset) -> Mapping[Partition, Derivation]:
        """See `Hot.derivations`."""
        with self._session(dataset) as connection:
            return derived.all_of(connection, dataset)

    @step(Step.NOTE_DERIVATIONS)
    def note_derivations(self, derivations: Sequence[Derivation], *, run_id: str) -> None:
        """See `Hot.note_derivations`."""
        with self._session() as connection, connection.transaction():
            derived.note(connection, derivations, run_id=run_id)
            reached("note-derivations:committing")

    @contextmanager
    def plain(self, dataset: Dataset, mapped: Mapped, *, hold: bool) -> Iterator[PlainTable | None]:
        """See `Hot.plain`."""
        with self._own_session(dataset) as connection:
            if tables.is_ours(connection, self._schema, dataset):
                yield None
                return
            with connection.transaction():
                table = PostgresPlainTable(connection, self._schema, dataset, mapped)
                if hold:
                    table.hold()
                try:
                    yield table
                finally:
                    table.close()

    def coverage(self, dataset: Dataset, symbols: Collection[str] = (), intervals: Collection[str] = ()) -> list[Run]:
        """See `Coverage.coverage`."""
        with self._session() as connection:
            return coverage.runs(connection, dataset, symbols, intervals)

    def note_due(self, dataset: Dataset, due: Sequence[Due]) -> None:
        """See `Coverage.note_due`."""
        with self._session() as connection:
            coverage.note_due(connection, dataset, due)

    @contextmanager
    def covering(self, dataset: Dataset) -> Iterator[CoverageWriter]:
        """See `Coverage.covering`."""
        with self._session() as connection, connection.transaction():
            yield coverage.PostgresCoverageWriter(connection, dataset)

    def rehearse(self, partition: Partition, batches: Iterable[pa.RecordBatch]) -> Contents:
        """See `Hot.rehearse`."""
        with self._own_session() as connection:
            return scratch.rehearse(connection, partition, batches)

    def record(self, *acts: Act) -> None:
        """See `Hot.record`."""
        with self._session() as connection, connection.transaction():
            for act in acts:
                ledger.record(connection, act)

    def audit(self, asked: AuditQuery) -> list[Act]:
        """See `Hot.audit`."""
        with self._session() as connection:
            return ledger.acts(connection, asked)

    def audit_guard(self) -> AuditGuard:
        """See `Hot.audit_guard`."""
        with self._session() as connection:
            return guard.look(connection)

    def protect_audit(self, owner: str, *, run_id: str) -> AuditGuard:
        """See `Hot.protect_audit`. Tables that are missing are not made: they would be the caller's."""
        with translated(self._url), closing(connect(self._url)) as connection:
            refuse_outdated(connection, self._url)
            return guard.hand_over(connection, owner, run_id=run_id)

    def last(self, name: str, dataset: Dataset) -> Act | None:
        """See `Hot.last`."""
        with self._session(dataset) as connection:
            return ledger.last_act(connection, name, dataset)

    def vacuum(self, dataset: Dataset, *, force: bool = False) -> list[Vacuumed]:
        """See `Hot.vacuum`."""
        with self._own_session(dataset) as connection:
            # As the dataset's writer, so that it never runs beside a cutover.
            take_lock(connection, WRITING, dataset, wait_seconds=60.0)
            found = [leaf.table for leaf in tables.leaves(connection, self._schema, dataset)]
            vacuumed = [vacuum.vacuum(connection, table) for table in found if force or vacuum.pays(connection, table)]
            if vacuumed:
                # Autovacuum never analyses a partitioned parent; the planner wants its statistics.
                connection.execute(sql.SQL("ANALYZE {}").format(tables.parent_table(self._schema, dataset).sql))
            return vacuumed


def _rows_and_bytes(connection: Connection, leaf: Leaf) -> tuple[int, int]:
    query = sql.SQL("SELECT count(*), pg_total_relation_size({}) FROM {}")
    name = sql.Literal(leaf.table.sql.as_string(connection))
    return connection.execute(query.format(name, leaf.table.sql)).fetchone() or (0, 0)
