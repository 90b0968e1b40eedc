"""The versions of each dataset's columns: which there are, and altering every table of a dataset to the next."""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace

from psycopg import errors as pg
from psycopg import sql
from psycopg.types.json import Jsonb

from thermocline.errors import LockTimeoutError, StaleStateError
from thermocline.faults import reached
from thermocline.model.dataset import Column, Dataset, Kind
from thermocline.model.datasets import DATASETS
from thermocline.model.schema import Schema, is_overtaken, overtaken
from thermocline.ports import Act
from thermocline.stores.postgres import ledger, locks, shape, tables
from thermocline.stores.postgres.connection import Connection, scalar
from thermocline.stores.postgres.tables import Table

LOCK_TIMEOUT = "50ms"
"""How long an ALTER TABLE may queue for its lock. Readers that come after it wait no longer than that."""

PATIENCE_SECONDS = 30.0

_FIRST_RUN = "first use"


def versions(connection: Connection, datasets: Sequence[Dataset]) -> dict[str, list[Schema]]:
    """Every version of every dataset, oldest first.

    Of the named ones, those that a release without versions has used have their first one now.
    """
    found: dict[str, list[Schema]] = {}
    rows = connection.execute(
        "SELECT dataset, document, applied_at, run_id FROM thermocline.dataset_schema ORDER BY dataset, version"
    )
    for name, *row in rows:
        found.setdefault(name, []).append(Schema.from_document(*row))
    for dataset in datasets:
        if dataset.name not in found and (columns := _columns_of(connection, tables.late_table(dataset), dataset)):
            found[dataset.name] = [_add_first(connection, dataset, columns)]
    return found


def ensure(connection: Connection, schema: str, dataset: Dataset) -> Schema:
    """The newest version of a dataset, with its tables; of one that was never used, what it is declared as."""
    with connection.transaction():
        connection.execute(tables.CREATING)
        known = versions(connection, [dataset]).get(dataset.name)
        newest = known[-1] if known else _add_first(connection, dataset, dataset.columns)
        tables.create_parent(connection, schema, newest.dataset_as(dataset))
    return newest


def current(connection: Connection, dataset: Dataset) -> Dataset:
    """The dataset as the newest version has it, for whoever is about to write it.

    Raises:
        StaleStateError: Its columns are not those that the caller works with.
    """
    newest = versions(connection, [dataset])[dataset.name][-1]
    if is_overtaken(dataset, newest):
        DATASETS.apply_one(newest)  # the next run in this process knows it
        raise overtaken(dataset, newest)
    return newest.dataset_as(dataset)


def evolve(
    connection: Connection, schema: str, dataset: Dataset, wanted: Sequence[Schema], *, run_id: str, anew: bool
) -> None:
    """Have the tables of a dataset, the detached ones too, the columns of the last version, and know all of them.

    Happens in one transaction. Readers are not held up: it queues for its locks no longer than a detach does.

    Raises:
        LockTimeoutError: Readers held a table for too long; nothing was changed.
        StaleStateError: The tables are to be made `anew`, and hold rows; nothing was changed.
    """
    pause, deadline = 0.02, time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            _evolve_once(connection, schema, dataset, wanted, run_id, anew=anew)
        except (pg.LockNotAvailable, pg.DeadlockDetected) as error:
            if time.monotonic() > deadline:
                held = [tables.parent_table(schema, dataset), tables.late_table(dataset)]
                with suppress(pg.Error):
                    held += [leaf.table for leaf in tables.leaves(connection, schema, dataset)]
                msg = (
                    f"a long-running reader or writer holds {dataset.name}{locks.holders(connection, held)}; its "
                    "tables are as they were. Run `thermocline schema evolve` again; pg_stat_activity shows what it "
                    "is doing"
                )
                raise LockTimeoutError(msg) from error
            time.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311  # jitter, not cryptography
            pause = min(pause * 1.5, 1.0)
        else:
            return


