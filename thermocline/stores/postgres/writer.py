"""The one process that may change a dataset, for as long as it holds the advisory lock."""

import random
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import date

import pyarrow as pa
from psycopg import errors as pg
from psycopg import sql

from thermocline.errors import LockTimeoutError, StaleStateError
from thermocline.faults import Step, reached, step
from thermocline.model.coverage.due import due_of
from thermocline.model.dataset import Dataset
from thermocline.model.partition import DayRange, Partition
from thermocline.model.receipt import Vintage
from thermocline.model.schema import Schema
from thermocline.ports import Act, Detached, Export, Holding, Mover, Publication, came_to_hot, expired_act, gone_act
from thermocline.ports.ledger import restored
from thermocline.stores.postgres import coverage, expiry, held, ledger, locks, shape, tables, trouble
from thermocline.stores.postgres import days as days_
from thermocline.stores.postgres import schemas as schemas_
from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.export import PostgresExport, mark_of
from thermocline.stores.postgres.ingest import close_gate
from thermocline.stores.postgres.locks import sharing_lock
from thermocline.stores.postgres.mover import PostgresMover
from thermocline.stores.postgres.quarantine import keep
from thermocline.stores.postgres.reader import late_counts
from thermocline.stores.postgres.tables import Leaf, Table

CUTOVER_LOCK_TIMEOUT = "50ms"
"""How long a cutover may queue for the locks that hold writers off. Writers that come after it wait no longer."""

DETACH_LOCK_TIMEOUT = "25ms"
"""How long a detach may queue for its lock. Readers that come after it wait no longer than that."""

CUTOVER_PATIENCE_SECONDS = 30.0
"""For how long one writer tries detaches again before their days are left for the next run."""

_LOOK_AGAIN_SECONDS = 0.05


