"""Rows of one partition in memory, as `MemoryHot` keeps them."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from thermocline.model.dataset import Dataset
from thermocline.model.duplicates import equal_content
from thermocline.stores.sorted_rows import last_of_each_run, starts_of_runs


def widened(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Rows in a schema that has more columns, or wider ones."""
    columns = [
        rows[field.name].cast(field.type) if field.name in rows.column_names else pa.nulls(len(rows), field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema).combine_chunks()


def table_of(dataset: Dataset, batches: Iterable[pa.RecordBatch]) -> pa.Table:
    """The batches as one table in exactly the dataset's schema; texts may come encoded as dictionaries."""
    return pa.Table.from_batches([_plain(batch, dataset) for batch in batches], dataset.arrow_schema).combine_chunks()


def _plain(batch: pa.RecordBatch, dataset: Dataset) -> pa.RecordBatch:
    if not any(pa.types.is_dictionary(column.type) for column in batch.columns):
        return batch
    columns = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        for column in (batch.column(name) for name in dataset.names)
    ]
    return pa.RecordBatch.from_arrays(columns, schema=dataset.arrow_schema)


def newest(rows: pa.Table, dataset: Dataset) -> pa.Table:
    """Of rows with one key the one with the latest `ingested_at`, and of those the last; sorted as a file is."""
    # Arrow's sort is stable, so of equals the last one stays the last.
    ranked = rows.sort_by([(name, "ascending") for name in (*dataset.key, "ingested_at")])
    kept = last_of_each_run(ranked.to_batches(), dataset.key)
    return pa.Table.from_batches(kept, rows.schema).sort_by(_order(dataset)).combine_chunks()


def merged(present: pa.Table, rows: pa.Table, dataset: Dataset) -> pa.Table:
    """Rows over those that are there: the later `ingested_at` wins, ties go to the new.

    A row that says nothing new is left out; where all are, the very table that was there comes back.
    """
    both = pa.concat_tables([present, newest(rows, dataset)]).sort_by([(name, "ascending") for name in dataset.key])
    both = both.combine_chunks()
    if not len(both):
        return present
    second = np.flatnonzero(~starts_of_runs(both.to_batches()[0], dataset.key, None))
    first = second - 1
    stamps = both["ingested_at"].cast(pa.int64()).to_numpy()
    stays = equal_content(both, dataset, first, second) | (stamps[second] < stamps[first])
    kept = np.ones(len(both), dtype=bool)
    kept[np.where(stays, second, first)] = False
    if stays.all() and kept.sum() == len(present):
        return present
    return both.filter(pa.array(kept)).sort_by(_order(dataset)).combine_chunks()


def _order(dataset: Dataset) -> list[tuple[str, str]]:
    return [(name, "ascending") for name in dataset.sort]
