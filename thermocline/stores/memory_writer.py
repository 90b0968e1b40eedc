"""The one thread that may change a dataset of a `MemoryHot`."""

import itertools
from collections.abc import Callable, Collection, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from thermocline.errors import FingerprintMismatchError, StaleStateError
from thermocline.model.coverage.due import due_of
from thermocline.model.dataset import Dataset
from thermocline.model.fingerprint import contents_of
from thermocline.model.partition import ALL_DAYS, DayRange, Partition
from thermocline.model.query import Query
from thermocline.model.receipt import Vintage
from thermocline.model.schema import Schema
from thermocline.ports import (
    Act,
    Detached,
    Export,
    Holding,
    Mover,
    Publication,
    came_to_hot,
    expired_act,
    gone_act,
)
from thermocline.ports.ledger import restored
from thermocline.stores.memory_rows import newest, table_of
from thermocline.stores.memory_snapshot import BATCH_ROWS, matches
from thermocline.stores.memory_state import Day, Kept, State

if TYPE_CHECKING:
    from thermocline.stores.memory_hot import MemoryHot


_numbers = itertools.count(1)


@dataclass(frozen=True)
class _Export:
    """See `Export`; with what was there when it was opened, to compare with later."""

    partition: Partition
    table: pa.Table
    day: Day | None
    late: tuple[pa.Table, ...]

    @property
    def rows(self) -> int:
        return len(self.table)

    @property
    def was_hot(self) -> bool:
        return self.day is not None

    @property
    def seems_changed(self) -> bool:
        return bool(self.late)

    def batches(self) -> Generator[pa.RecordBatch, None, None]:
        yield from self.table.to_batches(max_chunksize=BATCH_ROWS)

    def nearly_sorted(self) -> Generator[pa.RecordBatch, None, None]:
        return self.batches()

    def unsorted(self) -> Generator[pa.RecordBatch, None, None]:
        return self.batches()


