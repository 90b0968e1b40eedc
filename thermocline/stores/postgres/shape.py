"""What hands other than ours did to our tables, as far as rows could be misread, doubled or dropped by it."""

from collections.abc import Iterable

from psycopg import sql

from thermocline.errors import HotStoreError
from thermocline.model.dataset import Dataset, Kind
from thermocline.model.partition import Partition
from thermocline.stores.postgres import tables
from thermocline.stores.postgres.connection import Connection, scalar
from thermocline.stores.postgres.tables import Leaf, Table

_COLUMNS = """
    SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull FROM pg_attribute a
    WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum
"""
_HAS_KEY = """
    SELECT EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = %s::regclass AND i.indisunique AND i.indisvalid AND i.indpred IS NULL
        AND ARRAY(SELECT a.attname::text FROM pg_attribute a WHERE a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
                  ORDER BY a.attname) = %s::text[]
    )
"""


def columns_of(connection: Connection, table: Table) -> dict[str, tuple[str, bool]]:
    """The type of each column of a table as PostgreSQL writes it, and whether it must have a value."""
    rows = connection.execute(_COLUMNS, (table.sql.as_string(connection),))
    return {name: (type_name, not_null) for name, type_name, not_null in rows}


def check_columns(connection: Connection, parent: Table, dataset: Dataset) -> None:
    """Refuse a table whose columns are not those that we gave it; a day's table has those of its parent.

    Columns that the dataset does not know may be there beside them.

    Raises:
        HotStoreError: A column is gone, has another type, or may be null where the dataset says never.
    """
    found = columns_of(connection, parent)
    wrong, remedies = [], []
    for column in dataset.columns:
        expected = _type_name(column.kind, tables.sql_type(column).as_string(connection))
        type_name, not_null = found.get(column.name, (None, None))
        name = sql.Identifier(column.name).as_string(connection)
        if type_name is None:
            wrong.append(f"column {column.name} is gone")
        elif type_name != expected:
            wrong.append(f"column {column.name} is {type_name}, not {expected}")
            remedies.append(f"ALTER COLUMN {name} TYPE {expected}")
        elif not (column.nullable or not_null):
            wrong.append(f"column {column.name} may be null")
            remedies.append(f"ALTER COLUMN {name} SET NOT NULL")
    if found and wrong:
        alter = f" (ALTER TABLE {parent.sql.as_string(connection)} {', '.join(remedies)})" if remedies else ""
        msg = (
            f"somebody changed {parent}: {'; '.join(wrong)}. Its rows could be misread, so nothing was read or "
            f"changed; change it back{alter}, then run the same command again"
        )
        raise HotStoreError(msg)


def check_day(connection: Connection, leaf: Leaf, dataset: Dataset) -> None:
    """Refuse to move a day that holds what its cold copy could not hold.

    Raises:
        HotStoreError: There are values in a column that the dataset does not know, or several rows of one key.
    """
    name = leaf.table.sql.as_string(connection)
    known = set(dataset.names)
    unknown = [row[0] for row in connection.execute(_COLUMNS, (name,)) if row[0] not in known]
    filled = [column for column in unknown if _has_values(connection, leaf.table, column)]
    if filled:
        msg = (
            f"{leaf.partition} stays hot: {leaf.table} has values in {', '.join(filled)}, which {dataset.name} does "
            "not know and the lake could not keep; nothing was changed. Copy those values to a table of your own and "
            "set them to NULL, or drop the column; the next run takes the day up"
        )
        raise HotStoreError(msg)
    if scalar(connection, _HAS_KEY, (name, sorted(dataset.key))):
        return
    key = tables.names(dataset.key)
    doubled = sql.SQL("SELECT EXISTS (SELECT FROM {} GROUP BY {} HAVING count(*) > 1)").format(leaf.table.sql, key)
    if scalar(connection, doubled):
        primary = sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({})").format(
            leaf.table.sql, tables.names(tables.primary_key(dataset))
        )
        msg = (
            f"{leaf.partition} stays hot: {leaf.table} has lost its primary key and holds several rows of one key; "
            "nothing was changed. Delete those that are too many and give it its key again "
            f"({primary.as_string(connection)}); the next run takes the day up"
        )
        raise HotStoreError(msg)


def refuse_unknown(connection: Connection, dataset: Dataset, leaves: Iterable[Leaf]) -> None:
    """Refuse to answer while tables that are not in the hot set, and that somebody else attached, hold rows.

    Raises:
        HotStoreError: There are some.
    """
    holding = [
        (leaf.parent, leaf.table)
        for leaf in leaves
        if scalar(connection, sql.SQL("SELECT EXISTS (SELECT FROM {})").format(leaf.table.sql))
    ]
    tables.refuse_odd(dataset, holding, "not in the hot set")


def missing(partition: Partition) -> HotStoreError:
    """What to say of a day in the hot set whose table is gone."""
    return HotStoreError(
        f"{partition} is hot, but it has no table under {partition.dataset}: something other than Thermocline detached "
        "or dropped it. Attach it again, or restore it from a backup"
    )


def _has_values(connection: Connection, table: Table, column: str) -> bool:
    query = sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {} IS NOT NULL)").format(table.sql, sql.Identifier(column))
    return bool(scalar(connection, query))


def _type_name(kind: Kind, type_name: str) -> str:
    """A column's type as `format_type` writes it."""
    return "timestamp with time zone" if kind is Kind.TIMESTAMP else type_name.replace(", ", ",")