class PostgresWriter:
    """See `Writer`. Made by `PostgresHot.writer`, which holds the lock on this very connection."""

    def __init__(
        self,
        connection: Connection,
        schema: str,
        dataset: Dataset,
        another: Callable[[], AbstractContextManager[Connection]],
    ) -> None:
        """Take over a connection that holds the dataset's lock; `another` gives one more."""
        self._connection = connection
        self._another = another
        self._schema = schema
        self._dataset = dataset
        self._late = tables.late_table(dataset)
        self._patience_seconds = CUTOVER_PATIENCE_SECONDS

    def live(self, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
        """See `Writer.live`."""
        return ledger.live(self._connection, self._dataset, days, intervals)

    def live_paths(self) -> frozenset[str]:
        """See `Writer.live_paths`."""
        return ledger.live_paths(self._connection, self._dataset)

    def next_versions(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """See `Writer.next_versions`."""
        return ledger.next_versions(self._connection, self._dataset, partitions)

    def head(self) -> str | None:
        """See `Writer.head`."""
        return ledger.head(self._connection, self._dataset)

    @step(Step.PUBLISH)
    def publish(
        self,
        publication: Publication,
        hot_rows: Mapping[Partition, Iterable[pa.RecordBatch]] | None = None,
        rows_if_hot: Mapping[Partition, Iterable[pa.RecordBatch]] | None = None,
    ) -> None:
        """See `Writer.publish`."""
        versions = {vintage.partition: vintage.receipt.version for vintage in publication.accepted}
        versions |= {receipt.partition: receipt.version for receipt in publication.receipts}
        with self._connection.transaction():
            self._close_gate()
            hot = {day.partition for day in ledger.hot_days(self._connection, [self._dataset])}
            where_hot = {p: batches for p, batches in (rows_if_hot or {}).items() if p in hot}
            for partition, batches in {**(hot_rows or {}), **where_hot}.items():
                days_.put(self._connection, self._schema, self._dataset, partition, batches)
                ledger.add_hot_day(self._connection, partition, versions.get(partition, 0))
            # Dated last: an instant that somebody asks about while rows go in must not change when they are in.
            self._publish(publication)
            if act := publication.act({**(hot_rows or {}), **where_hot}.keys()):
                ledger.record(self._connection, act)
            changed = {*publication.dated, *(hot_rows or ()), *where_hot}
            coverage.note_due(self._connection, self._dataset, due_of(changed, publication.run_id))
            trouble.end(self._connection, "backfill", {*versions, *(hot_rows or ())})
            reached("publish:committing")

    @step(Step.HOLD)
    def hold(self, holdings: Sequence[Holding], *, run_id: str) -> None:
        """See `Writer.hold`."""
        with self._connection.transaction():
            held.hold(self._connection, holdings, run_id=run_id)
            reached("hold:committing")

    @step(Step.REJECT)
    def reject(self, vintages: Sequence[Vintage], *, run_id: str, reason: str = "") -> None:
        """See `Writer.reject`."""
        with self._connection.transaction():
            held.reject(self._connection, vintages, run_id=run_id, reason=reason)
            reached("reject:committing")

    @step(Step.EXPIRE)
    def expire(self, vintages: Collection[Vintage], *, run_id: str) -> None:
        """See `Writer.expire`."""
        with self._connection.transaction():
            expiry.expire(self._connection, self._dataset, vintages)
            ledger.record(self._connection, expired_act(self._dataset, vintages, run_id))
            reached("expire:committing")

    def note_unnamed(self, paths: Collection[str]) -> None:
        """See `Writer.note_unnamed`."""
        ledger.note_unnamed(self._connection, self._dataset.name, paths)

    def may_go(self, path: str) -> bool:
        """See `Writer.may_go`. Asked on the connection that holds the lock, so a writer that lost it is told."""
        with self._connection.transaction():
            return expiry.may_go(self._connection, path)

    def gone(self, path: str, *, size_bytes: int, run_id: str) -> None:
        """See `Writer.gone`."""
        with self._connection.transaction():
            expiry.forget(self._connection, path)
            ledger.record(self._connection, gone_act(self._dataset, path, size_bytes, run_id))

    def load(
        self, vintage: Vintage, batches: Iterable[pa.RecordBatch], *, run_id: str, until: date | None = None
    ) -> int:
        """See `Mover.load`."""
        return self._mover().load(vintage, batches, run_id=run_id, until=until)

    @contextmanager
    def beside(self) -> Iterator[Mover]:
        """See `Writer.beside`."""
        with self._another() as connection, sharing_lock(connection, self._connection, self._dataset):
            yield PostgresMover(connection, self._schema, self._dataset)

    @step(Step.LOAD)
    def keep(self, partition: Partition, until: date, *, run_id: str) -> None:
        """See `Writer.keep`."""
        with self._connection.transaction():
            self._close_gate()
            ledger.keep_hot_day(self._connection, partition, until)
            ledger.record(self._connection, came_to_hot(partition, run_id, {}, until))
            reached("load:committing")

    def export(self, partition: Partition) -> AbstractContextManager[Export]:
        """See `Mover.export`."""
        return self._mover().export(partition)

    @step(Step.CUT_OVER)
    def cut_over(self, export: Export, publication: Publication) -> None:
        """See `Writer.cut_over`."""
        if not isinstance(export, PostgresExport):
            msg = f"an export of {type(export).__name__} is not PostgreSQL's"
            raise TypeError(msg)
        self._patiently(lambda: self._cut_over_once(export, publication), export)

    def _cut_over_once(self, export: PostgresExport, publication: Publication) -> None:
        partition, connection = export.partition, self._connection
        with connection.transaction():
            locks.part_from_vacuum(connection, self._late, *([export.leaf.table] if export.leaf else []))
            connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(CUTOVER_LOCK_TIMEOUT)))
            self._close_gate()
            if export.leaf:
                connection.execute(sql.SQL("LOCK TABLE {} IN SHARE MODE").format(export.leaf.table.sql))
                shape.check_day(connection, export.leaf, self._dataset)
            export.prove_unchanged(connection)
            reached("cut-over:proved")
            self._publish(publication)
            trouble.end(connection, "rotate", [partition])
            reached("cut-over:published")
            connection.execute(
                sql.SQL("DELETE FROM {} WHERE {} AND late_id <= {}").format(
                    self._late.sql, days_.of_day(partition, self._dataset), sql.Literal(export.mark.last_late_id)
                )
            )
            if export.leaf:
                self._detach(export, publication)
            else:
                detail = {"rows": export.rows, "path": publication.receipts[0].path if publication.receipts else None}
                ledger.record(connection, Act("fold", partition, publication.run_id, detail))
            reached("cut-over:committing")

    @step(Step.DETACH)
    def _detach(self, export: PostgresExport, publication: Publication) -> None:
        partition, leaf = export.partition, export.leaf
        if leaf is None:
            return
        live = ledger.live(self._connection, self._dataset, DayRange(partition.day, partition.end.date()))
        vintage = next((v for v in live if v.partition == partition), None)
        if vintage is None and export.rows:
            msg = f"{partition} has no live vintage; its hot rows were kept"
            raise StaleStateError(msg)
        ledger.remove_hot_day(self._connection, partition)
        kept = Table(tables.DETACHED, f"{tables.leaf_table(partition).name}_{time.time_ns() // 1_000_000:x}")
        # A detached day is only the same as its vintage when neither late rows nor cold rows were merged in.
        same = vintage and not export.mark.late_rows and export.rows == vintage.receipt.contents.rows
        ledger.add_detached(
            self._connection,
            partition,
            kept.name,
            version=vintage.receipt.version if vintage and same else 0,
            rows=sum(export.mark.rows_by_xmin.values()),
            run_id=publication.run_id,
        )
        detail = {
            "rows": export.rows,
            "version": vintage.receipt.version if vintage else None,
            "path": vintage.receipt.path if vintage else None,
            "written": bool(publication.receipts),
            "kept_as": str(kept),
        }
        ledger.record(self._connection, Act("rotate", partition, publication.run_id, detail))
        # Last of all: from here on every reader waits, until the transaction is over.
        self._connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(DETACH_LOCK_TIMEOUT)))
        tables.detach(self._connection, leaf.parent, leaf.table, kept.name)

    @step(Step.UNDO)
    def undo(self, detached: Detached, *, run_id: str, until: date | None = None) -> int:
        """See `Writer.undo`."""
        partition, connection = detached.partition, self._connection
        table = Table(tables.DETACHED, detached.table)
        with connection.transaction():
            self._close_gate()
            vintages = self.live(DayRange(partition.day, partition.end.date()))
            same = any(v.partition == partition and v.receipt.version == detached.version for v in vintages)
            late = mark_of(self._connection, self._dataset, partition, None).late_rows
            kept = any(known.table == detached.table for known in ledger.detached(connection, self._dataset))
            if not kept or not same or late or self._leaf(partition):
                msg = (
                    f"{partition} has changed since it was rotated (a later vintage, late rows, or rows in hot), or is "
                    "kept no longer; nothing was changed. Bring it to hot as it is now with "
                    f"`thermocline rehydrate {partition.dataset}`"
                )
                raise StaleStateError(msg)
            parent = tables.create_range_table(connection, self._schema, partition, self._dataset)
            leaf = tables.leaf_table(partition)
            connection.execute(sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(table.sql, sql.Identifier(tables.LEAVES)))
            connection.execute(
                sql.SQL("ALTER TABLE {} RENAME TO {}").format(
                    Table(tables.LEAVES, detached.table).sql, sql.Identifier(leaf.name)
                )
            )
            tables.attach(connection, parent, leaf, partition)
            reached("undo:attached")
            ledger.add_hot_day(connection, partition, detached.version, until)
            ledger.end_detached(connection, detached.table)
            detail = {"rows": detached.rows, "version": detached.version, "until": until and until.isoformat()}
            ledger.record(connection, Act("undo", partition, run_id, detail))
            reached("undo:committing")
        return detached.rows

    @step(Step.RELEASE)
    def release(self, detached: Detached, *, run_id: str) -> None:
        """See `Writer.release`."""
        table = Table(tables.DETACHED, detached.table)
        with self._connection.transaction():
            self._connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(table.sql))
            ledger.end_detached(self._connection, detached.table)
            detail = {"rows": detached.rows, "version": detached.version, "table": str(table)}
            ledger.record(self._connection, Act("release", detached.partition, run_id, detail))
            trouble.end(self._connection, "release", [detached.partition])
            reached("release:committing")

    @step(Step.EVOLVE)
    def evolve(self, schemas: Sequence[Schema], *, run_id: str, anew: bool = False) -> None:
        """See `Writer.evolve`."""
        schemas_.evolve(self._connection, self._schema, self._dataset, schemas, run_id=run_id, anew=anew)
        self._dataset = schemas[-1].dataset_as(self._dataset)

    @step(Step.RESTORE)
    def restore(self, vintages: Sequence[Vintage], head: str, *, unnamed: Collection[str] = (), run_id: str) -> None:
        """See `Writer.restore`."""
        with self._connection.transaction():
            self._close_gate()
            ledger.restore(self._connection, self._dataset, vintages, head, unnamed)
            live = [vintage.partition for vintage in vintages if vintage.is_live]
            coverage.note_due(self._connection, self._dataset, due_of(live, run_id))
            ledger.record(self._connection, restored(self._dataset, vintages, run_id))
            reached("restore:committing")

    @step(Step.DELETE)
    def delete(self, days: DayRange, intervals: Collection[str], symbols: Collection[str], *, run_id: str) -> int:
        """See `Writer.delete`."""
        deleted = 0
        condition = days_.of_days(self._dataset, days, intervals, symbols)
        with self._connection.transaction():
            self._close_gate()
            late = late_counts(self._connection, self._dataset)
            for table in (tables.parent_table(self._schema, self._dataset), self._late):
                statement = sql.SQL("DELETE FROM {} WHERE {}").format(table.sql, condition)
                deleted += self._connection.execute(statement).rowcount
            detail = {
                "dataset": self._dataset.name,
                "rows": deleted,
                "start": str(days.start),
                "end": str(days.end),
                "intervals": sorted(intervals),
                "symbols": sorted(symbols),
            }
            ledger.record(self._connection, Act("delete", None, run_id, detail))
            hot = (day.partition for day in ledger.hot_days(self._connection, [self._dataset]))
            gone = [p for p in {*hot, *late} if p.day in days and (not intervals or p.interval in intervals)]
            coverage.note_due(self._connection, self._dataset, due_of(gone, run_id, symbols))
            reached("delete:committing")
        return deleted

    def _patiently(self, act: Callable[[], None], export: PostgresExport) -> None:
        """Try again, with jitter, while readers hold the table; never queue before them for long.

        Behind somebody who has been reading for a while it does not queue at all, unless there always is somebody, and
        half of the patience is gone. All days of one writer share its patience: behind a reader that holds every day,
        each is tried once more.
        """
        held = [self._late, *([export.leaf.table, export.leaf.parent] if export.leaf else [])]
        pause = 0.02
        while True:
            started = time.monotonic()
            may_wait = self._patience_seconds > CUTOVER_PATIENCE_SECONDS / 2
            if may_wait and export.leaf and locks.are_held_for_long(self._connection, held[1:]):
                self._pause(_LOOK_AGAIN_SECONDS, started)
                continue
            try:
                act()
            except (pg.LockNotAvailable, pg.DeadlockDetected) as error:
                if self._patience_seconds <= 0:
                    who = locks.holders(self._connection, held)
                    stays = "it stays hot and" if export.was_hot else "its late rows stay as they are,"
                    msg = (
                        f"a long-running reader or writer holds {export.partition}{who}; {stays} nothing was changed. "
                        "The next run takes it up; pg_stat_activity shows what it is doing"
                    )
                    raise LockTimeoutError(msg) from error
                self._pause(pause, started)
                pause = min(pause * 1.5, 1.0)
            else:
                return

    def _pause(self, seconds: float, started: float) -> None:
        """Wait a while; the patience that is left is less by the time since `started`."""
        time.sleep(seconds * random.uniform(0.5, 1.5))  # noqa: S311  # jitter, not cryptography
        self._patience_seconds -= time.monotonic() - started

    # ------------------------------------------------------------------------------- inside the caller's transaction

    def _close_gate(self) -> None:
        """Hold off live ingest until commit: it decides between hot and late by a hot set that is about to change."""
        close_gate(self._connection, self._dataset)

    def _publish(self, publication: Publication) -> None:
        at = ledger.now(self._connection, publication.dated)
        ledger.supersede(self._connection, publication.withdrawn, at)
        ledger.add_vintages(self._connection, publication.receipts, at)
        held.accept(self._connection, publication, at)
        ledger.relocate(self._connection, publication.relocated)
        ledger.name_again(self._connection, (*publication.receipts, *publication.relocated))
        keep(self._connection, publication.rejected, run_id=publication.run_id)
        if publication.head is not None:
            ledger.set_head(self._connection, self._dataset, publication.head)

    def _mover(self) -> PostgresMover:
        return PostgresMover(self._connection, self._schema, self._dataset)

    def _leaf(self, partition: Partition) -> Leaf | None:
        return days_.leaf_of(self._connection, self._schema, self._dataset, partition)