class MemoryWriter:
    """See `Writer`. Made by `MemoryHot.writer`, which holds the dataset's lock."""

    def __init__(self, hot: "MemoryHot", dataset: Dataset, clock: Callable[[], datetime]) -> None:
        """Take over a dataset whose lock is held."""
        self._hot = hot
        self._dataset = dataset
        self._clock = clock

    def live(self, days: DayRange, intervals: Collection[str] = ()) -> list[Vintage]:
        """See `Writer.live`."""
        return self._hot.live(self._dataset, days, intervals)

    def live_paths(self) -> frozenset[str]:
        """See `Writer.live_paths`."""
        return frozenset(vintage.receipt.path for vintage in self.live(ALL_DAYS))

    def next_versions(self, partitions: Collection[Partition]) -> Mapping[Partition, int]:
        """See `Writer.next_versions`."""
        vintages = self._hot.state.vintages
        return {p: 1 + max((v.receipt.version for v in vintages.get(p, ())), default=0) for p in partitions}

    def head(self) -> str | None:
        """See `Writer.head`."""
        return self._hot.state.heads.get(self._dataset.name)

    def publish(
        self,
        publication: Publication,
        hot_rows: Mapping[Partition, Iterable[pa.RecordBatch]] | None = None,
        rows_if_hot: Mapping[Partition, Iterable[pa.RecordBatch]] | None = None,
    ) -> None:
        """See `Writer.publish`."""
        versions = {vintage.partition: vintage.receipt.version for vintage in publication.accepted}
        versions |= {receipt.partition: receipt.version for receipt in publication.receipts}
        with self._hot.transaction() as state:
            state.publish(publication, self._clock())
            where_hot = {p: rows for p, rows in (rows_if_hot or {}).items() if p in state.hot}
            for partition, batches in {**(hot_rows or {}), **where_hot}.items():
                rows = table_of(self._dataset, batches)
                state.put(self._dataset, partition, rows, versions.get(partition, 0))
            if act := publication.act({**(hot_rows or {}), **where_hot}.keys()):
                state.record(act, self._clock())
            changed = {*publication.dated, *(hot_rows or ()), *where_hot}
            state.note_due(self._dataset, due_of(changed, publication.run_id))
            state.end_trouble("backfill", {*versions, *(hot_rows or ())})

    def hold(self, holdings: Sequence[Holding], *, run_id: str) -> None:
        """See `Writer.hold`."""
        with self._hot.transaction() as state:
            state.hold(holdings, run_id, self._clock())

    def reject(self, vintages: Sequence[Vintage], *, run_id: str, reason: str = "") -> None:
        """See `Writer.reject`."""
        with self._hot.transaction() as state:
            state.dismiss(vintages, run_id, reason, self._clock())

    def expire(self, vintages: Collection[Vintage], *, run_id: str) -> None:
        """See `Writer.expire`."""
        with self._hot.transaction() as state:
            for vintage in vintages:
                state.expire(vintage)
            paths = {vintage.receipt.path for vintage in vintages}
            state.note_unnamed(paths, self._dataset.name, self._clock())
            state.record(expired_act(self._dataset, vintages, run_id), self._clock())

    def note_unnamed(self, paths: Collection[str]) -> None:
        """See `Writer.note_unnamed`."""
        with self._hot.transaction() as state:
            state.note_unnamed(paths, self._dataset.name, self._clock())

    def may_go(self, path: str) -> bool:
        """See `Writer.may_go`."""
        with self._hot.transaction() as state:
            if path in state.named():
                state.unnamed.pop(path, None)
            return path in state.unnamed

    def gone(self, path: str, *, size_bytes: int, run_id: str) -> None:
        """See `Writer.gone`."""
        with self._hot.transaction() as state:
            state.unnamed.pop(path, None)
            state.record(gone_act(self._dataset, path, size_bytes, run_id), self._clock())

    def evolve(self, schemas: Sequence[Schema], *, run_id: str, anew: bool = False) -> None:
        """See `Writer.evolve`. There is nothing to be made anew where there are no rows."""
        del anew
        with self._hot.transaction() as state:
            state.evolve(self._dataset, schemas, run_id, self._clock())
        self._dataset = schemas[-1].dataset_as(self._dataset)

    def load(
        self, vintage: Vintage, batches: Iterable[pa.RecordBatch], *, run_id: str, until: date | None = None
    ) -> int:
        """See `Mover.load`."""
        partition, receipt = vintage.partition, vintage.receipt
        rows = table_of(self._dataset, batches)
        if differences := receipt.contents.differences(contents_of(self._dataset, rows.to_batches())):
            msg = (
                f"{receipt.path} is not what its receipt says ({'; '.join(differences)}); nothing was loaded. "
                f"`thermocline verify {partition.dataset}` names every such object"
            )
            raise FingerprintMismatchError(msg)
        with self._hot.transaction() as state:
            total = len(state.put(self._dataset, partition, rows, receipt.version).rows)
            state.keep(partition, until)
            detail = {"rows": total, "version": receipt.version, "path": receipt.path}
            state.record(came_to_hot(partition, run_id, detail, until), self._clock())
            state.end_trouble("load", [partition])
        return total

    @contextmanager
    def beside(self) -> Iterator[Mover]:
        """See `Writer.beside`. Transactions of several threads go one after the other."""
        yield self

    def keep(self, partition: Partition, until: date, *, run_id: str) -> None:
        """See `Writer.keep`."""
        with self._hot.transaction() as state:
            state.keep(partition, until)
            state.record(came_to_hot(partition, run_id, {}, until), self._clock())

    @contextmanager
    def export(self, partition: Partition) -> Iterator[Export]:
        """See `Mover.export`."""
        state = self._hot.state
        day, late = state.hot.get(partition), state.late.get(partition, ())
        parts = ([day.rows] if day else []) + ([newest(pa.concat_tables(late), self._dataset)] if late else [])
        table = newest(pa.concat_tables(parts), self._dataset) if parts else self._dataset.arrow_schema.empty_table()
        yield _Export(partition, table, day, late)

    def cut_over(self, export: Export, publication: Publication) -> None:
        """See `Writer.cut_over`."""
        if not isinstance(export, _Export):
            msg = f"an export of {type(export).__name__} is not this store's"
            raise TypeError(msg)
        partition = export.partition
        with self._hot.transaction() as state:
            day, late = state.hot.get(partition), state.late.get(partition, ())
            read = len(export.late)
            same_rows = (day and day.rows) is (export.day and export.day.rows)
            if not same_rows or late[:read] != export.late:
                msg = f"rows of {partition} changed while it was rotated; they were kept hot, the next run takes it up"
                raise StaleStateError(msg)
            state.publish(publication, self._clock())
            state.end_trouble("rotate", [partition])
            state.late.pop(partition, None)
            if late[read:]:
                state.late[partition] = late[read:]
            if day:
                self._detach(state, export, day, publication)
            else:
                detail = {"rows": export.rows, "path": publication.receipts[0].path if publication.receipts else None}
                state.record(Act("fold", partition, publication.run_id, detail), self._clock())

    def _detach(self, state: State, export: _Export, day: Day, publication: Publication) -> None:
        partition, vintage = export.partition, state.live_of(export.partition)
        if vintage is None and export.rows:
            msg = f"{partition} has no live vintage; its hot rows were kept"
            raise StaleStateError(msg)
        contents = contents_of(self._dataset, day.rows.to_batches())
        same = vintage and contents.content_fingerprint == vintage.receipt.contents.content_fingerprint
        name = f"{partition} {next(_numbers)}"
        version = vintage.receipt.version if vintage and same else 0
        del state.hot[partition]
        state.detached[name] = Kept(Detached(partition, name, version, self._clock(), len(day.rows)), day.rows)
        detail = {
            "rows": export.rows,
            "version": vintage.receipt.version if vintage else None,
            "path": vintage.receipt.path if vintage else None,
            "written": bool(publication.receipts),
            "kept_as": name,
        }
        state.record(Act("rotate", partition, publication.run_id, detail), self._clock())

    def undo(self, detached: Detached, *, run_id: str, until: date | None = None) -> int:
        """See `Writer.undo`."""
        partition = detached.partition
        with self._hot.transaction() as state:
            vintage = state.live_of(partition)
            kept = state.detached.pop(detached.table, None)
            same = vintage is not None and vintage.receipt.version == detached.version
            if kept is None or not same or partition in state.late or partition in state.hot:
                msg = (
                    f"{partition} has changed since it was rotated (a later vintage, late rows, or rows in hot), or is "
                    "kept no longer; nothing was changed. Bring it to hot as it is now with "
                    f"`thermocline rehydrate {partition.dataset}`"
                )
                raise StaleStateError(msg)
            state.hot[partition] = Day(detached.version, kept.rows, until)
            detail = {"rows": detached.rows, "version": detached.version, "until": until and until.isoformat()}
            state.record(Act("undo", partition, run_id, detail), self._clock())
        return detached.rows

    def release(self, detached: Detached, *, run_id: str) -> None:
        """See `Writer.release`."""
        with self._hot.transaction() as state:
            state.end_trouble("release", [detached.partition])
            if state.detached.pop(detached.table, None):
                detail = {"rows": detached.rows, "version": detached.version, "table": detached.table}
                state.record(Act("release", detached.partition, run_id, detail), self._clock())

    def restore(self, vintages: Sequence[Vintage], head: str, *, unnamed: Collection[str] = (), run_id: str) -> None:
        """See `Writer.restore`."""
        with self._hot.transaction() as state:
            state.restore(self._dataset, vintages, head, unnamed, self._clock())
            live = [vintage.partition for vintage in vintages if vintage.is_live]
            state.note_due(self._dataset, due_of(live, run_id))
            state.audit.append(replace(restored(self._dataset, vintages, run_id), at=self._clock()))

    def delete(self, days: DayRange, intervals: Collection[str], symbols: Collection[str], *, run_id: str) -> int:
        """See `Writer.delete`."""
        deleted = 0
        asked = Query(self._dataset, symbols=tuple(symbols), intervals=tuple(intervals))

        def kept(rows: pa.Table) -> pa.Table:
            nonlocal deleted
            left = rows.filter(pc.invert(matches(rows, asked)))
            deleted += len(rows) - len(left)
            return left if len(left) < len(rows) else rows

        with self._hot.transaction() as state:
            for partition, day in state.hot.items():
                if asked.wants(partition) and partition.day in days:
                    state.hot[partition] = replace(day, rows=kept(day.rows))
            there = {*state.hot, *state.late}
            for partition, late in list(state.late.items()):
                if asked.wants(partition) and partition.day in days:
                    state.late[partition] = tuple(rows for rows in map(kept, late) if len(rows))
                    if not state.late[partition]:
                        del state.late[partition]
            detail = {
                "dataset": self._dataset.name,
                "rows": deleted,
                "start": str(days.start),
                "end": str(days.end),
                "intervals": sorted(intervals),
                "symbols": sorted(symbols),
            }
            state.record(Act("delete", None, run_id, detail), self._clock())
            gone = [p for p in there if asked.wants(p) and p.day in days]
            state.note_due(self._dataset, due_of(gone, run_id, symbols))
        return deleted
