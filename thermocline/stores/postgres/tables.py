"""The tables of a dataset: a partitioned parent, an interval's table, a day's leaf. All DDL is here.

```
public.market_data                             partitioned by list (interval)
└── thermocline_hot.market_data_1day           partitioned by range (ts)
    └── thermocline_hot.market_data_1day_20240115      one UTC day
public.news                                    partitioned by range (ts)
└── thermocline_hot.news_20240115
```
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from psycopg import sql

from thermocline.errors import HotStoreError
from thermocline.model.dataset import PRECISION, Column, Dataset, Kind
from thermocline.model.partition import ONE_DAY, Partition
from thermocline.stores.postgres.connection import Connection, scalar

LEAVES = "thermocline_hot"
DETACHED = "thermocline_detached"
SCRATCH = "thermocline_scratch"
OWN = "thermocline"

FRESH_STATISTICS = 3
"""Of a fresh day: a sample of 900 rows instead of 30,000, which took as long as the rows took to be copied."""

CREATING = "SELECT pg_advisory_xact_lock(hashtextextended('thermocline create', 0))"
"""Lets one of two first users wait for the other: CREATE IF NOT EXISTS alone can fail for one of them."""

_TYPES = {
    Kind.TEXT: "text",
    Kind.FLOAT: "double precision",
    Kind.INTEGER: "bigint",
    Kind.BOOLEAN: "boolean",
    Kind.DATE: "date",
    Kind.TIMESTAMP: "timestamptz",
}
_LIST_BOUND = re.compile(r"FOR VALUES IN \('(?P<interval>[^']*)'\)")
_RANGE_BOUND = re.compile(r"FOR VALUES FROM \('(?P<start>[^']+)'\) TO \('(?P<end>[^']+)'\)")


@dataclass(frozen=True, slots=True)
class Table:
    """A table's schema and name."""

    schema: str
    name: str

    @property
    def sql(self) -> sql.Identifier:
        """The quoted name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def quoted(self) -> str:
        """The quoted name, as text."""
        return _quoted(self.schema, self.name)

    def __str__(self) -> str:
        """The name as people write it."""
        return f"{self.schema}.{self.name}"


@lru_cache(maxsize=8192)
def _quoted(*names_: str) -> str:
    return sql.Identifier(*names_).as_string()


def parent_table(schema: str, dataset: Dataset) -> Table:
    """The table that people query: one a dataset."""
    return Table(schema, dataset.name)


def late_table(dataset: Dataset) -> Table:
    """The table of rows that came for a day which was cold already."""
    return Table(OWN, f"late_{dataset.name}")


def range_table(schema: str, partition: Partition, dataset: Dataset) -> Table:
    """The table whose partitions are days: the interval's, or the parent where there are no intervals."""
    if dataset.has_intervals:
        return Table(LEAVES, f"{dataset.name}_{partition.interval}")
    return parent_table(schema, dataset)


def leaf_table(partition: Partition) -> Table:
    """Where a day's rows are put when we create its table. To find a day, read the bounds instead."""
    parts = (partition.dataset, partition.interval, f"{partition.day:%Y%m%d}")
    return Table(LEAVES, "_".join(part for part in parts if part))


def sql_type(column: Column) -> sql.Composable:
    """The column's type in PostgreSQL."""
    if column.kind in PRECISION:
        precision, scale = PRECISION[column.kind]
        return sql.SQL("numeric({}, {})").format(sql.Literal(precision), sql.Literal(scale))
    return sql.SQL(_TYPES[column.kind])


def primary_key(dataset: Dataset) -> list[str]:
    """The key's columns in the order of the index: the symbol and time first, since that is what people ask for."""
    leading = [name for name in (dataset.symbol_column, "ts") if name in dataset.key]
    return [*leading, *(name for name in dataset.key if name not in leading)]


def names(columns: Iterable[str]) -> sql.Composed:
    """Quoted names, separated by commas."""
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def definitions(dataset: Dataset) -> sql.Composed:
    """The dataset's columns as CREATE TABLE takes them."""
    return sql.SQL(", ").join(
        sql.SQL("{} {} {}").format(
            sql.Identifier(column.name), sql_type(column), sql.SQL("" if column.nullable else "NOT NULL")
        )
        for column in dataset.columns
    )


def _partition_by(dataset: Dataset) -> sql.SQL:
    return sql.SQL("LIST (interval)" if dataset.has_intervals else "RANGE (ts)")


