"""Rows of one table that share a key."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from thermocline.model.dataset import Dataset

Rows = npt.NDArray[np.int64]

_LARGEST_CODE = 2**62


@dataclass(frozen=True)
class Duplicates:
    """Rows that give way to a later row of their key: those that say the same as it, and those that don't."""

    identical: Rows
    conflicting: Rows


def duplicates_of(table: pa.Table, dataset: Dataset, rows: Rows) -> Duplicates:
    """Find, among those rows of a table in the dataset's types, the ones that a later row of the same key replaces.

    Two rows say the same when their content, without `source` and `ingested_at`, is equal. Exact, no hashing; a table
    that is sorted by its key costs no sort.
    """
    none = Duplicates(rows[:0], rows[:0])
    if len(rows) <= 1:
        return none
    codes, stamps = _codes(table, dataset, rows)
    if _strictly_rising(codes, stamps) or _strictly_rising(stamps, codes):
        return none
    order = _order(codes, stamps)
    codes, stamps = codes[order], stamps[order]
    same_as_next = (codes[1:] == codes[:-1]) & (stamps[1:] == stamps[:-1])
    if not same_as_next.any():
        return none
    replaced = np.flatnonzero(same_as_next)
    ends = np.flatnonzero(np.append(~same_as_next, [True]))
    last = ends[np.searchsorted(ends, replaced)]
    early, late = rows[order[replaced]], rows[order[last]]
    equal = equal_content(table, dataset, early, late)
    return Duplicates(np.sort(early[equal]), np.sort(early[~equal]))


def _order(codes: Rows, stamps: Rows) -> Rows:
    """By code and time; rows of one key stay in the table's order.

    Where both fit one integer, that is sorted: what is nearly in order costs next to nothing then.
    """
    first, span = int(stamps.min()), int(stamps.max()) - int(stamps.min()) + 1
    if (int(codes.max()) + 1) * span > _LARGEST_CODE:
        return np.lexsort((stamps, codes))
    return np.argsort(codes * span + (stamps - first), kind="stable")


def _codes(table: pa.Table, dataset: Dataset, rows: Rows) -> tuple[Rows, Rows]:
    """One integer for all of a row's key but its time, and its time."""
    whole = len(rows) == len(table)
    taken = pa.array(rows)
    codes = np.zeros(len(rows), dtype=np.int64)
    size = 1
    for name in dataset.key:
        column = table[name].combine_chunks()
        column = column if whole else column.take(taken)
        if name == "ts":
            stamps: Rows = column.cast(pa.int64()).to_numpy(zero_copy_only=False)
            continue
        encoded = column.dictionary_encode()
        count = max(len(encoded.dictionary), 1)
        if size * count > _LARGEST_CODE:
            distinct, codes = np.unique(codes, return_inverse=True)
            size = len(distinct)
        codes = codes * count + encoded.indices.to_numpy(zero_copy_only=False)
        size *= count
    return codes, stamps


def _strictly_rising(major: Rows, minor: Rows) -> bool:
    steps = np.diff(major)
    return bool(np.all((steps > 0) | ((steps == 0) & (np.diff(minor) > 0))))


def equal_content(table: pa.Table, dataset: Dataset, left: Rows, right: Rows) -> npt.NDArray[np.bool_]:
    """For each pair of a table's rows, whether they say the same, whoever delivered them and when."""
    equal = np.ones(len(left), dtype=bool)
    for name in dataset.content:
        column = table[name].combine_chunks()
        one, other = column.take(pa.array(left)), column.take(pa.array(right))
        both_null = pc.and_(one.is_null(), other.is_null())
        same = pc.fill_null(pc.equal(one, other), fill_value=False)
        equal &= np.asarray(pc.or_(same, both_null))
    return equal