def _evolve_once(
    connection: Connection, schema: str, dataset: Dataset, wanted: Sequence[Schema], run_id: str, *, anew: bool
) -> None:
    new = wanted[-1]
    with connection.transaction():
        tables.check_parent(connection, schema, dataset)
        old = versions(connection, [dataset])[dataset.name][-1]
        parent, late = tables.parent_table(schema, dataset), tables.late_table(dataset)
        locks.part_from_vacuum(connection, late, parent)
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
        if anew:
            _make_anew(connection, schema, new.dataset_as(dataset), (late, parent))
        else:
            leaves = [leaf.table for leaf in tables.leaves(connection, schema, dataset)]
            detached = [Table(tables.DETACHED, each.table) for each in ledger.detached(connection, dataset)]
            # Late rows first, as live ingest takes its locks. A leaf follows its parent in all but what it must hold.
            for table in (late, parent, *detached):
                _alter(connection, table, _alterations(old, new))
            for table in leaves:
                _alter(connection, table, _relaxations(old, new))
        reached("evolve:altered")
        shape.check_columns(connection, parent, new.dataset_as(dataset))
        connection.execute(
            "DELETE FROM thermocline.dataset_schema WHERE dataset = %s AND version > %s", (dataset.name, new.version)
        )
        for each in wanted:
            _put(connection, each, each.run_id or run_id)
        detail = {"dataset": dataset.name, "version": new.version, "columns": [column.name for column in new.columns]}
        ledger.record(connection, Act("evolve-schema", None, run_id, detail))
        reached("evolve:committing")


def _make_anew(connection: Connection, schema: str, dataset: Dataset, there: Sequence[Table]) -> None:
    """Drop the dataset's tables and make them as it is now. Nobody can bring a row in between the look and the drop."""
    for table in there:
        connection.execute(sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(table.sql))
        if scalar(connection, sql.SQL("SELECT EXISTS (SELECT FROM {})").format(table.sql)):
            msg = f"rows of {dataset.name} came in meanwhile; its tables stay as they are, and nothing was changed"
            raise StaleStateError(msg)
    for table in there:
        connection.execute(sql.SQL("DROP TABLE {}").format(table.sql))
    tables.create_parent(connection, schema, dataset)


def _alter(connection: Connection, table: Table, actions: Iterable[sql.Composable]) -> None:
    for action in actions:
        connection.execute(sql.SQL("ALTER TABLE IF EXISTS {} {}").format(table.sql, action))


def _alterations(old: Schema, new: Schema) -> Iterator[sql.Composed]:
    before = {column.name: column for column in old.columns}
    for column in new.columns:
        known, name, kind = before.get(column.name), sql.Identifier(column.name), tables.sql_type(column)
        if known is None:
            yield sql.SQL("ADD COLUMN IF NOT EXISTS {} {}").format(name, kind)
        elif known.kind is not column.kind:
            # Of more digits with as many places, PostgreSQL only notes the new type; no row is written anew.
            yield sql.SQL("ALTER COLUMN {} TYPE {}").format(name, kind)
    yield from _relaxations(old, new)


def _relaxations(old: Schema, new: Schema) -> Iterator[sql.Composed]:
    required = {column.name for column in old.columns if not column.nullable}
    for column in new.columns:
        if column.nullable and column.name in required:
            yield sql.SQL("ALTER COLUMN {} DROP NOT NULL").format(sql.Identifier(column.name))


def _add_first(connection: Connection, dataset: Dataset, columns: Sequence[Column]) -> Schema:
    first = Schema.of(replace(dataset, columns=tuple(columns)), version=1)
    connection.execute(_INSERT + " ON CONFLICT DO NOTHING", (dataset.name, 1, Jsonb(first.document()), _FIRST_RUN))
    return first


_INSERT = "INSERT INTO thermocline.dataset_schema (dataset, version, document, run_id) VALUES (%s, %s, %s, %s)"


def _put(connection: Connection, schema: Schema, run_id: str) -> None:
    connection.execute(
        f"{_INSERT} ON CONFLICT (dataset, version) DO UPDATE SET document = excluded.document",
        (schema.dataset, schema.version, Jsonb(schema.document()), run_id),
    )


def _columns_of(connection: Connection, table: Table, dataset: Dataset) -> list[Column]:
    """The columns that a table has of those that are declared, as it has them; none where there is no table."""
    if scalar(connection, "SELECT to_regclass(%s)", (table.sql.as_string(connection),)) is None:
        return []
    found = shape.columns_of(connection, table)
    columns = []
    for column in dataset.columns:
        type_name, not_null = found.get(column.name, ("", False))
        if type_name:
            kind = Kind.PRICE if column.kind is Kind.MONEY and "(18," in type_name else column.kind
            columns.append(Column(column.name, kind, not not_null, column.description, column.empty_allowed))
    return columns