def create_parent(connection: Connection, schema: str, dataset: Dataset) -> None:
    """Create a dataset's parent table and its table of late rows, where they are missing.

    A table of that name which is not partitioned as ours are is left alone; `check_parent` refuses it.
    """
    parent = parent_table(schema, dataset)
    with connection.transaction():
        connection.execute(CREATING)
        if partitioning(connection, parent) is None:
            connection.execute(
                sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({})) PARTITION BY {}").format(
                    parent.sql, definitions(dataset), names(primary_key(dataset)), _partition_by(dataset)
                )
            )
            if dataset.symbol_column not in dataset.key:
                connection.execute(
                    sql.SQL("CREATE INDEX ON {} ({}, ts)").format(parent.sql, sql.Identifier(dataset.symbol_column))
                )
        late = late_table(dataset)
        connection.execute(
            sql.SQL("CREATE TABLE IF NOT EXISTS {} (late_id bigint GENERATED ALWAYS AS IDENTITY, {})").format(
                late.sql, definitions(dataset)
            )
        )
        connection.execute(
            sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (ts)").format(sql.Identifier(f"{late.name}_ts"), late.sql)
        )


def is_ours(connection: Connection, schema: str, dataset: Dataset, *, has_ours: bool = False) -> bool:
    """Whether the dataset's table is partitioned as ours are, by days that are ours (or is not there yet).

    Who has seen one of them says that it `has_ours`.
    """
    parent = parent_table(schema, dataset)
    found = partitioning(connection, parent)
    if found is None:
        return True
    if found.replace('"', "") != _partition_by(dataset).as_string():
        return False
    # The usual case, which stops at the first table it finds.
    if has_ours or scalar(connection, _HAS_OURS, (parent.schema, parent.name, LEAVES)):
        return True
    catalog, hot = scalar(connection, _LEAVES_AND_HOT_DAYS, (parent.schema, parent.name, dataset.name))
    if any(LEAVES in (row[0], row[3]) for row in catalog):
        return True
    known = {(interval, date.fromisoformat(day)) for interval, day in hot}
    days = [_partition_of(dataset, bound, over) for _, _, bound, _, _, over in catalog if bound]
    registered = [day is not None and (day.interval, day.day) in known for day in days]
    return any(registered) or not registered


def check_parent(connection: Connection, schema: str, dataset: Dataset, *, has_ours: bool = False) -> None:
    """Refuse to work beside a table that is not partitioned as ours are (see `is_ours`).

    Raises:
        HotStoreError: There is such a table; its rows would not be seen.
    """
    if not is_ours(connection, schema, dataset, has_ours=has_ours):
        msg = (
            f"{parent_table(schema, dataset)} exists and is not partitioned as Thermocline needs it; nothing was "
            f"touched. `thermocline cleanup {dataset.name} --analyze-only` shows what is in it, `thermocline cleanup "
            f"{dataset.name}` adopts it without losing a row"
        )
        raise HotStoreError(msg)


def partitioning(connection: Connection, table: Table) -> str | None:
    """How a table is partitioned, as `LIST (interval)`; empty for a plain table, None where there is no table."""
    return scalar(  # type: ignore[no-any-return]
        connection,
        """SELECT CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) ELSE '' END
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')""",
        (table.schema, table.name),
    )


def create_range_table(connection: Connection, schema: str, partition: Partition, dataset: Dataset) -> Table:
    """Create the interval's table where it is missing, under a parent that was checked, in the caller's transaction."""
    table = range_table(schema, partition, dataset)
    if dataset.has_intervals and partitioning(connection, table) is None:
        # Attached, not made as PARTITION OF, which would wait for every reader of the parent and hold up all others.
        connection.execute(
            sql.SQL("CREATE TABLE {} ({}, PRIMARY KEY ({})) PARTITION BY RANGE (ts)").format(
                table.sql, _like(parent_table(schema, dataset)), names(primary_key(dataset))
            )
        )
        connection.execute(
            sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES IN ({})").format(
                parent_table(schema, dataset).sql, table.sql, sql.Literal(partition.interval)
            )
        )
    return table


def _like(table: Table) -> sql.Composed:
    """The columns of a table, also those that somebody else gave it: what is attached to it must have them all."""
    return sql.SQL("LIKE {} INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING CONSTRAINTS").format(table.sql)


def create_leaf(connection: Connection, parent: Table, partition: Partition, dataset: Dataset) -> Table:
    """Create a day's table, not yet attached. Its check makes the later attach skip a scan."""
    leaf = leaf_table(partition)
    interval = (
        sql.SQL("AND interval = {}").format(sql.Literal(partition.interval)) if dataset.has_intervals else sql.SQL("")
    )
    connection.execute(
        sql.SQL("CREATE TABLE {} ({}, CONSTRAINT bounds CHECK (ts IS NOT NULL AND ts >= {} AND ts < {} {}))").format(
            leaf.sql, _like(parent), sql.Literal(partition.start), sql.Literal(partition.end), interval
        )
    )
    return leaf


