"""Retention of what lies beside the rows: pages as they came, what other programs keep here, fetches nobody ends.

Each prefix of the lake may have a number of days after which its objects go, by when they were written as the listing
says. Nothing goes where none is set. A page of a fetch that is open never goes, nor does anything of the tables, their
journal or their schemas.
"""

from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from thermocline.faults import Step, step
from thermocline.model.dataset import Dataset
from thermocline.model.paths import CACHE, PROCESSED, RAW, fetches_prefix
from thermocline.model.receipt import StoredObject
from thermocline.ports import SILENT, Act, Hot, Lake, Progress

_THREADS = 8


@dataclass(frozen=True, slots=True)
class PrefixRetention:
    """After how many days objects go; None keeps them for ever.

    `raw_days` is for pages of sources, `processed_days` and `cache_days` are for what other programs put there,
    `abandoned_fetch_days` for the markers of fetches that were begun and never ended.
    """

    raw_days: int | None = None
    processed_days: int | None = None
    cache_days: int | None = None
    abandoned_fetch_days: int | None = None


@dataclass
class ExpiredPrefix:
    """What goes, or went, below one prefix: what was written before an instant. `kept` objects stay."""

    prefix: str
    days: int
    before: datetime
    deleted: list[StoredObject] = field(default_factory=list)
    kept: int = 0

    @property
    def deleted_bytes(self) -> int:
        """The bytes of the objects that go."""
        return sum(stored.size_bytes for stored in self.deleted)

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "prefix": self.prefix,
            "days": self.days,
            "before": self.before.isoformat(),
            "deleted": len(self.deleted),
            "deleted_bytes": self.deleted_bytes,
            "kept": self.kept,
        }


@dataclass(frozen=True)
class PrefixExpiry:
    """The parts of one expiry of prefixes. `now` is this very moment."""

    hot: Hot
    lake: Lake
    retention: PrefixRetention
    now: datetime
    progress: Progress = SILENT

    def plan(self, datasets: Collection[Dataset] | None = None) -> list[ExpiredPrefix]:
        """What `run` would delete as of now; changes nothing. Where datasets are named, only what is theirs alone."""
        return [self._due(prefix, days) for prefix, days in self._prefixes(datasets)]

    def run(self, datasets: Collection[Dataset] | None = None, *, run_id: str) -> list[ExpiredPrefix]:
        """Delete what is due. A run that dies is continued by the next; what is gone already is no error."""
        with self.lake.run(run_id):
            planned = self.plan(datasets)
            self.progress.begin("expiring prefixes", sum(len(each.deleted) for each in planned))
            for each in planned:
                self._delete(each.deleted)
                if each.deleted:
                    self.hot.record(Act("expire-prefix", None, run_id, each.document()))
        return planned

    def _prefixes(self, datasets: Collection[Dataset] | None) -> Iterator[tuple[str, int]]:
        own = self.retention
        of_datasets = [(f"{RAW}/", own.raw_days), (fetches_prefix(), own.abandoned_fetch_days)]
        for prefix, days in of_datasets:
            if days is not None:
                yield from [(prefix, days)] if datasets is None else [(f"{prefix}{d.name}/", days) for d in datasets]
        if datasets is None:
            shared = [(f"{PROCESSED}/", own.processed_days), (f"{CACHE}/", own.cache_days)]
            yield from ((prefix, days) for prefix, days in shared if days is not None)

    def _due(self, prefix: str, days: int) -> ExpiredPrefix:
        due = ExpiredPrefix(prefix, days, self.now - timedelta(days=days))
        # The listing first: what is opened later has no pages that are old.
        found = list(self.lake.stored(prefix))
        is_raw = prefix.startswith(f"{RAW}/")
        open_pages = tuple(self.lake.page_store.open_prefixes()) if found and is_raw else ()
        for stored in found:
            is_old = stored.modified_at is not None and stored.modified_at < due.before
            if is_old and not stored.path.startswith(open_pages):
                due.deleted.append(stored)
            else:
                due.kept += 1
        return due

    def _delete(self, objects: Sequence[StoredObject]) -> None:
        def delete(stored: StoredObject) -> None:
            with step(Step.DELETE_OBJECT):
                self.lake.delete(stored.path)
            self.progress.advance()

        with ThreadPoolExecutor(_THREADS) as threads:
            list(threads.map(delete, objects))
