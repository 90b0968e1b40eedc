"""Rows into a table that is new: what all of them say in a column is said once, and PostgreSQL fills it in."""

from collections.abc import Container, Iterable
from itertools import chain, groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.dataset import Column, Dataset, Kind
from thermocline.stores.postgres import tables
from thermocline.stores.postgres.connection import Connection
from thermocline.stores.postgres.rows import copy_in
from thermocline.stores.postgres.tables import Table

_OFTEN_ONE = {Kind.TEXT, Kind.TIMESTAMP, Kind.DATE, Kind.BOOLEAN}
"""Kinds of which a day's rows often have one value. One number in all of them is rare; nulls are of any kind."""


def fill(connection: Connection, table: Table, dataset: Dataset, batches: Iterable[pa.RecordBatch]) -> int:
    """COPY rows into a table that is new in this transaction; return how many.

    Columns of which the whole first batch says one thing are not sent: that is the table's default for them until all
    rows are in. From the first batch on that says something else in one of them, this one is sent as well.
    """
    stream = iter(batches)
    first = next(stream, None)
    if first is None:
        return 0
    said = _said(first, dataset, tables.with_defaults(connection, table))
    defaults = {name: value for name, value in said.items() if value is not None}

    def still_said(batch: pa.RecordBatch) -> set[str]:
        for name in [name for name, value in said.items() if not _says(batch[name], value)]:
            del said[name]
        return set(said)

    rows = 0
    tables.set_defaults(connection, table, defaults)
    for left_out, some in groupby(chain([first], stream), still_said):
        sent = [column for column in dataset.columns if column.name not in left_out]
        rows += copy_in(connection, table.sql, sent, some, freeze=True)
    tables.drop_defaults(connection, table, defaults)
    return rows


def _said(batch: pa.RecordBatch, dataset: Dataset, filled: Container[str]) -> dict[str, Any]:
    """By column what all rows of a batch say, None for null; without columns that the table has defaults for."""
    found = {
        column.name: value
        for column in dataset.columns
        if column.name not in filled
        for value in _one(column, batch[column.name])
    }
    if len(found) == len(dataset.columns):
        found.popitem()  # there is no COPY of no columns
    return found


def _one(column: Column, array: pa.Array) -> Iterable[Any]:
    """The value of all rows, if they have one that is worth to be looked for."""
    if not len(array) or not (array.null_count or column.kind in _OFTEN_ONE):
        return ()
    try:
        value = array[0].as_py()
    except (ValueError, OverflowError):  # an instant that Python has no word for
        return ()
    return (value,) if _says(array, value) else ()


def _says(array: pa.Array, value: Any) -> bool:
    """Whether that is the value of all rows, of which there may be none."""
    if value is None or array.null_count or not len(array):
        return bool(array.null_count == len(array)) and value is None
    if pa.types.is_dictionary(array.type):
        codes = np.asarray(array.indices)
        return bool((codes == codes[0]).all()) and array[0].as_py() == value
    return bool(pc.all(pc.equal(array, pa.scalar(value, array.type))).as_py())