def with_defaults(connection: Connection, table: Table) -> set[str]:
    """The columns that somebody gave a default to."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND atthasdef AND attnum > 0",
        (table.sql.as_string(connection),),
    )
    return {name for (name,) in rows}


def set_defaults(connection: Connection, table: Table, values: Mapping[str, Any]) -> None:
    """Have a table that is new in this transaction fill columns in with values of their own."""
    _alter_columns(
        connection,
        table,
        [sql.SQL("{} SET DEFAULT {}").format(sql.Identifier(k), sql.Literal(v)) for k, v in values.items()],
    )


def drop_defaults(connection: Connection, table: Table, columns: Iterable[str]) -> None:
    """Take those defaults back."""
    _alter_columns(connection, table, [sql.SQL("{} DROP DEFAULT").format(sql.Identifier(name)) for name in columns])


def _alter_columns(connection: Connection, table: Table, changes: Sequence[sql.Composable]) -> None:
    if changes:
        altered = sql.SQL(", ").join(sql.SQL("ALTER COLUMN {}").format(change) for change in changes)
        connection.execute(sql.SQL("ALTER TABLE {} {}").format(table.sql, altered))


def add_indexes(connection: Connection, table: Table, dataset: Dataset) -> None:
    """Build the indexes that the parent has, after the rows are in.

    Rows come in the order of the key: one process builds it as fast as several, which sort parts and merge them.
    """
    connection.execute(
        sql.SQL("SET LOCAL max_parallel_maintenance_workers = 0; ALTER TABLE {} ADD PRIMARY KEY ({})").format(
            table.sql, names(primary_key(dataset))
        )
    )
    if dataset.symbol_column not in dataset.key:
        connection.execute(
            sql.SQL("CREATE INDEX ON {} ({}, ts)").format(table.sql, sql.Identifier(dataset.symbol_column))
        )


def analyze(connection: Connection, table: Table) -> None:
    """Tell the planner about a fresh table, from a sample of it: a day is much like itself all over.

    Autovacuum looks closer before long, as at every table that was filled.
    """
    connection.execute(
        sql.SQL("SET LOCAL default_statistics_target = {}; ANALYZE {}").format(sql.Literal(FRESH_STATISTICS), table.sql)
    )


def attach(connection: Connection, parent: Table, leaf: Table, partition: Partition) -> None:
    """Make a table the partition of its day. Readers and writers of other days are not held up."""
    connection.execute(
        sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES FROM ({}) TO ({})").format(
            parent.sql, leaf.sql, sql.Literal(partition.start), sql.Literal(partition.end)
        )
    )


def detach(connection: Connection, parent: Table, leaf: Table, kept_as: str) -> None:
    """Take a day out of its parent and into the schema of detached days, under another name.

    Its indexes are renamed with it: the day may come back, and be detached again while this one is still kept.
    """
    connection.execute(sql.SQL("ALTER TABLE {} DETACH PARTITION {}").format(parent.sql, leaf.sql))
    for number, index in enumerate(_indexes(connection, leaf)):
        connection.execute(
            sql.SQL("ALTER INDEX {} RENAME TO {}").format(index.sql, sql.Identifier(f"{kept_as}_{number}"))
        )
    connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(leaf.sql, sql.Identifier(kept_as)))
    connection.execute(
        sql.SQL("ALTER TABLE {} SET SCHEMA {}").format(Table(leaf.schema, kept_as).sql, sql.Identifier(DETACHED))
    )


def _indexes(connection: Connection, table: Table) -> list[Table]:
    rows = connection.execute(
        """SELECT n.nspname, c.relname FROM pg_index i
           JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE i.indrelid = %s::regclass ORDER BY 2""",
        (table.sql.as_string(connection),),
    )
    return [Table(schema_name, name) for schema_name, name in rows]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A day's table as the catalog has it, whatever it is called, and the table it is attached to."""

    partition: Partition
    table: Table
    parent: Table
    oid: int


