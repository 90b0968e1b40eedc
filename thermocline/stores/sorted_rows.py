"""Looking at sorted record batches as a stream: where runs begin, and the last row of each key."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Mask = npt.NDArray[np.bool_]


def starts_of_runs(batch: pa.RecordBatch, columns: Sequence[str], previous: pa.RecordBatch | None) -> Mask:
    """For each row, whether it differs in a column from the row before it. None of the columns may hold nulls.

    `previous` ends with the row before the first one; where there is none, the first row differs.
    """
    starts = np.zeros(batch.num_rows, dtype=np.bool_)
    if not batch.num_rows:
        return starts
    for name in columns:
        values = batch.column(name)
        starts[1:] |= np.asarray(pc.not_equal(values.slice(1), values.slice(0, len(values) - 1)))
        starts[0] |= previous is None or previous.column(name)[-1] != values[0]
    return starts


def last_of_each_run(batches: Iterable[pa.RecordBatch], columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Of neighbouring rows that are equal in the columns keep the last; one row is held back between batches."""
    held: pa.RecordBatch | None = None
    for batch in batches:
        if not batch.num_rows:
            continue
        starts = starts_of_runs(batch, columns, held)
        if held is not None and starts[0]:
            yield held
        is_last = starts[1:]
        body = batch.slice(0, batch.num_rows - 1)
        if body.num_rows:
            yield body if is_last.all() else body.filter(pa.array(is_last))
        held = batch.slice(batch.num_rows - 1)
    if held is not None:
        yield held
