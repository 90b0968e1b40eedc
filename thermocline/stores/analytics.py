"""Read-only SQL over both tiers with DuckDB: cold objects are read in place, hot rows are brought in when named."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import duckdb
import pyarrow as pa

from thermocline.errors import UsageError
from thermocline.model.dataset import Dataset
from thermocline.ports import Relation
from thermocline.stores.counting import counts_of, names_of
from thermocline.stores.duckdb import Engine
from thermocline.stores.duckdb_sql import columns_sql, identifier, literal, named_by, newest_sql, relation_sql
from thermocline.stores.work import Work

_BATCH_ROWS = 65_536


class DuckDBAnalytics:
    """See `Analytics`."""

    def __init__(self, engine: Engine) -> None:
        """Take how much of the machine may be used."""
        self._engine = engine

    def mentioned(self, statement: str, datasets: Collection[Dataset]) -> list[Dataset]:
        """See `Analytics.mentioned`."""
        with self._engine.connection() as connection:
            _check_reads(connection, statement)
            with _refused(statement):
                named = {name.rsplit(".", 1)[-1].strip('"').lower() for name in connection.get_table_names(statement)}
        return [dataset for dataset in datasets if dataset.name in named]

    def instruments(self, relation: Relation, symbols: Collection[str] = ()) -> list[tuple[str, str]]:
        """See `Analytics.instruments`."""
        return names_of(self._engine, relation, symbols)

    def counts(self, relation: Relation, spans: pa.Table, symbols: Collection[str] = ()) -> pa.Table:
        """See `Analytics.counts`."""
        return counts_of(self._engine, relation, spans, symbols)

    @contextmanager
    def run(self, statement: str, relations: Sequence[Relation]) -> Iterator[pa.RecordBatchReader]:
        """See `Analytics.run`."""
        with self._engine.instance() as connection, self._engine.work(connection) as work:
            _check_reads(connection, statement)
            for relation in relations:
                _define(work, relation)
            _lock_down(connection, relations)
            with _refused(statement):
                reader = work.run(partial(_stream, connection, statement))
            batches = work.batches(reader)
            try:
                yield pa.RecordBatchReader.from_batches(reader.schema, batches)
            finally:
                batches.close()


def _stream(connection: duckdb.DuckDBPyConnection, statement: str) -> pa.RecordBatchReader:
    return connection.execute(statement).to_arrow_reader(_BATCH_ROWS)


def _check_reads(connection: duckdb.DuckDBPyConnection, statement: str) -> None:
    with _refused(statement):
        statements = connection.extract_statements(statement)
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        msg = "only one SELECT (or WITH … SELECT) is answered; nothing was run"
        raise UsageError(msg)


@contextmanager
def _refused(statement: str) -> Iterator[None]:
    try:
        yield
    except duckdb.PermissionException as error:
        msg = f"the statement may read the datasets and nothing else: {_first_line(error)}"
        raise UsageError(msg) from error
    except (duckdb.ParserException, duckdb.BinderException, duckdb.CatalogException) as error:
        msg = f"the statement can't be run: {_first_line(error)}; it was {statement!r}"
        raise UsageError(msg) from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _define(work: Work, relation: Relation) -> None:
    """Make a view of the dataset's name over its cold objects, its late rows and a table of its hot rows."""
    dataset, connection = relation.dataset, work.connection
    columns, name = columns_sql(dataset.names), dataset.name
    source = work.run(partial(relation_sql, dataset, relation.locations, connection))
    cold = f"SELECT {columns} FROM {source}"  # noqa: S608  # names are quoted
    if relation.late is not None and len(relation.late):
        cold = _with_late(connection, relation, cold)
    hot_table = identifier(f"hot_{name}")
    with relation.hot() as reader:
        connection.register("incoming", reader)
        connection.execute(f"CREATE TEMP TABLE {hot_table} AS SELECT {columns} FROM incoming")  # noqa: S608
        connection.unregister("incoming")
    view = f"CREATE TEMP VIEW {identifier(name)} AS ({cold}) UNION ALL SELECT {columns} FROM {hot_table}"  # noqa: S608
    connection.execute(view)


def _with_late(connection: duckdb.DuckDBPyConnection, relation: Relation, cold: str) -> str:
    """Cold and late rows, of one key the one that was ingested last."""
    dataset = relation.dataset
    table = identifier(f"late_{dataset.name}")
    connection.register("incoming", relation.late)
    connection.execute(f"CREATE TEMP TABLE {table} AS SELECT * FROM incoming")  # noqa: S608  # the name is quoted
    connection.unregister("incoming")
    return f"SELECT {columns_sql(dataset.names)} FROM {newest_sql(dataset, dataset.names, cold, table)}"  # noqa: S608


def _lock_down(connection: duckdb.DuckDBPyConnection, relations: Sequence[Relation]) -> None:
    """From here on, nothing but the objects of the relations can be opened, and no setting can be changed."""
    paths = [located.location for relation in relations for located in relation.locations]
    # DuckDB asks for leave by the file's own name, also where it was named by a pattern that fits it alone.
    allowed = ", ".join(map(literal, dict.fromkeys((*paths, *map(named_by, paths)))))
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