# Read from pg_inherits, which obeys the snapshot, as pg_partition_tree does not: a day that is attached meanwhile is
# either there with its bounds and its place in the hot set, or not there at all.
TREE = """
    WITH RECURSIVE tree AS (
        SELECT i.inhrelid AS oid, i.inhparent AS over_oid FROM pg_inherits i
        JOIN pg_class c ON c.oid = i.inhparent JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s AND c.relname = %s AND c.relkind = 'p' AND NOT i.inhdetachpending
        UNION ALL
        SELECT i.inhrelid, i.inhparent FROM pg_inherits i JOIN tree ON tree.oid = i.inhparent
        WHERE NOT i.inhdetachpending
    )
"""
_HAS_OURS = f"""{TREE}
    SELECT EXISTS (
        SELECT FROM tree JOIN pg_class c ON c.oid = tree.oid JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = %s
    )
"""  # noqa: S608  # a constant
_CATALOG = """
    SELECT n.nspname, c.relname, pg_get_expr(c.relpartbound, c.oid) AS bound, pn.nspname AS over_schema,
           p.relname AS over_name, pg_get_expr(p.relpartbound, p.oid) AS over_bound, c.oid AS oid
    FROM tree t
    JOIN pg_class c ON c.oid = t.oid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class p ON p.oid = t.over_oid
    JOIN pg_namespace pn ON pn.oid = p.relnamespace
    WHERE c.relkind <> 'p'
"""
_LEAVES = f"{TREE} {_CATALOG}"
_LEAVES_AND_HOT_DAYS = f"""{TREE}, found AS ({_CATALOG})
    SELECT json_build_array(
        (SELECT coalesce(json_agg(json_build_array(nspname, relname, bound, over_schema, over_name, over_bound)), '[]')
         FROM found),
        (SELECT coalesce(json_agg(json_build_array(interval, day)), '[]') FROM thermocline.hot_day WHERE dataset = %s)
    )
"""  # noqa: S608  # a constant


def leaves(connection: Connection, schema: str, dataset: Dataset) -> list[Leaf]:
    """Every leaf, in order.

    Raises:
        HotStoreError: Somebody attached a table whose bounds are not one UTC day; its rows would not be seen.
    """
    parent = parent_table(schema, dataset)
    rows = connection.execute(_LEAVES, (parent.schema, parent.name)).fetchall()
    check_parent(connection, schema, dataset, has_ours=any(LEAVES in (row[0], row[3]) for row in rows))
    found, odd = [], []
    for leaf_schema, leaf_name, bound, over_schema, over_name, over_bound, oid in rows:
        table, over = Table(leaf_schema, leaf_name), Table(over_schema, over_name)
        partition = _partition_of(dataset, bound, over_bound)
        if partition:
            found.append(Leaf(partition, table, over, oid))
        elif bound is not None:  # no bound: it was dropped while we looked
            odd.append((over, table))
    refuse_odd(dataset, odd, "not one UTC day each")
    return sorted(found, key=lambda leaf: leaf.partition)


def refuse_odd(dataset: Dataset, odd: Iterable[tuple[Table, Table]], what: str) -> None:
    """Name partitions of our own table that somebody else attached, each with the table it is attached to.

    Raises:
        HotStoreError: There are some.
    """
    odd = sorted(odd, key=str)
    if odd:
        detach_them = "; ".join(
            f"ALTER TABLE {over.sql.as_string()} DETACH PARTITION {table.sql.as_string()}" for over, table in odd
        )
        msg = (
            f"{', '.join(str(table) for _, table in odd)} hang from Thermocline's table of {dataset.name} but are "
            f"{what}, so their rows would not be seen; nothing was touched. Detach them ({detach_them}), then bring "
            f"their rows in with `thermocline ingest {dataset.name}`"
        )
        raise HotStoreError(msg)


def range_tables(connection: Connection, schema: str, dataset: Dataset) -> list[Table]:
    """The tables whose partitions are days. A lock on them holds off every detach of the dataset."""
    check_parent(connection, schema, dataset)
    parent = parent_table(schema, dataset)
    if not dataset.has_intervals:
        return [parent]
    rows = connection.execute(
        """SELECT n.nspname, c.relname FROM pg_inherits i
           JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE i.inhparent = %s::regclass ORDER BY 1, 2""",
        (parent.sql.as_string(connection),),
    )
    return [Table(schema_name, name) for schema_name, name in rows]


def _partition_of(dataset: Dataset, bound: str | None, over_bound: str | None) -> Partition | None:
    """The day that a leaf of these bounds holds, if it is one."""
    day = _day_of(bound)
    listed = _LIST_BOUND.fullmatch(over_bound or "")
    if day is None or (dataset.has_intervals and listed is None):
        return None
    return Partition(dataset.name, listed["interval"] if listed else "", day)


def _day_of(bound: str | None) -> date | None:
    match = _RANGE_BOUND.fullmatch(bound or "")
    if match is None:
        return None
    try:
        start, end = (datetime.fromisoformat(_iso(match[name])).astimezone(UTC) for name in ("start", "end"))
    except ValueError:
        return None
    midnight = start.time() == datetime.min.time()
    return start.date() if midnight and end - start == ONE_DAY else None


def _iso(text: str) -> str:
    """PostgreSQL writes offsets as `+00`, which Python 3.11 reads; bounds without an offset are UTC by our session."""
    return text if re.search(r"[+-]\d\d(:?\d\d)?$", text) else f"{text}+00"
