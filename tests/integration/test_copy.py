"""Every kind of value through a real PostgreSQL, which has the last word on its own format."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest
from every_kind import COLUMNS, SCHEMA, VALUES, batches, spelled
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from psycopg import sql

from thermocline.model.dataset import Dataset
from thermocline.stores.postgres.connection import connect
from thermocline.stores.postgres.fresh import fill
from thermocline.stores.postgres.rows import copy_in, copy_out
from thermocline.stores.postgres.tables import Table, names, sql_type

TABLE = sql.Identifier("every_kind")


class _EveryKind(Dataset):
    """A dataset of every kind of column, without a key: it is never merged."""

    def __post_init__(self) -> None:
        """Any columns will do."""


DATASET = _EveryKind("every_kind", "", COLUMNS, key=())


@pytest.fixture
def connection(hot_url):
    with connect(hot_url) as connection:
        definitions = sql.SQL(", ").join(sql.SQL("{} {}").format(sql.Identifier(c.name), sql_type(c)) for c in COLUMNS)
        connection.execute(sql.SQL("CREATE TABLE {} (number serial, {})").format(TABLE, definitions))
        yield connection


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=batches())
def test_what_is_copied_in_comes_out_as_it_was(connection, batch):
    connection.execute(sql.SQL("TRUNCATE {}").format(TABLE))
    assert copy_in(connection, TABLE, COLUMNS, [batch, batch.slice(0, 0)], freeze=False) == batch.num_rows
    select = everything(TABLE) + sql.SQL(" ORDER BY number")
    found = pa.Table.from_batches(copy_out(connection, select, DATASET), SCHEMA)
    found.validate(full=True)
    assert spelled(found) == spelled(batch)


def test_a_server_reads_the_values_that_we_mean(connection):
    """Both directions could be wrong alike, so the server itself is asked."""
    text = {
        "text": "Ü 日本 '\"\\",
        "price": "-9999999999.99999999",
        "money": "99999999999999999999.99999999",
        "float": "-0",
        "integer": "-9223372036854775808",
        "boolean": "true",
        "date": "0001-01-01",
        "timestamp": "1969-12-31 23:59:59.999999+00",
    }
    row = pa.table(
        {
            name: pa.array([value]).cast(SCHEMA.field(name).type)
            for name, value in text.items()
            if name not in {"timestamp", "float"}
        }
    )
    row = row.append_column("float", pa.array([-0.0])).append_column(
        "timestamp", pa.array([-1], pa.int64()).cast(SCHEMA.field("timestamp").type)
    )
    copy_in(connection, TABLE, COLUMNS, row.select(SCHEMA.names).to_batches(), freeze=False)
    shown = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in text)
    [found] = connection.execute(sql.SQL("SELECT {} FROM {}").format(shown, TABLE)).fetchall()
    assert dict(zip(text, found, strict=True)) == text


def test_more_rows_than_a_batch_come_in_batches_of_bounded_size(connection, monkeypatch):
    monkeypatch.setattr("thermocline.stores.postgres.rows.BATCH_ROWS", 1000)
    batch = pa.RecordBatch.from_pylist(
        [{"text": "x" * (number % 50), "integer": number} for number in range(2500)], SCHEMA
    )
    copy_in(connection, TABLE, COLUMNS, [batch], freeze=False)
    select = everything(TABLE) + sql.SQL(" ORDER BY integer")
    found = list(copy_out(connection, select, DATASET))
    assert [part.num_rows for part in found] == [1000, 1000, 500]
    assert spelled(pa.Table.from_batches(found)) == spelled(batch)


FRESH = Table("public", "fresh")
DEFAULTS = {"text": "'theirs'::text", "integer": "7"}
"""What somebody gave the table, which rows that say null must not get."""


@st.composite
def much_the_same(draw) -> list[pa.RecordBatch]:
    """Batches in whose columns often all rows say one thing, at least at first; texts may be a dictionary's."""
    values = {c.name: draw(st.lists(st.none() | VALUES[c.kind], min_size=1, max_size=2)) for c in COLUMNS}
    rows = st.lists(st.fixed_dictionaries({name: st.sampled_from(some) for name, some in values.items()}), max_size=4)
    made = [pa.RecordBatch.from_pylist(each, SCHEMA) for each in draw(st.lists(rows, max_size=4))]
    return [
        batch.set_column(0, "text", batch["text"].dictionary_encode()) if draw(st.booleans()) else batch
        for batch in made
    ]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@example(batches=[pa.RecordBatch.from_pylist([{}, {}], SCHEMA)], defaults={})
@given(batches=much_the_same(), defaults=st.sampled_from([{}, DEFAULTS]))
def test_a_fresh_table_gets_what_rows_say_also_where_they_all_say_the_same(connection, batches, defaults):
    with connection.transaction(force_rollback=True):
        create_fresh(connection, defaults)
        assert fill(connection, FRESH, DATASET, batches) == sum(batch.num_rows for batch in batches)
        assert defaults_of_fresh(connection) == defaults
        found = pa.Table.from_batches(copy_out(connection, everything(FRESH.sql), DATASET), SCHEMA)
    assert spelled(found) == [row for batch in batches for row in spelled(batch)]


def test_what_all_rows_say_is_not_sent(connection, monkeypatch):
    row = {"boolean": True, "timestamp": datetime(2024, 1, 15, tzinfo=UTC), "integer": 1, "float": None}
    sent = []
    monkeypatch.setattr(
        "thermocline.stores.postgres.fresh.copy_in",
        lambda connection, table, columns, *rest, **options: (
            sent.append({column.name for column in columns}) or copy_in(connection, table, columns, *rest, **options)
        ),
    )
    first, second, third = ({**row, "boolean": each} for each in (True, False, True))
    with connection.transaction(force_rollback=True):
        create_fresh(connection, DEFAULTS)
        fill(
            connection, FRESH, DATASET, [pa.RecordBatch.from_pylist([each], SCHEMA) for each in (first, second, third)]
        )
        found = [each for (each,) in connection.execute("SELECT boolean FROM fresh").fetchall()]
    assert found == [True, False, True]
    assert sent == [{"text", "integer"}, {"text", "integer", "boolean"}]


def create_fresh(connection, defaults):
    definitions = (
        sql.SQL("{} {} {}").format(
            sql.Identifier(c.name),
            sql_type(c),
            sql.SQL("DEFAULT {}").format(sql.SQL(defaults[c.name])) if c.name in defaults else sql.SQL(""),
        )
        for c in COLUMNS
    )
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(FRESH.sql, sql.SQL(", ").join(definitions)))


def defaults_of_fresh(connection):
    return dict(
        connection.execute(
            "SELECT column_name, column_default FROM information_schema.columns "
            "WHERE table_name = 'fresh' AND column_default IS NOT NULL"
        ).fetchall()
    )


def everything(table):
    return sql.SQL("SELECT {} FROM {}").format(names(SCHEMA.names), table)
