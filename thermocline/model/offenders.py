"""Rows of one batch that may not go in: which, why, and as what they are kept."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from thermocline.model.dataset import Dataset
from thermocline.model.records import as_json
from thermocline.model.rejected import Rejected

Mask = npt.NDArray[np.bool_]

_MOST_SHARED = 62  # bits of an int64 that say which reasons a row has
_CHUNK_ROWS = 100_000


class Series(NamedTuple):
    """One symbol and interval on one day; what is not known of a row is empty or None."""

    symbol: str
    interval: str
    day: date | None
    asset_class: str = ""


UNKNOWN_SERIES = Series("", "", None)
"""What a row is of that tells nothing."""


@dataclass(frozen=True)
class _Shared:
    """A reason that many rows have."""

    rule: str
    reason: str
    rows: Mask


class Offenders:
    """Collects what is wrong with which row. A reason that a million rows share costs a mask, not a million texts."""

    def __init__(self, rows: int) -> None:
        """Nothing is wrong with so many rows yet."""
        self.bad: Mask = np.zeros(rows, dtype=bool)
        self._shared: list[_Shared] = []
        self._single: dict[int, list[tuple[str, str]]] = {}

    def add(self, rule: str, row: int, reason: str) -> None:
        """One row is wrong, for a reason of its own."""
        self._single.setdefault(row, []).append((rule, reason))
        self.bad[row] = True

    def add_all(self, rule: str, rows: Mask, reason: str) -> None:
        """All rows of a mask are wrong for one reason."""
        if not rows.any():
            return
        if len(self._shared) < _MOST_SHARED:
            self._shared.append(_Shared(rule, reason, rows))
            self.bad |= rows
            return
        for row in np.flatnonzero(rows).tolist():
            self.add(rule, row, reason)

    def counts(self) -> dict[str, int]:
        """How many rows break each rule."""
        masks: dict[str, Mask] = {}
        for shared in self._shared:
            masks[shared.rule] = masks[shared.rule] | shared.rows if shared.rule in masks else shared.rows
        counted = Counter({rule: int(mask.sum()) for rule, mask in masks.items()})
        for row, reasons in self._single.items():
            counted.update({rule for rule, _ in reasons if rule not in masks or not masks[rule][row]})
        return dict(counted)

    def by_series(self, arrays: Mapping[str, pa.Array], dataset: Dataset) -> dict[Series, int]:
        """How many rows each symbol, interval and day has in quarantine, as far as rows tell."""
        rows = np.flatnonzero(self.bad)
        if not len(rows):
            return {}
        taken = pa.array(rows)
        nothing = pa.nulls(len(rows), pa.string())
        days = arrays["ts"].take(taken).cast(pa.timestamp("us")).cast(pa.date32(), safe=False).cast(pa.int32())
        found = pa.table(
            {
                "symbol": arrays[dataset.symbol_column].take(taken),
                "interval": arrays["interval"].take(taken) if dataset.has_intervals else nothing,
                "day": days,
                "asset_class": arrays["asset_class"].take(taken) if "asset_class" in dataset.names else nothing,
            }
        )
        counted = found.group_by(found.column_names).aggregate([([], "count_all")])
        epoch = date(1970, 1, 1)
        return {
            Series(
                row["symbol"] or "",
                row["interval"] or "",
                None if row["day"] is None else epoch + timedelta(days=row["day"]),
                row["asset_class"] or "",
            ): row["count_all"]
            for row in counted.to_pylist()
        }

    def rejected(self, raw: pa.Table, dataset: str, source: str, origin: str, most: int | None) -> Iterator[Rejected]:
        """The rows in the order they came, or so many at most of those that share their reasons."""
        rows = np.flatnonzero(self.bad)
        codes = self._codes(rows)
        if most is not None and len(rows) > most:
            kept = np.sort(np.concatenate([np.flatnonzero(codes == code)[:most] for code in np.unique(codes)]))
            rows, codes = rows[kept], codes[kept]
        told = {code: self._told(code) for code in np.unique(codes).tolist()}
        for start in range(0, len(rows), _CHUNK_ROWS):
            some = rows[start : start + _CHUNK_ROWS]
            records = as_json(raw.take(pa.array(some)))
            for row, code, record in zip(
                some.tolist(), codes[start : start + _CHUNK_ROWS].tolist(), records, strict=True
            ):
                rules, reason = told[code]
                if own := self._single.get(row):
                    rules = tuple(dict.fromkeys([*(rule for rule, _ in own), *rules]))
                    reason = "; ".join([*(why for _, why in own), *([reason] if reason else [])])
                yield Rejected(dataset, source, origin, record, reason, rules)

    def _codes(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """For each row a bit for each reason that it shares with others."""
        codes = np.zeros(len(rows), dtype=np.int64)
        for bit, shared in enumerate(self._shared):
            codes |= shared.rows[rows].astype(np.int64) << bit
        return codes

    def _told(self, code: int) -> tuple[tuple[str, ...], str]:
        """The rules and the reason that those bits stand for."""
        having = [shared for bit, shared in enumerate(self._shared) if code >> bit & 1]
        return tuple(dict.fromkeys(s.rule for s in having)), "; ".join(s.reason for s in having)
