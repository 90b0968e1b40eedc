"""Every kind of value through a real PostgreSQL, which has the last word on its own format."""

import pyarrow as pa
import pytest
from every_kind import COLUMNS, SCHEMA, batches, spelled
from hypothesis import HealthCheck, given, settings
from psycopg import sql

from thermocline.model.dataset import Dataset
from thermocline.stores.postgres.connection import connect
from thermocline.stores.postgres.rows import copy_in, copy_out
from thermocline.stores.postgres.tables import names, sql_type

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
    assert copy_in(connection, TABLE, DATASET, [batch, batch.slice(0, 0)], freeze=False) == batch.num_rows
    select = sql.SQL("SELECT {} FROM {} ORDER BY number").format(names(SCHEMA.names), TABLE)
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
    copy_in(connection, TABLE, DATASET, row.select(SCHEMA.names).to_batches(), freeze=False)
    shown = sql.SQL(", ").join(sql.SQL("{}::text").format(sql.Identifier(name)) for name in text)
    [found] = connection.execute(sql.SQL("SELECT {} FROM {}").format(shown, TABLE)).fetchall()
    assert dict(zip(text, found, strict=True)) == text


def test_more_rows_than_a_batch_come_in_batches_of_bounded_size(connection, monkeypatch):
    monkeypatch.setattr("thermocline.stores.postgres.rows.BATCH_ROWS", 1000)
    batch = pa.RecordBatch.from_pylist(
        [{"text": "x" * (number % 50), "integer": number} for number in range(2500)], SCHEMA
    )
    copy_in(connection, TABLE, DATASET, [batch], freeze=False)
    select = sql.SQL("SELECT {} FROM {} ORDER BY integer").format(names(SCHEMA.names), TABLE)
    found = list(copy_out(connection, select, DATASET))
    assert [part.num_rows for part in found] == [1000, 1000, 500]
    assert spelled(pa.Table.from_batches(found)) == spelled(batch)
